//! Certificates with which visitors are served.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use shared::control::protocol::DomainName;
use shared::kit::settings::Row;

use super::{BadSetting, DomainSettings, check};

/// Where the certificates come from that visitors see. As by default from nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateSettings {
    /// A folder of certificates, which is followed.
    pub folder: Option<PathBuf>,
    /// Those that the relay orders by itself.
    pub acme: AcmeSettings,
}

/// How certificates are ordered from an authority (ACME, RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// Whether any are.
    pub on: bool,
    /// The URL at which the authority describes itself.
    pub directory: String,
    /// Where the authority can reach the operator.
    pub email: Option<String>,
    /// Whether the operator agrees to the authority's terms of service. Without that there is no
    /// account.
    pub agree_tos: bool,
    /// The key of an account that the operator has with the authority already.
    pub external: Option<ExternalAccount>,
    /// How it is shown that a name belongs to the relay. `None`: as the ports allow.
    pub challenge: Option<AcmeChallenge>,
    /// One certificate is ordered for all names right below this domain.
    pub wildcard: Option<DomainName>,
    /// The authority's server is trusted for the certificates in this file, and for no others.
    pub ca: Option<PathBuf>,
}

/// An account that an operator has with an authority (RFC 8555, section 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// What the authority calls its key.
    pub kid: String,
    /// The file of the key, in base64url.
    pub key_file: PathBuf,
}

/// How it is shown that a name belongs to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AcmeChallenge {
    /// By an answer at port 80 of the name
    #[value(name = "http-01")]
    Http01,
    /// By a TLS handshake at port 443 of the name
    #[value(name = "tls-alpn-01")]
    TlsAlpn01,
    /// By a record in the DNS, which --dns-update or --dns-hook puts there
    #[value(name = "dns-01")]
    Dns01,
}

impl AcmeSettings {
    /// Let's Encrypt.
    pub const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

    /// How it is shown that a host belongs to a relay that serves HTTPS at this port.
    pub(crate) fn challenge_at(&self, https: Option<u16>) -> AcmeChallenge {
        let by_port =
            if https == Some(443) { AcmeChallenge::TlsAlpn01 } else { AcmeChallenge::Http01 };
        self.challenge.unwrap_or(by_port)
    }
}

impl Default for AcmeSettings {
    fn default() -> Self {
        Self {
            on: false,
            directory: Self::DIRECTORY.into(),
            email: None,
            agree_tos: false,
            external: None,
            challenge: None,
            wildcard: None,
            ca: None,
        }
    }
}

impl CertificateSettings {
    /// `is_kept`: whether the relay keeps anything. `domains` say where it makes records.
    pub(super) fn check(&self, is_kept: bool, domains: &DomainSettings) -> Result<(), BadSetting> {
        let AcmeSettings { on, directory, email, agree_tos, challenge, wildcard, .. } = &self.acme;
        let is_https = directory.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
        check("acme-directory", is_https, "must be a URL that begins with https://")?;
        let is_address = |email: &String| {
            !email.contains(|c: char| c.is_whitespace() || c == ',')
                && email
                    .split_once('@')
                    .is_some_and(|(who, host)| !who.is_empty() && !host.is_empty())
        };
        check(
            "acme-email",
            email.as_ref().is_none_or(is_address),
            "must be one address of e-mail",
        )?;
        let is_dns = *challenge == Some(AcmeChallenge::Dns01);
        let needs =
            "dns-01 needs dns-update, or dns-hook, a program that puts records into the DNS";
        check("acme-challenge", !is_dns || domains.makes_records(), needs)?;
        let needs = "needs dns-update for a zone that it is in, or dns-hook: authorities want to see \
            a record in the DNS for it";
        let can_be = wildcard.as_ref().is_none_or(|domain| domains.makes_records_of(domain));
        check("acme-wildcard", can_be, needs)?;
        if !on {
            return Ok(());
        }
        let needs = "needs acme-agree-tos, by which you agree to the terms of service of the \
            authority at acme-directory";
        check("acme", *agree_tos, needs)?;
        let needs = "needs data or database: without them each start would order all certificates \
            again, which authorities refuse";
        check("acme", is_kept, needs)
    }

