//! The tokens that let somebody in: the secret that the relay was started with, and those of a store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use shared::control::protocol::{Refusal, RefusalCode};
use shared::kit::logging::Rate;
use shared::token::{
    BadChain, Challenge, Grant, Narrowed, Presented, Proof, Secret, Token, TokenId, Verifier,
};
use tracing::warn;

use super::anonymous::Strangers;
use super::principal::expired;
use super::standing::Standing;
use super::{Admitted, Owner, unauthorized};
use crate::store::{Change, Store, StoreError, TokenRecord};

/// So many tokens of a store are remembered, so that their holders come back while it is away. Then
/// those are forgotten with which no session runs.
const MOST_KNOWN: usize = 16 * 1024;

/// Look-ups that fail: strangers can have as many as they like.
static UNAVAILABLE: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "tokens cannot be looked up: {more}");
});

/// The tokens that let somebody in.
#[derive(Debug)]
pub(super) struct Tokens {
    shared: Mutex<Option<Known>>,
    store: Option<Store>,
    known: Mutex<HashMap<TokenId, Known>>,
    /// How often the store has changed. What was read before a change is not remembered after it.
    changes: AtomicU64,
    /// Those that were used, and when. Not written down yet.
    used: Mutex<HashMap<TokenId, SystemTime>>,
    /// Those who come without one. As soon as there has been one they may have to go.
    strangers: Strangers,
    /// The key of a token that nobody has: it stands for all that are not known, so that they take
    /// as long as others.
    nobody: Verifier,
}

/// What there is to know of a token.
#[derive(Clone, Debug)]
struct Known {
    id: TokenId,
    owner: Owner,
    verifier: Verifier,
    grant: Grant,
    /// Why it lets nobody in.
    refused: Option<Refusal>,
    standing: Standing,
}

impl Tokens {
    /// Tokens of this store, if there is one.
    pub(super) async fn new(store: Option<Store>) -> Result<Self, StoreError> {
        let strangers = Strangers::default();
        if let Some(store) = &store {
            strangers.set_store_has_had_tokens(store.has_had_tokens().await?);
        }
        Ok(Self {
            shared: Mutex::default(),
            store,
            known: Mutex::default(),
            changes: AtomicU64::new(0),
            used: Mutex::default(),
            strangers,
            nobody: Token::random().verifier(),
        })
    }

    /// The secret that the relay shares with its clients from now on. Those who came with another
    /// one have to go.
    pub(super) fn set_shared(&self, secret: Option<&Secret>) {
        let token = match secret {
            Some(Secret::Token(token)) => Some(token),
            // The configuration takes none.
            Some(Secret::Jwt(_)) | None => None,
        };
        let mut shared = self.shared.lock();
        if shared.as_ref().map(|known| known.verifier) == token.map(Token::verifier) {
            return;
        }
        let before = shared.take();
        *shared = token.map(|token| Known {
            id: token.id(),
            owner: Owner::Shared,
            verifier: token.verifier(),
            grant: Grant::default(),
            refused: None,
            standing: Standing::default(),
        });
        drop(shared);
        if let Some(before) = before {
            before.standing.end(revoked());
        }
    }

    /// Those who come without any.
    pub(super) fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Who has shown this, and has proven to hold it.
    ///
    /// # Errors
    ///
    /// Somebody who is not let in. A stranger learns nothing of what it was that was wrong.
    pub(super) async fn admit(
        &self,
        presented: &Presented,
        proof: &Proof,
        challenge: &Challenge,
        now: SystemTime,
    ) -> Result<Admitted, Refusal> {
        let known = self.find(presented.id()).await?;
        let root = known.as_ref().map_or(self.nobody, |known| known.verifier);
        let followed = presented.follow(root);
        let holder = followed.as_ref().map_or(self.nobody, |narrowed| narrowed.holder);
        let proven = holder.accepts(proof, challenge);
        let (Some(known), Narrowed { grants, .. }) = (
            known.filter(|_| proven),
            match followed {
                Ok(narrowed) => narrowed,
                Err(err @ BadChain::Unknown(_)) => return Err(unauthorized(err.to_string())),
                Err(_) => return Err(stranger()),
            },
        ) else {
            return Err(stranger());
        };
        let Known { owner, grant, standing, refused, .. } = known;
        if let Some(refusal) = refused.or_else(|| standing.why_over(now)) {
            return Err(refusal);
        }
        let grants: Vec<_> =
            std::iter::once((known.verifier.into(), grant)).chain(grants).collect();
        if grants.iter().filter_map(|(_, grant)| grant.ends()).any(|end| end <= now) {
            return Err(expired());
        }
        if self.store.is_some() {
            self.used.lock().insert(known.id, now);
        }
        let grants = grants.into_iter().map(|(link, grant)| (Some(link), grant)).collect();
        Ok(Admitted { owner, token: Some(presented.id()), standing, grants })
    }

