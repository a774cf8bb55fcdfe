//! Who may have which host name, by what a store says, and that a relay hears of its changes. The
//! proofs themselves are looked up by the tests of the programs, at a real name server.

use std::path::Path;
use std::time::SystemTime;

use shared::control::protocol::{RefusalCode, WebHost};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Config, DomainSettings, Settings};
use crate::data::DataFolder;
use crate::scratch::Scratch;
use crate::store::{DomainRecord, Name, Place, host_in};

/// A store with the users ann and bob, in a folder of its own.
struct Kept {
    store: Store,
    folder: Scratch,
}

impl Kept {
    async fn new() -> Self {
        let folder = Scratch::new();
        let kept = Self { store: Self::open(&folder.file("data")).await, folder };
        for user in ["ann", "bob"] {
            kept.store.create_user(&name_of(user)).await.unwrap();
        }
        kept
    }

    async fn open(path: &Path) -> Store {
        Store::open(&Place::Folder(DataFolder::open(path).unwrap())).await.unwrap()
    }

    /// Nobody can write to the store until it is dropped.
    async fn lock(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.folder.file("data/relay.db"));
        let mut lock = options.connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
        lock
    }

    async fn add(&self, owner: &str, name: &str, is_proven: bool) {
        let created = SystemTime::now();
        let new = DomainRecord {
            host: host(name),
            owner: name_of(owner),
            code: format!("code-of-{owner}"),
            created,
            proven: is_proven.then_some(created),
            missing: None,
            asked: None,
        };
        self.store.add_domain(&new).await.unwrap();
    }
}

fn name_of(text: &str) -> Name {
    text.parse().unwrap()
}

fn host(text: &str) -> WebHost {
    host_in(text).unwrap()
}

fn user(name: &str) -> Owner {
    Owner::User(name.into())
}

/// A message that waits for the store for as long as a test does, however busy the machine is.
fn patient() -> Patience {
    Patience::of(Duration::from_secs(20))
}

async fn domains(store: Option<&Store>, adjust: impl FnOnce(&mut DomainSettings)) -> Domains {
    let mut settings = Settings::loopback();
    settings.public_name = Some("relay.t.example".parse().unwrap());
    settings.web.domain = Some("t.example".parse().unwrap());
    // Nobody answers there, and nobody is asked.
    settings.domains.resolver = Some("127.0.0.1:9".parse().unwrap());
    adjust(&mut settings.domains);
    let config = CurrentConfig::new(Config::new(settings).unwrap());
    Domains::new(config, store.cloned(), Metrics::new(|| 0).unwrap()).await.unwrap()
}

/// The refusal's code, if it says this.
fn refused(domains: &Domains, owner: &Owner, name: &str, says: &str) -> RefusalCode {
    let refusal = domains.may_claim(owner, &host(name)).unwrap_err();
    assert!(refusal.message.contains(says), "{owner} {name}: {refusal}");
    refusal.code
}

#[tokio::test]
async fn a_domain_is_for_the_user_who_has_proven_it_and_a_refusal_says_what_to_do() {
    let kept = Kept::new().await;
    kept.add("ann", "app.example.com", true).await;
    kept.add("bob", "app.example.com", false).await;
    kept.add("ann", "new.example.com", false).await;
    let domains = domains(Some(&kept.store), |_| ()).await;
    let (ann, bob) = (user("ann"), user("bob"));

    assert!(domains.may_claim(&ann, &host("app.example.com")).is_ok());
    let taken = refused(&domains, &bob, "app.example.com", "belongs to another user");
    assert_eq!(taken, RefusalCode::HostTaken);
    let pending = domains.may_claim(&ann, &host("new.example.com")).unwrap_err();
    assert_eq!(pending.code, RefusalCode::HostNotProven);
    let record = "_sallyport.new.example.com. TXT \"sallyport-verify=code-of-ann\"";
    assert_eq!(pending.records[0].to_string(), record);
    assert!(pending.message.contains("that new.example.com is yours"), "{pending}");
    refused(&domains, &bob, "new.example.com", "`relay domain add new.example.com --user bob`");
    // One that is below another is another one.
    refused(&domains, &ann, "www.app.example.com", "does not know that");
    let owners = [Owner::Anybody, Owner::Shared, Owner::Subject("jwt:ann".into())];
    for owner in &owners {
        let code = refused(&domains, owner, "new.example.com", "come with a token of");
        assert_eq!(code, RefusalCode::HostNotAllowed);
        refused(&domains, owner, "app.example.com", "belongs to another user");
    }
    let nobodys = domains.recheck(&"new.example.com".parse().unwrap()).await;
    assert_eq!(nobodys, Err(Unproven::Missing));
    // Its name server does not answer, which is not the same.
    let silent = domains.recheck(&"app.example.com".parse().unwrap()).await;
    assert!(matches!(silent, Err(Unproven::Unknown(_))), "{silent:?}");
}

