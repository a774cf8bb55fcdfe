//! Domains, and what proves whose they are: records at a real name server, looked up by the tools.

use serde_json::Value;
use tests::kept::Kept;
use tests::process::{Program, Relay};
use tests::{NameServer, eventually, within};
use tokio::net::UdpSocket;

/// A store with the users ann and bob, and the name server that its tools ask.
pub(crate) struct Place {
    pub(crate) kept: Kept,
    pub(crate) dns: NameServer,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::of(Kept::in_a_file()).await
    }

    pub(crate) async fn of(kept: Kept) -> Self {
        for user in ["ann", "bob"] {
            kept.ask(&["user", "create", user]).await;
        }
        Self { kept, dns: NameServer::start().await }
    }

    /// `relay domain` with these arguments.
    pub(crate) fn tool(&self, args: &[&str]) -> Program {
        let resolver = self.dns.addr().to_string();
        let at = ["--domain", "tunnel.test", "--resolver", &resolver];
        self.kept.tool(&[&["domain"], args, &at].concat())
    }

    pub(crate) async fn ask(&self, args: &[&str]) -> String {
        let (status, printed, said) = self.tool(args).output().await;
        assert_eq!(status, Some(0), "{args:?}: {said}");
        printed
    }

    pub(crate) async fn complaint(&self, args: &[&str]) -> String {
        let (status, printed, said) = self.tool(args).output().await;
        assert_eq!((status, printed.as_str()), (Some(1), ""), "{args:?}: {said}");
        said
    }

    pub(crate) async fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ask(&[args, &["--json"]].concat()).await).expect("JSON")
    }

    /// The code of a user for a domain, which is added if it was not before.
    pub(crate) async fn code(&self, user: &str, domain: &str) -> String {
        let added = self.json(&["add", domain, "--user", user]).await;
        let text = added["records"][0]["value"].as_str().expect("a text");
        text.strip_prefix("sallyport-verify=").expect("a code").to_owned()
    }

    /// A domain that a user has proven by a text.
    pub(crate) async fn proven(&self, user: &str, domain: &str) -> String {
        let code = self.code(user, domain).await;
        self.add_text(domain, &code).await;
        self.ask(&["verify", domain, "--user", user]).await;
        code
    }

    pub(crate) async fn add_text(&self, domain: &str, code: &str) {
        let record = format!("_sallyport.{domain} TXT \"sallyport-verify={code}\"");
        self.dns.add(&record).await;
    }

    /// A relay with what is known here, and these flags.
    pub(crate) async fn relay(&self, flags: &[&str]) -> Relay {
        let relay = match &self.kept.server {
            Some(server) => Program::relay().env("RELAY_DATABASE", server.whole_url()),
            None => Program::relay().args(self.kept.args()),
        };
        let resolver = self.dns.addr().to_string();
        // Its name server remembers nothing, so it is looked at once.
        let at = ["--domain", "tunnel.test", "--resolver", &resolver, "--domain-first-look", "0s"];
        Relay::of(relay.args(at).args(flags)).await
    }

    /// The states of all host names, with their owners.
    pub(crate) async fn states(&self) -> Vec<String> {
        let listed = self.json(&["list"]).await;
        let all = listed.as_array().expect("a list").iter();
        let text = |one: &Value, key: &str| one[key].as_str().expect("a text").to_owned();
        all.map(|one| {
            format!("{} {} {}", text(one, "name"), text(one, "owner"), text(one, "state"))
        })
        .collect()
    }
}

#[tokio::test]
async fn a_domain_is_proven_by_a_text_and_what_is_wrong_with_it_is_said() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        let printed = place.ask(&["add", "App.Example.Test", "--user", "ann"]).await;
        let code = place.code("ann", "app.example.test").await;
        let wanted = format!("_sallyport.app.example.test. TXT \"sallyport-verify={code}\"");
        let alias = format!("app.example.test. CNAME {code}.tunnel.test.");
        assert_eq!(printed, format!("{wanted}\n{alias}"), "the same code as before");
        assert_ne!(code, place.code("ann", "www.example.test").await);
        assert_ne!(code, place.code("bob", "app.example.test").await);
        place.ask(&["remove", "app.example.test", "--user", "bob"]).await;

        let missing = place.complaint(&["verify", "app.example.test"]).await;
        assert!(missing.contains(&wanted) && missing.contains(&alias), "{missing}");
        assert!(missing.contains("Found was: no TXT record, no CNAME record"), "{missing}");
        place.dns.add("_sallyport.app.example.test TXT \"sallyport-verify=other\"").await;
        let wrong = place.complaint(&["verify", "app.example.test"]).await;
        assert!(wrong.contains("Found was: TXT `sallyport-verify=other`, no CNAME"), "{wrong}");
        let expected =
            ["app.example.test ann pending", "www.example.test ann pending"].map(str::to_owned);
        assert_eq!(place.states().await, expected);

        place.add_text("app.example.test", &code).await;
        let verified = place.json(&["verify", "app.example.test"]).await;
        assert_eq!((&verified["done"], &verified["by"]["type"]), (&"proven".into(), &"TXT".into()));
        assert_eq!(place.states().await[0], "app.example.test ann proven");
        // Of one that is below it nothing is known.
        let other = place.complaint(&["verify", "www.example.test"]).await;
        assert!(other.contains("no TXT record"), "{other}");
        let stranger = place.complaint(&["verify", "a.example.test"]).await;
        assert!(stranger.contains("nobody has said"), "{stranger}");
        let list = place.ask(&["list", "--user", "ann"]).await;
        assert!(list.starts_with("NAME") && list.contains("proven"), "{list}");
    }
}

