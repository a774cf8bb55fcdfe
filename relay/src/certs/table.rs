//! Which certificate is shown to whom.
//!
//! Whoever asks for a host is shown, of what is good today: the operator's own certificate for that
//! host, the operator's for all hosts right below its domain, and then the same of those that were
//! ordered. For a host without any there is none, whatever else the relay has.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use shared::control::protocol::DomainName;

use super::CertName;
use super::name::wildcard_above;
use super::now::CertificateNow;
use super::served::Served;

/// What authorities agree on, and nobody else, when they ask for the answer to tls-alpn-01 (RFC 8737,
/// section 6.2).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// All certificates, and the answers to challenges that are open. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Arc<RwLock<Held>>);

#[derive(Debug, Default)]
struct Held {
    /// By the names as they are written.
    folder: HashMap<String, Arc<Served>>,
    ordered: HashMap<String, Ordered>,
    /// Of tls-alpn-01, by host.
    handshakes: HashMap<String, Arc<CertifiedKey>>,
    /// Of http-01, by token.
    tokens: HashMap<String, String>,
}

/// A certificate that was ordered.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    pub(super) served: Arc<Served>,
    /// When it is to be renewed.
    pub(super) renew: SystemTime,
}

/// An answer to a challenge, until it is dropped.
#[derive(Debug)]
pub(super) struct Answer {
    table: Table,
    kind: AnswerKind,
}

#[derive(Debug)]
enum AnswerKind {
    Token(String),
    Handshake(String),
}

impl Table {
    /// These are the certificates of the folder from now on. Of two for one name the one that lasts
    /// longer is shown.
    pub(super) fn set_folder(&self, all: impl Iterator<Item = Arc<Served>>) {
        let mut folder: HashMap<String, Arc<Served>> = HashMap::new();
        for served in all {
            for name in &served.names {
                let before = folder.get(&name.to_string());
                if before.is_none_or(|before| before.expires < served.expires) {
                    folder.insert(name.to_string(), Arc::clone(&served));
                }
            }
        }
        self.0.write().folder = folder;
    }

    /// A certificate has been ordered for `name`, in the place of the last one.
    pub(super) fn set_ordered(&self, name: &CertName, ordered: Ordered) {
        self.0.write().ordered.insert(name.to_string(), ordered);
    }

    /// It is to be renewed at another time.
    pub(super) fn renew_at(&self, name: &CertName, renew: SystemTime) {
        if let Some(ordered) = self.0.write().ordered.get_mut(&name.to_string()) {
            ordered.renew = renew;
        }
    }

    /// What has been ordered for exactly this name.
    pub(super) fn ordered(&self, name: &CertName) -> Option<Ordered> {
        self.0.read().ordered.get(&name.to_string()).cloned()
    }

    /// Forgets what was ordered and has expired.
    pub(super) fn forget_expired(&self, now: SystemTime) {
        self.0.write().ordered.retain(|_, ordered| ordered.served.expires > now);
    }

    /// Whether the operator's own certificates are enough for `host`.
    pub(super) fn is_in_folder(&self, host: &DomainName, now: SystemTime) -> bool {
        let held = self.0.read();
        let found = held.folder_for(host.as_str());
        found.into_iter().flatten().any(|served| served.is_good(now))
    }

    /// What is shown to those who ask for `host`, which is in lower case.
    pub(super) fn find(&self, host: &str, now: SystemTime) -> Option<Arc<Served>> {
        let held = self.0.read();
        let ordered = [Some(host.to_owned()), wildcard_above(host)].map(|name| {
            name.and_then(|name| held.ordered.get(&name)).map(|ordered| &ordered.served)
        });
        let found = held.folder_for(host).into_iter().chain(ordered).flatten();
        // One that has expired tells its visitor more than none.
        let good = found.clone().find(|served| served.is_good(now));
        good.or_else(|| found.clone().next()).cloned()
    }

    /// The operator's own names, and what was ordered and is still wanted, with the time at which the
    /// certificate of each expires, in seconds since 1970.
    pub(super) fn expiries(&self, is_wanted: &dyn Fn(&CertName) -> bool) -> Vec<(String, u64)> {
        let held = self.0.read();
        let wanted = |name: &str| name.parse().is_ok_and(|name| is_wanted(&name));
        let ordered = held.ordered.iter().filter(|(name, _)| wanted(name));
        let ordered = ordered.map(|(name, ordered)| (name, &ordered.served));
        // The operator's own come last, and stay.
        let all: BTreeMap<_, _> = ordered.chain(&held.folder).collect();
        let seconds = |served: &Served| {
            served.expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
        };
        all.into_iter().map(|(name, served)| (name.clone(), seconds(served))).collect()
    }