    /// Every setting with its key, in the order of the documentation.
    pub(super) fn rows(&self) -> Vec<Row> {
        // All are named, so that a new one is not forgotten.
        let Self {
            folder,
            acme:
                AcmeSettings { on, directory, email, agree_tos, external, challenge, wildcard, ca },
        } = self;
        let path = |key, path: Option<&PathBuf>| {
            let shown = path.map(|path| path.display().to_string());
            Row::optional(key, shown.as_deref())
        };
        let challenge = challenge.map(|challenge| challenge.to_string());
        vec![
            path("certs", folder.as_ref()),
            Row::new("acme", on),
            Row::new("acme-directory", directory),
            Row::optional("acme-email", email.as_deref()),
            Row::new("acme-agree-tos", agree_tos),
            Row::optional("acme-eab-kid", external.as_ref().map(|external| &*external.kid)),
            path("acme-eab-key-file", external.as_ref().map(|external| &external.key_file)),
            Row::optional("acme-challenge", challenge.as_deref()),
            Row::optional("acme-wildcard", wildcard.as_ref().map(DomainName::as_str)),
            path("acme-ca", ca.as_ref()),
        ]
    }
}

impl fmt::Display for AcmeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        })
    }
}

/// The settings that only a restart changes.
pub(super) const NEED_RESTART: [&str; 10] = [
    "certs",
    "acme",
    "acme-directory",
    "acme-email",
    "acme-agree-tos",
    "acme-eab-kid",
    "acme-eab-key-file",
    "acme-challenge",
    "acme-wildcard",
    "acme-ca",
];

#[cfg(test)]
mod tests {
    use super::super::{DnsUpdate, TsigKey};
    use super::*;

    fn on() -> CertificateSettings {
        let acme = AcmeSettings { on: true, agree_tos: true, ..AcmeSettings::default() };
        CertificateSettings { folder: None, acme }
    }

    #[test]
    fn nothing_is_ordered_before_somebody_has_agreed_and_where_nothing_is_kept() {
        let domains = DomainSettings::default();
        assert_eq!(on().check(true, &domains), Ok(()));
        let err = on().check(false, &domains).unwrap_err().to_string();
        assert!(err.starts_with("acme needs data or database"), "{err}");
        let mut settings = on();
        settings.acme.agree_tos = false;
        let err = settings.check(true, &domains).unwrap_err().to_string();
        assert!(err.starts_with("acme needs acme-agree-tos"), "{err}");
    }

    #[test]
    fn what_needs_the_dns_needs_somebody_who_writes_there() {
        let mut settings = on();
        let mut domains = DomainSettings::default();
        settings.acme.challenge = Some(AcmeChallenge::Dns01);
        assert_eq!(settings.check(true, &domains).unwrap_err().key, "acme-challenge");
        settings.acme.challenge = None;
        settings.acme.wildcard = Some("t.example".parse().unwrap());
        assert_eq!(settings.check(true, &domains).unwrap_err().key, "acme-wildcard");
        let secret = "key:hmac-sha256:b25seS1mb3ItdGhpcy10ZXN0LW9ubHktZm9yLXRoaXM=";
        domains.update = Some(DnsUpdate {
            server: "ns.example:53".parse().unwrap(),
            key: TsigKey::parse(secret).unwrap(),
            zone: "t.example".parse().unwrap(),
        });
        assert_eq!(settings.check(true, &domains), Ok(()));
        settings.acme.wildcard = Some("other.example".parse().unwrap());
        assert_eq!(settings.check(true, &domains).unwrap_err().key, "acme-wildcard");
        domains.hook = Some("/bin/true".into());
        assert_eq!(settings.check(true, &domains), Ok(()));
    }

    #[test]
    fn the_port_says_by_which_challenge_unless_somebody_does() {
        let mut settings = AcmeSettings::default();
        assert_eq!(settings.challenge_at(Some(443)), AcmeChallenge::TlsAlpn01);
        assert_eq!(settings.challenge_at(Some(8443)), AcmeChallenge::Http01);
        assert_eq!(settings.challenge_at(None), AcmeChallenge::Http01);
        settings.challenge = Some(AcmeChallenge::Dns01);
        assert_eq!(settings.challenge_at(Some(443)), AcmeChallenge::Dns01);
    }
}