#[tokio::test]
async fn a_new_code_is_not_looked_for_yet_and_an_old_one_at_once() {
    let kept = Kept::new().await;
    kept.add("ann", "new.example.com", false).await;
    let domains = domains(Some(&kept.store), |_| ()).await;
    let rest = domains.rest(&"new.example.com".parse().unwrap(), &name_of("ann"));
    assert!(!rest.is_zero() && rest <= Duration::from_secs(30), "{rest:?}");
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    let old = DomainRecord {
        created: long_ago,
        ..DomainRecord::new(host("old.example.com"), name_of("ann"), "code".into())
    };
    kept.store.add_domain(&old).await.unwrap();
    domains.learn(&kept.store).await.unwrap();
    assert!(domains.rest(&"old.example.com".parse().unwrap(), &name_of("ann")).is_zero());
}

#[tokio::test]
async fn the_relays_own_names_are_nobodys_whatever_is_allowed() {
    let kept = Kept::new().await;
    // As an older relay with another domain may have left it.
    kept.add("ann", "shop.t.example", true).await;
    let domains = domains(Some(&kept.store), |settings| settings.any_host = true).await;
    for (name, says) in [
        ("t.example", "the relay's own name"),
        ("relay.t.example", "the relay's own name"),
        ("shop.t.example", "ask for the subdomain `shop`"),
        ("a.b.t.example", "one label"),
        ("xn--bcher-kva.t.example", "one label"),
    ] {
        let code = refused(&domains, &user("ann"), name, says);
        assert_eq!(code, RefusalCode::HostNotAllowed);
        let own = domains.recheck(&name.parse().unwrap()).await;
        assert_eq!(own, Ok(()), "the relay's own needs no proof");
    }
    assert!(domains.may_claim(&user("ann"), &host("xn--bcher-kva.example")).is_ok());
}

#[tokio::test]
async fn a_subdomain_is_for_everybody_unless_it_misleads_or_is_kept_for_somebody() {
    let kept = Kept::new().await;
    kept.add("ann", "shop", true).await;
    kept.add("ann", "status", true).await;
    let listed = |settings: &mut DomainSettings| settings.reserved = vec!["brand".parse().unwrap()];
    let domains = domains(Some(&kept.store), listed).await;
    let (ann, bob) = (user("ann"), user("bob"));
    for owner in [&ann, &bob, &Owner::Anybody] {
        assert!(domains.may_claim(owner, &host("app")).is_ok());
        for (label, says) in [
            ("login", "could be taken for the operator's own"),
            ("brand", "kept back by the operator"),
            ("relay", "the relay's own"),
        ] {
            let code = refused(&domains, owner, label, says);
            assert_eq!(code, RefusalCode::HostNotAllowed);
        }
    }
    // Also one of the words, since the operator says so.
    for label in ["shop", "status"] {
        assert!(domains.may_claim(&ann, &host(label)).is_ok(), "{label}");
        let code = refused(&domains, &bob, label, "kept for another user");
        assert_eq!(code, RefusalCode::HostTaken);
    }
}

#[tokio::test]
async fn without_users_a_domain_is_for_whoever_comes_first_only_if_the_operator_says_so() {
    let closed = domains(None, |_| ()).await;
    let name = "app.example.com";
    for owner in [Owner::Anybody, Owner::Shared] {
        refused(&closed, &owner, name, "`relay domain add app.example.com --user USER`");
        refused(&closed, &owner, name, "`relay --any-host`");
        assert!(closed.may_claim(&owner, &host("app")).is_ok());
    }
    let open = domains(None, |settings| settings.any_host = true).await;
    assert!(open.may_claim(&Owner::Anybody, &host(name)).is_ok());
    assert_eq!(open.recheck(&name.parse().unwrap()).await, Ok(()));
    assert_eq!(closed.recheck(&name.parse().unwrap()).await, Err(Unproven::Missing));

    // What a user has proven is nobody else's even so.
    let kept = Kept::new().await;
    kept.add("ann", name, true).await;
    let open = domains(Some(&kept.store), |settings| settings.any_host = true).await;
    refused(&open, &Owner::Anybody, name, "belongs to another user");
    assert!(open.may_claim(&Owner::Anybody, &host("other.example.com")).is_ok());
}