#[tokio::test]
async fn a_domain_is_proven_by_an_alias_of_what_is_its_owners_alone() {
    let place = Place::new().await;
    let code = place.code("ann", "app.example.test").await;
    place.ask(&["reserve", "shop", "--user", "ann"]).await;
    place.ask(&["reserve", "other", "--user", "bob"]).await;
    // One that all have, somebody else's, and one that ann may have while her client is there.
    let of_bob = place.code("bob", "app.example.test").await;
    for target in ["tunnel.test", "other.tunnel.test", "app.tunnel.test", "shop.tunnel.test.evil"] {
        place.dns.add(&format!("app.example.test CNAME {target}.")).await;
        let wrong = place.complaint(&["verify", "app.example.test", "--user", "ann"]).await;
        assert!(wrong.contains(&format!("CNAME `{target}.`")), "{wrong}");
        place.dns.remove("app.example.test", "CNAME").await;
    }
    for (user, target) in
        [("bob", of_bob), ("ann", "shop".into()), ("ann", code), ("bob", "OTHER".into())]
    {
        place.dns.add(&format!("app.example.test CNAME {target}.tunnel.test.")).await;
        let verified = place.json(&["verify", "app.example.test", "--user", user]).await;
        assert_eq!(verified["by"]["type"], "CNAME", "{target}");
        place.dns.remove("app.example.test", "CNAME").await;
    }
}

#[tokio::test]
async fn a_domain_that_somebody_has_proven_is_nobody_elses_until_that_proof_is_gone() {
    let place = Place::new().await;
    place.proven("ann", "app.example.test").await;
    let of_bob = place.code("bob", "app.example.test").await;
    place.add_text("app.example.test", &of_bob).await;
    let taken = place.complaint(&["verify", "app.example.test", "--user", "bob"]).await;
    assert!(taken.contains("is ann's, who has proven it first"), "{taken}");
    assert!(taken.contains("`relay domain remove app.example.test --user ann`"), "{taken}");
    let which = place.complaint(&["verify", "app.example.test"]).await;
    assert!(which.contains("ann and bob say that"), "{which}");

    place.dns.remove("_sallyport.app.example.test", "TXT").await;
    place.add_text("app.example.test", &of_bob).await;
    place.ask(&["verify", "app.example.test", "--user", "bob"]).await;
    let expected =
        ["app.example.test ann pending", "app.example.test bob proven"].map(str::to_owned);
    assert_eq!(place.states().await, expected);
    // While nobody can say, nobody loses it.
    place.dns.stop().await;
    let away = place.complaint(&["verify", "app.example.test", "--user", "ann"]).await;
    assert!(away.contains("nobody can say"), "{away}");
    assert_eq!(place.states().await, expected);
}

