//! The account at the authority.

use std::path::Path;

use anyhow::{Context, anyhow};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use instant_acme::{Account, ExternalAccountKey, NewAccount};
use shared::kit::small_file;
use shared::token::Hidden;
use tracing::{info, warn};

use super::https::{Https, Trust};
use super::trouble::Trouble;
use crate::config::{AcmeChallenge, AcmeSettings};
use crate::domains::Domains;
use crate::store::Store;

/// The longest file with a key of an account: some hundred bytes are usual.
const LONGEST_KEY: u64 = 16 * 1024;

/// An authority, and the relay's account there.
pub(in super::super) struct Authority {
    pub(super) settings: AcmeSettings,
    pub(super) challenge: AcmeChallenge,
    pub(in super::super) store: Store,
    pub(super) domains: Domains,
    trust: Trust,
    /// The key of the account that the operator has there already, and what it is called.
    external: Option<(String, Hidden)>,
}

impl Authority {
    /// The one of these settings, for a relay that serves HTTPS at the port `https`.
    ///
    /// # Errors
    ///
    /// A file that does not hold what it should.
    pub(in super::super) fn new(
        settings: &AcmeSettings,
        https: Option<u16>,
        store: Store,
        domains: Domains,
    ) -> anyhow::Result<Self> {
        let (trust, external) = Self::read(settings).map_err(|err| anyhow!("--{err}"))?;
        let challenge = settings.challenge_at(https);
        Ok(Self { settings: settings.clone(), challenge, store, domains, trust, external })
    }

    /// Whom it trusts, and the key of the operator's account, from the files of the settings.
    ///
    /// # Errors
    ///
    /// A file that does not hold what it should, with its flag.
    pub(in super::super) fn read(
        settings: &AcmeSettings,
    ) -> Result<(Trust, Option<(String, Hidden)>), String> {
        let trust = Trust::new(settings.ca.as_deref()).map_err(|err| format!("acme-ca: {err}"))?;
        let external = settings.external.as_ref().map(|external| {
            let key = external_key(&external.key_file);
            key.map(|key| (external.kid.clone(), key))
        });
        let external = external.transpose();
        Ok((trust, external.map_err(|err| format!("acme-eab-key-file: {err:#}"))?))
    }

    /// The directory, which is what an authority goes by.
    pub(in super::super) fn directory(&self) -> &str {
        &self.settings.directory
    }

    /// The account, which is opened if there is none yet, and what asks the authority for it.
    ///
    /// # Errors
    ///
    /// The store or the authority does not give it.
    pub(super) async fn account(&self) -> Result<(Account, Https), Trouble> {
        let kept = self.store.acme_account(self.directory()).await.map_err(Trouble::own)?;
        let https = self.trust.https();
        let Some(kept) = kept else {
            let account = self.open(&https).await?;
            return Ok((account, https));
        };
        let bad = "the account is kept in a way that cannot be read: restore a backup, or remove it \
            from the table acme_accounts to open another one";
        let credentials = serde_json::from_str(&kept.0).map_err(|_| Trouble::own(bad))?;
        let builder = Account::builder_with_http(Box::new(https.clone()));
        let account = builder.from_credentials(credentials).await;
        Ok((account.map_err(|err| Trouble::new(&err, &https))?, https))
    }

    /// The account is none any more: the next order opens another one.
    pub(super) async fn forget_account(&self) {
        warn!("the authority does not know the account any more: another one is opened");
        if let Err(err) = self.store.forget_acme_account(self.directory()).await {
            warn!("it cannot be forgotten: {err}");
        }
    }

    async fn open(&self, https: &Https) -> Result<Account, Trouble> {
        let contact = self.settings.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: self.settings.agree_tos,
            only_return_existing: false,
        };
        let external = self.external.as_ref().map(|(kid, key)| {
            let key = decoded(&key.0).unwrap_or_default();
            ExternalAccountKey::new(kid.clone(), &key)
        });
        let builder = Account::builder_with_http(Box::new(https.clone()));
        let directory = self.directory().to_owned();
        let opened = builder.create(&new, directory, external.as_ref()).await;
        let (account, credentials) = opened.map_err(|err| Trouble::new(&err, https))?;
        let credentials = serde_json::to_string(&credentials).map_err(Trouble::own)?;
        let kept = self.store.keep_acme_account(self.directory(), &Hidden(credentials)).await;
        kept.map_err(Trouble::own)?;
        info!(account = account.id(), "an account was opened at {}", self.directory());
        Ok(account)
    }
}

/// The key in a file, in base64url as authorities hand it out.
fn external_key(path: &Path) -> anyhow::Result<Hidden> {
    let shown = path.display();
    let text = small_file::read_text(path, LONGEST_KEY);
    let text = text.with_context(|| format!("cannot read {shown}"))?.trim().to_owned();
    anyhow::ensure!(
        decoded(&text).is_some_and(|key| !key.is_empty()),
        "{shown} holds no key in base64url, as the authority shows it"
    );
    Ok(Hidden(text))
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    [BASE64URL_NOPAD, BASE64_NOPAD].iter().find_map(|encoding| encoding.decode(text).ok())
}

/// Without the key of the account.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("directory", &self.directory()).finish_non_exhaustive()
    }
}