#[tokio::test]
async fn a_relay_hears_of_a_domain_that_was_removed_or_whose_user_is_gone() {
    let kept = Kept::new().await;
    kept.add("ann", "app.example.com", true).await;
    kept.add("bob", "shop", true).await;
    let domains = domains(Some(&kept.store), |_| ()).await;
    let mut changes = domains.changes();
    let stop = CancellationToken::new();
    let mut following = JoinSet::new();
    following.spawn({
        let (domains, stop) = (domains.clone(), stop.clone());
        async move { domains.follow(stop).await }
    });
    // Somebody else at the same file.
    let tool = Kept::open(&kept.folder.file("data")).await;
    assert!(domains.may_claim(&user("ann"), &host("app.example.com")).is_ok());
    tool.remove_domain(&host("app.example.com"), &name_of("ann")).await.unwrap();
    tool.delete_user(&name_of("bob")).await.unwrap();
    let heard = timeout(Duration::from_secs(20), async {
        while domains.may_claim(&user("ann"), &host("app.example.com")).is_ok()
            || domains.may_claim(&user("ann"), &host("shop")).is_err()
        {
            changes.changed().await.unwrap();
        }
    });
    heard.await.expect("the relay to hear of it");
    stop.cancel();
    following.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_domain_is_lost_when_its_proof_was_missing_for_long_enough_and_only_then() {
    let kept = Kept::new().await;
    let (name, ann) = (host("app.example.com"), name_of("ann"));
    kept.add("ann", "app.example.com", true).await;
    let store = &kept.store;
    let now = SystemTime::now() + Duration::from_secs(1);
    assert!(!store.lose_domain(&name, &ann, now).await.unwrap(), "the proof is there");
    assert!(store.note_missing(&name, &ann, true).await.unwrap());
    assert!(!store.note_missing(&name, &ann, true).await.unwrap(), "that is known");
    let before = now - Duration::from_secs(3600);
    assert!(!store.lose_domain(&name, &ann, before).await.unwrap(), "not yet");
    assert!(store.note_missing(&name, &ann, false).await.unwrap());
    assert!(!store.lose_domain(&name, &ann, now).await.unwrap(), "it is there again");
    assert!(store.note_missing(&name, &ann, true).await.unwrap());
    assert!(store.lose_domain(&name, &ann, now).await.unwrap());
    let left = store.domain(&name).await.unwrap();
    assert!(left[0].proven.is_none() && left[0].missing.is_none(), "{left:?}");

    // Now somebody else can prove it, and then ann cannot.
    kept.add("bob", "app.example.com", false).await;
    store.prove_domain(&name, &name_of("bob"), None).await.unwrap();
    let late = store.prove_domain(&name, &ann, None).await;
    assert_eq!(late, Err(StoreError::Exists));
    store.prove_domain(&name, &ann, Some(&name_of("bob"))).await.unwrap();
    let owners: Vec<_> = store.domain(&name).await.unwrap();
    assert!(owners.iter().all(|record| record.proven.is_some() == (record.owner == ann)));
    let nobody = store.prove_domain(&name, &name_of("eve"), None).await;
    assert_eq!(nobody, Err(StoreError::NotFound));
}

#[tokio::test]
async fn what_is_too_much_costs_the_store_nothing_and_an_operator_makes_room() {
    let kept = Kept::new().await;
    let domains = domains(Some(&kept.store), |settings| settings.max_per_owner = 2).await;
    let bob = user("bob");
    let names = ["a.example.com", "b.example.com", "c.example.com"].map(host);
    for name in &names {
        let (reason, refusal) = domains.ask(&bob, name, &mut patient()).await.unwrap_err();
        let is_room = reason == HostRefusal::NotProven;
        assert!(refusal.waits_for_records(), "{refusal}");
        assert_eq!(
            (is_room, refusal.records.len()),
            (*name != names[2], if is_room { 2 } else { 0 })
        );
    }
    assert_eq!(kept.store.domains().await.unwrap().len(), 2);
    // It is not even asked: nobody can write to it.
    let lock = kept.lock().await;
    let (reason, _) = domains.ask(&bob, &names[2], &mut patient()).await.unwrap_err();
    assert_eq!(reason, HostRefusal::TooMany);
    drop(lock);
    for name in &names[..2] {
        kept.store.adopt_domain(name, &name_of("bob")).await.unwrap();
    }
    domains.learn(&kept.store).await.unwrap();
    let (reason, _) = domains.ask(&bob, &names[2], &mut patient()).await.unwrap_err();
    assert_eq!(reason, HostRefusal::NotProven);
}

#[tokio::test]
async fn a_message_waits_for_a_store_that_fails_once() {
    let kept = Kept::new().await;
    let domains = domains(Some(&kept.store), |_| ()).await;
    // However short, nobody can write before it is over.
    let mut patience = Patience::of(Duration::from_millis(50));
    let lock = kept.lock().await;
    let (bob, [a, b]) = (user("bob"), ["a.example.com", "b.example.com"].map(host));
    let (_, refusal) = domains.ask(&bob, &a, &mut patience).await.unwrap_err();
    assert!(refusal.waits_for_records(), "{refusal}");
    assert!(refusal.message.contains("cannot write down right now"), "{refusal}");
    drop(lock);
    // Of the same message.
    let (_, refusal) = domains.ask(&bob, &b, &mut patience).await.unwrap_err();
    assert!(refusal.message.contains("cannot write down right now"), "{refusal}");
    // The client asks again.
    let (_, refusal) = domains.ask(&bob, &b, &mut patient()).await.unwrap_err();
    assert_eq!(refusal.records.len(), 2, "{refusal}");
}

#[tokio::test]
async fn what_clients_have_asked_for_long_ago_is_forgotten_unless_it_is_proven_or_an_operators() {
    let kept = Kept::new().await;
    let domains = domains(Some(&kept.store), |_| ()).await;
    let (bob, names) = (user("bob"), ["a.example.com", "b.example.com", "c.example.com"].map(host));
    for name in &names {
        domains.ask(&bob, name, &mut patient()).await.unwrap_err();
    }
    kept.store.prove_domain(&names[0], &name_of("bob"), None).await.unwrap();
    assert!(kept.store.adopt_domain(&names[1], &name_of("bob")).await.unwrap());
    let later = SystemTime::now() + Duration::from_secs(1);
    let created = SystemTime::now() - Duration::from_secs(1);
    assert_eq!(kept.store.forget_unasked(created).await.unwrap(), 0);
    assert_eq!(kept.store.forget_unasked(later).await.unwrap(), 1);
    let left = kept.store.domains().await.unwrap().into_iter().map(|record| record.host);
    assert_eq!(left.collect::<Vec<_>>(), names[..2]);
    // One that is lost is asked for from then on, by its client that is about to.
    kept.store.note_missing(&names[0], &name_of("bob"), true).await.unwrap();
    assert!(kept.store.lose_domain(&names[0], &name_of("bob"), later).await.unwrap());
    assert_eq!(kept.store.forget_unasked(created).await.unwrap(), 0);
}

#[tokio::test]
async fn whoever_learns_at_the_same_time_knows_what_was_there_before() {
    let kept = Kept::new().await;
    let domains = domains(Some(&kept.store), |_| ()).await;
    let mut learning = JoinSet::new();
    for n in 0..20 {
        let name = format!("n{n}.example.com");
        kept.add("ann", &name, true).await;
        let (domains, store) = (domains.clone(), kept.store.clone());
        learning.spawn(async move {
            domains.learn(&store).await.unwrap();
            assert!(domains.may_claim(&user("ann"), &host(&name)).is_ok(), "{name}");
        });
    }
    learning.join_all().await;
}

#[tokio::test]
async fn a_look_that_panics_ends_and_its_owners_names_are_looked_for_again() {
    let domains = domains(None, |_| ()).await;
    let (names, now) = (["a.example.com", "b.example.com"], Instant::now());
    for name in names {
        let name = name.parse().unwrap();
        let asked = domains.0.awaited.lock().ask(&name, &name_of("bob"), now, Duration::ZERO);
        asked.expect("room");
    }
    let key = domains.0.awaited.lock().begin(now).expect("one to look for");
    let look = wait::Look { domains: domains.clone(), key, is_over: false };
    assert!(domains.0.awaited.lock().next().is_none(), "bob's others wait for it");
    let mut looks = JoinSet::new();
    looks.spawn(async move {
        let _look = look;
        panic!("on purpose");
    });
    assert!(looks.join_next().await.expect("a look").is_err());
    assert!(domains.0.awaited.lock().next().is_some());
}