#[tokio::test]
async fn what_looks_like_the_relays_own_is_not_added_and_a_user_has_to_be_named() {
    let place = Place::new().await;
    for (name, says) in [
        ("tunnel.test", "the relay's own name"),
        ("app.tunnel.test", "ask for the subdomain `app`"),
        ("a.b.tunnel.test", "below the relay's own domain"),
    ] {
        let no = place.complaint(&["add", name, "--user", "ann"]).await;
        assert!(no.contains(says), "{no}");
    }
    place.proven("bob", "shop.example.test").await;
    for (name, says) in [
        ("tunn\u{0435}l.test", "looks like the relay's own tunnel.test"),
        ("sh\u{043e}p.example.test", "looks like shop.example.test, which belongs to another"),
    ] {
        let no = place.complaint(&["add", name, "--user", "ann"]).await;
        assert!(no.contains(says), "{no}");
    }
    // The operator has the last word, for each of the two steps.
    let like = "sh\u{043e}p.example.test";
    let added = place.json(&["add", like, "--user", "ann", "--lookalike"]).await;
    let record = &added["records"][0];
    let text = |key: &str| record[key].as_str().expect("a text");
    place.dns.add(&format!("{} TXT \"{}\"", text("name"), text("value"))).await;
    let no = place.complaint(&["verify", like]).await;
    assert!(no.contains("looks like shop.example.test") && no.contains("--lookalike"), "{no}");
    place.ask(&["verify", like, "--lookalike"]).await;
    for name in ["shop.example.test", like] {
        place.ask(&["remove", name]).await;
    }
    let whose = place.complaint(&["add", "app.example.test"]).await;
    assert!(whose.contains("give --user"), "{whose}");
    let nobody = place.complaint(&["add", "app.example.test", "--user", "eve"]).await;
    assert!(nobody.contains("the user eve"), "{nobody}");
    let (status, _, said) = place.tool(&["add", "example", "--user", "ann"]).output().await;
    assert_eq!(status, Some(2), "{said}");
    place.kept.ask(&["user", "delete", "bob"]).await;
    place.ask(&["add", "xn--bcher-kva.example.test"]).await;
    assert_eq!(place.states().await, ["xn--bcher-kva.example.test ann pending"]);
}

#[tokio::test]
async fn subdomains_are_kept_for_a_user_until_they_are_given_up() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        place.ask(&["reserve", "shop", "--user", "ann"]).await;
        // Also one of the words that nobody gets by asking.
        place.ask(&["reserve", "status", "--user", "bob"]).await;
        let taken = place.complaint(&["reserve", "shop", "--user", "bob"]).await;
        assert!(taken.contains("the subdomain shop") && taken.contains("already"), "{taken}");
        let nobody = place.complaint(&["reserve", "new", "--user", "eve"]).await;
        assert!(nobody.contains("the user eve"), "{nobody}");
        assert_eq!(place.states().await, ["shop ann reserved", "status bob reserved"]);
        place.ask(&["remove", "shop"]).await;
        place.kept.ask(&["user", "delete", "bob"]).await;
        assert_eq!(place.states().await, [""; 0]);
    }
    let place = Place::new().await;
    let own = place.tool(&["reserve", "gate", "--user", "ann"]);
    let (status, _, said) = own.env("RELAY_PUBLIC_NAME", "gate.tunnel.test").output().await;
    assert_eq!(status, Some(1));
    assert!(said.contains("the relay itself goes by gate"), "{said}");
}

#[tokio::test]
async fn a_record_that_comes_late_is_waited_for() {
    let place = Place::new().await;
    let code = place.code("ann", "app.example.test").await;
    let mut waiting = place.tool(&["verify", "app.example.test", "--wait", "1h"]).start();
    let told = |line: &str| line.contains("Looking again for 1h").then_some(());
    waiting.stderr.find("that it waits", 0, told).await;
    place.add_text("app.example.test", &code).await;
    assert_eq!(waiting.exit().await.code(), Some(0));
    assert_eq!(waiting.stdout.so_far(), ["app.example.test: proven, it is ann's"]);
}

#[tokio::test]
async fn a_name_server_that_does_not_answer_is_not_waited_for_without_end() {
    let place = Place::new().await;
    place.code("ann", "app.example.test").await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let addr = silent.local_addr().expect("an address").to_string();
    let verify = ["domain", "verify", "app.example.test", "--resolver", &addr];
    let (status, _, said) = within("an end", place.kept.tool(&verify).output()).await;
    assert_eq!(status, Some(1));
    let says = format!("nobody can say whether app.example.test is proven: the name server {addr}");
    assert!(said.contains(&says), "{said}");
    // It was asked.
    within("a question", silent.readable()).await.expect("a question");
}

#[tokio::test]
async fn texts_without_number_or_end_do_no_harm() {
    let place = Place::new().await;
    let code = place.code("ann", "app.example.test").await;
    for n in 0..20 {
        let text = format!("{n}\\027[31m{}", "x".repeat(200));
        place.dns.add(&format!("_sallyport.app.example.test TXT \"{text}\"")).await;
    }
    let wrong = place.complaint(&["verify", "app.example.test"]).await;
    assert!(wrong.contains(" and 16 more, no CNAME record"), "{wrong}");
    assert!(!wrong.contains('\u{1b}') && wrong.len() < 2000, "{wrong}");
    place.add_text("app.example.test", &code).await;
    eventually("the proof to be seen among others", async || {
        place.tool(&["verify", "app.example.test"]).output().await.0 == Some(0)
    })
    .await;
}