    /// All of them, by name; of those that were ordered the ones that are still wanted.
    pub(super) fn shown(&self, is_wanted: &dyn Fn(&CertName) -> bool) -> Vec<CertificateNow> {
        let held = self.0.read();
        let wanted = |name: &str| name.parse().is_ok_and(|name| is_wanted(&name));
        let ordered = held.ordered.iter().filter(|(name, _)| wanted(name));
        let ordered = ordered.map(|(name, ordered)| {
            (name, CertificateNow::new(name, &ordered.served, Some(ordered.renew)))
        });
        let folder = held.folder.iter();
        let folder = folder.map(|(name, served)| (name, CertificateNow::new(name, served, None)));
        // The operator's own come last, and stay.
        ordered.chain(folder).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Answers http-01.
    pub(super) fn answer_token(&self, token: &str, authorization: String) -> Answer {
        self.0.write().tokens.insert(token.to_owned(), authorization);
        Answer { table: self.clone(), kind: AnswerKind::Token(token.to_owned()) }
    }

    /// The answer to http-01 for `token`.
    pub(super) fn token(&self, token: &str) -> Option<String> {
        self.0.read().tokens.get(token).cloned()
    }

    /// Answers tls-alpn-01.
    pub(super) fn answer_handshake(&self, host: &DomainName, key: Arc<CertifiedKey>) -> Answer {
        self.0.write().handshakes.insert(host.to_string(), key);
        Answer { table: self.clone(), kind: AnswerKind::Handshake(host.to_string()) }
    }

    fn handshake(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.0.read().handshakes.get(host).cloned()
    }
}

impl Held {
    fn folder_for(&self, host: &str) -> [Option<&Arc<Served>>; 2] {
        let below = wildcard_above(host).and_then(|name| self.folder.get(&name));
        [self.folder.get(host), below]
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut held = self.table.0.write();
        match &self.kind {
            AnswerKind::Token(token) => drop(held.tokens.remove(token)),
            AnswerKind::Handshake(host) => drop(held.handshakes.remove(host)),
        }
    }
}

/// Shows visitors the certificates of a table.
pub(super) struct Resolver {
    pub(super) table: Table,
    /// What whoever asks for anything else is shown.
    pub(super) made: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(host) = hello.server_name() else { return self.made.clone() };
        let host = host.to_ascii_lowercase();
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.next() == Some(ACME_TLS) && protocols.next().is_none() {
            return self.table.handshake(&host);
        }
        let served = self.table.find(&host, SystemTime::now());
        served.map(|served| Arc::clone(&served.key)).or_else(|| self.made.clone())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A certificate that is good for so many days.
    fn served(name: &str, days: u32) -> Arc<Served> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - DAY * 10).into();
        params.not_after = (SystemTime::now() + DAY * days).into();
        let certificate = params.self_signed(&key).unwrap();
        Arc::new(Served::from_pem(&certificate.pem(), &key.serialize_pem()).unwrap())
    }

    fn order(table: &Table, name: &str, served: &Arc<Served>) {
        let renew = served.expires - DAY;
        table.set_ordered(&name.parse().unwrap(), Ordered { served: Arc::clone(served), renew });
    }

    fn shown(table: &Table, host: &str, expected: &Arc<Served>) -> bool {
        table.find(host, SystemTime::now()).is_some_and(|found| Arc::ptr_eq(&found, expected))
    }

    #[test]
    fn the_operators_own_comes_first_and_the_host_before_the_wildcard() {
        let table = Table::default();
        let [wide, narrow] = ["*.t.example", "app.t.example"].map(|name| served(name, 9));
        order(&table, "*.t.example", &wide);
        assert!(shown(&table, "app.t.example", &wide) && shown(&table, "b.t.example", &wide));
        order(&table, "app.t.example", &narrow);
        assert!(shown(&table, "app.t.example", &narrow));
        let own = served("*.t.example", 5);
        table.set_folder([Arc::clone(&own)].into_iter());
        assert!(shown(&table, "app.t.example", &own));
        for nobody in ["t.example", "a.b.t.example", "example", ""] {
            assert!(table.find(nobody, SystemTime::now()).is_none(), "{nobody}");
        }
    }

    #[test]
    fn what_has_expired_gives_way_to_what_is_good_and_counts_for_nothing() {
        let table = Table::default();
        let [own, ordered] = [3, 9].map(|days| served("app.t.example", days));
        table.set_folder([Arc::clone(&own)].into_iter());
        order(&table, "app.t.example", &ordered);
        let host = "app.t.example".parse().unwrap();
        let now = SystemTime::now();
        assert!(table.is_in_folder(&host, now) && !table.is_in_folder(&host, now + DAY * 4));
        let found = table.find("app.t.example", now + DAY * 4).unwrap();
        assert!(Arc::ptr_eq(&found, &ordered));
        table.forget_expired(now + DAY * 10);
        let found = table.find("app.t.example", now + DAY * 10).unwrap();
        assert!(Arc::ptr_eq(&found, &own), "better than none");
    }

    #[test]
    fn of_two_in_the_folder_the_one_is_shown_that_lasts_longer() {
        let [short, long] = [3, 9].map(|days| served("app.t.example", days));
        for both in [[&short, &long], [&long, &short]] {
            let table = Table::default();
            table.set_folder(both.into_iter().cloned());
            assert!(shown(&table, "app.t.example", &long));
        }
    }

    #[test]
    fn an_answer_is_there_until_it_is_dropped() {
        let table = Table::default();
        let answer = table.answer_token("token", "token.thumbprint".into());
        assert_eq!(table.token("token").as_deref(), Some("token.thumbprint"));
        assert_eq!(table.token("other"), None);
        drop(answer);
        assert_eq!(table.token("token"), None);
    }
}