    async fn find(&self, id: TokenId) -> Result<Option<Known>, Refusal> {
        if let Some(shared) = self.shared.lock().as_ref().filter(|known| known.id == id) {
            return Ok(Some(shared.clone()));
        }
        let Some(store) = &self.store else { return Ok(None) };
        loop {
            let changes = self.changes.load(Ordering::SeqCst);
            if let Some(known) = self.known.lock().get(&id) {
                return Ok(Some(known.clone()));
            }
            match store.token(id).await {
                Ok(None) => return Ok(None),
                Ok(Some(record)) => {
                    if let Some(known) = self.learn(record, changes) {
                        return Ok(Some(known));
                    }
                }
                Err(err) => {
                    if UNAVAILABLE.allows() {
                        warn!("tokens cannot be looked up: {err}");
                    }
                    let message = "the relay cannot look up tokens right now: try again later";
                    return Err(Refusal::new(RefusalCode::Unavailable, message));
                }
            }
        }
    }

    /// Remembers a token that a holder has shown, and that was read when the store had changed so
    /// often. `None`: it has changed meanwhile.
    fn learn(&self, record: TokenRecord, changes: u64) -> Option<Known> {
        let mut all = self.known.lock();
        if self.changes.load(Ordering::SeqCst) != changes {
            return None;
        }
        if all.len() >= MOST_KNOWN {
            all.retain(|_, known| known.standing.is_watched());
        }
        // Others may have learned it meanwhile, and their sessions go by that.
        let known = all.entry(record.id).or_insert_with(|| {
            let standing = Standing::default();
            standing.end_at(record.replaced, replaced);
            Known {
                id: record.id,
                refused: refused(&record),
                owner: Owner::User(record.owner.into()),
                verifier: record.verifier,
                grant: record.grant,
                standing,
            }
        });
        Some(known.clone())
    }

    /// Somebody has changed the store: those whose token is not what it was have to go.
    ///
    /// # Errors
    ///
    /// The store cannot be asked: nobody of whom it is not known has to go.
    pub(super) async fn changed(&self, changes: &[Change]) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        self.strangers.set_store_has_had_tokens(store.has_had_tokens().await?);
        let concerned = |known: &Known| {
            changes.iter().any(|change| match change {
                Change::Token(id) => known.id == *id,
                Change::Owner(name) => known.owner.to_string() == name.as_str(),
                Change::Domain(_) => false,
                Change::Everything => true,
            })
        };
        self.changes.fetch_add(1, Ordering::SeqCst);
        let before: Vec<_> = self.known.lock().values().filter(|k| concerned(k)).cloned().collect();
        for known in before {
            let record = store.token(known.id).await;
            let why = match &record {
                Ok(Some(record)) if record.grant == known.grant => refused(record),
                Ok(Some(_)) => Some(unauthorized("the rights of the token have changed")),
                Ok(None) => Some(revoked()),
                // It says nothing of the others, who have to be looked at.
                Err(err @ StoreError::Unreadable(_)) => {
                    warn!(token = %known.id, "the token is good no longer: {err}");
                    Some(unreadable())
                }
                Err(err) => return Err(err.clone()),
            };
            if let Ok(Some(record)) = &record
                && why == known.refused
            {
                // It may have been replaced, and have a while yet.
                known.standing.end_at(record.replaced, replaced);
                continue;
            }
            // Whoever comes next looks it up again.
            self.known.lock().remove(&known.id);
            if let Some(why) = why {
                known.standing.end(why);
            }
        }
        Ok(())
    }

    /// Writes down which tokens were used. What cannot be written now is kept for later, also when
    /// this is dropped.
    pub(super) async fn note_use(&self) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut uses: Vec<_> = self.used.lock().iter().map(|(id, at)| (*id, *at)).collect();
        // In the same order for every relay, so that no two wait for each other.
        uses.sort_by_cached_key(|(id, _)| id.to_string());
        if uses.is_empty() {
            return Ok(());
        }
        super::soon(store.note_use(&uses)).await?;
        let mut used = self.used.lock();
        for (id, at) in uses {
            // It may have been used again meanwhile.
            if used.get(&id) == Some(&at) {
                used.remove(&id);
            }
        }
        Ok(())
    }

    pub(super) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }
}

/// Why what is kept of a token lets nobody in.
fn refused(record: &TokenRecord) -> Option<Refusal> {
    if record.revoked.is_some() {
        return Some(revoked());
    }
    let disabled = || unauthorized("the token's user is disabled: ask the operator of the relay");
    record.owner_disabled.then(disabled)
}

fn stranger() -> Refusal {
    unauthorized(
        "the relay does not know this token: it may have been revoked, or be another relay's",
    )
}

fn replaced() -> Refusal {
    unauthorized("the token has been replaced: ask for the new one")
}

fn unreadable() -> Refusal {
    unauthorized("the relay cannot read what it keeps of the token: ask for a new one")
}

fn revoked() -> Refusal {
    unauthorized("the token has been revoked: ask for a new one")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::data::DataFolder;
    use crate::store::{Name, NewToken, Place};

    /// A store with one user, and the folder that it is in.
    async fn store_of_ann(test: &str) -> (PathBuf, Store, Name) {
        let path = std::env::temp_dir().join(format!("sallyport-{test}-{}", std::process::id()));
        let folder = DataFolder::open(&path).unwrap();
        let store = Store::open(&Place::Folder(folder)).await.unwrap();
        let ann: Name = "ann".parse().unwrap();
        store.create_user(&ann).await.unwrap();
        (path, store, ann)
    }

    /// Admits whoever holds this token, which is kept in a store.
    async fn admitted(tokens: &Tokens, token: &Token) -> Admitted {
        let challenge = Challenge::Channel([1; 32]);
        let proof = token.prove(&challenge);
        tokens.admit(token.presented(), &proof, &challenge, SystemTime::now()).await.unwrap()
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_read_any_more_keeps_no_other_one_alive() {
        let (path, store, ann) = store_of_ann("tokens").await;
        let tokens = Tokens::new(Some(store.clone())).await.unwrap();
        let mut all = Vec::new();
        for n in 0..4 {
            let token = Token::random();
            let (id, verifier, grant) = (token.id(), token.verifier(), Grant::default());
            let name = format!("t{n}").parse().unwrap();
            store
                .create_token(&NewToken { id, owner: ann.clone(), name, verifier, grant })
                .await
                .unwrap();
            all.push((id, admitted(&tokens, &token).await));
        }
        let (broken, revoked) = all.split_at(2);
        for (id, _) in broken {
            store.break_token(*id).await;
        }
        for (id, _) in revoked {
            store.revoke_token(*id).await.unwrap();
        }
        let changes: Vec<_> = all.iter().map(|(id, _)| Change::Token(*id)).collect();
        tokens.changed(&changes).await.unwrap();
        for (n, (_, Admitted { standing, .. })) in all.iter().enumerate() {
            let ended = timeout(Duration::from_secs(5), standing.ended()).await;
            let says = if n < 2 { "cannot read" } else { "revoked" };
            assert!(ended.unwrap().message.contains(says), "{n}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    #[tokio::test]
    async fn a_token_of_nobody_is_refused_like_a_wrong_proof() {
        let tokens = Tokens::new(None).await.unwrap();
        let secret: Secret = "correct horse battery".parse().unwrap();
        tokens.set_shared(Some(&secret));
        let Secret::Token(token) = secret else { panic!("a token") };
        let challenge = Challenge::Channel([1; 32]);
        let admit = async |presented: &Presented, proof: &Proof| {
            let now = SystemTime::now();
            tokens.admit(presented, proof, &challenge, now).await.map_err(|err| err.message)
        };
        let good = token.prove(&challenge);
        assert!(admit(token.presented(), &good).await.is_ok());
        let other = Token::random();
        let wrong = admit(token.presented(), &other.prove(&challenge)).await.unwrap_err();
        let unknown = admit(other.presented(), &other.prove(&challenge)).await.unwrap_err();
        assert_eq!(wrong, unknown);
    }

    #[tokio::test]
    async fn a_token_whose_time_after_another_one_is_over_is_refused_by_whoever_looks_it_up_then() {
        let (path, store, ann) = store_of_ann("replaced").await;
        let challenge = Challenge::Channel([1; 32]);
        for (overlap, expected) in [(3_600_000, Ok(())), (1, Err(replaced().message))] {
            let [old, new] = [Token::random(), Token::random()];
            let (id, verifier, grant) = (old.id(), old.verifier(), Grant::default());
            let name: Name = format!("t{overlap}").parse().unwrap();
            let first = NewToken { id, owner: ann.clone(), name, verifier, grant: grant.clone() };
            store.create_token(&first).await.unwrap();
            let overlap = Some(Duration::from_millis(overlap));
            store.rotate_token(id, new.id(), new.verifier(), &grant, overlap).await.unwrap();
            let tokens = Tokens::new(Some(store.clone())).await.unwrap();
            let now = SystemTime::now() + Duration::from_secs(1);
            let admitted =
                tokens.admit(old.presented(), &old.prove(&challenge), &challenge, now).await;
            assert_eq!(admitted.map(drop).map_err(|refusal| refusal.message), expected);
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}
