//! Clients that ask for a domain before anybody has proven whose it is: they say which record is
//! missing, and wait for it.

use std::time::Duration;

use serde_json::Value;
use tests::http::{Line, Recorder};
use tests::kept::{Kept, client};
use tests::process::{Client, Relay};
use tests::scrape::shows;
use tests::{Folder, eventually_within};

use super::domains::Place;

const HTTP: [&str; 4] = ["--http", "127.0.0.1:0", "--hold-requests", "0s"];

/// How long it may take until somebody sees what has changed: the relay looks for a record once a
/// minute at least, and the client asks for a tunnel twice a minute.
const SEEN: Duration = Duration::from_secs(120);

/// The next event of a tunnel that waits for so many records. Before it there may be some without,
/// as a relay that is busy has not written down yet what it was asked for.
async fn waits_for(client: &mut Client, records: usize) -> Value {
    let has_them =
        |event: &Value| event["records"].as_array().is_some_and(|all| all.len() == records);
    client.event_where(SEEN, "waiting", has_them).await
}

/// The next event of a tunnel that waits for this reason.
async fn waits_because(client: &mut Client, says: &str) -> Value {
    let is_it = |event: &Value| event["reason"].as_str().is_some_and(|why| why.contains(says));
    client.event_where(SEEN, "waiting", is_it).await
}

/// The next event of this kind, which comes when somebody has seen what has changed.
async fn sees(client: &mut Client, kind: &str) -> Value {
    client.event_where(SEEN, kind, |_| true).await
}

/// A record as a client tells it, as a line of a zone's file.
fn line(record: &Value) -> String {
    let text = |key: &str| record[key].as_str().expect("a text");
    match text("type") {
        "TXT" => format!("{} TXT \"{}\"", text("name"), text("value")),
        kind => format!("{} {kind} {}.", text("name"), text("value")),
    }
}

/// A text as it is in the middle of a log's line.
fn as_json(text: &str) -> String {
    text.replace('"', "\\\"")
}

/// How often the client has said something like it in its log.
fn said(client: &Client, what: &str) -> usize {
    client.stderr.so_far().iter().filter(|line| line.contains(what)).count()
}

async fn status(relay: &Relay, host: &str) -> u16 {
    let mut line = Line::connect(relay.http.expect("a port for HTTP")).await;
    line.ask(host, "/").await.status
}

#[tokio::test]
async fn a_client_names_the_record_that_is_missing_and_its_tunnel_opens_when_it_is_seen() {
    for (kept, which) in Kept::both().await.into_iter().zip([0, 1]) {
        let place = Place::of(kept).await;
        let relay = place.relay(&HTTP).await;
        let service = Recorder::start().await;
        let app = format!("app=http://{}?host=app.example.test", service.addr());
        let shop = format!("shop=http://{}", service.addr());
        let (token, _) = place.kept.token("bob", "laptop", &[]).await;
        let mut client = client(&relay, &token, &["--tunnel", &app, "--tunnel", &shop]);

        // Nobody has added it before.
        let waiting = waits_for(&mut client, 2).await;
        assert_eq!(waiting["tunnel"], "app");
        let code = place.code("bob", "app.example.test").await;
        let records = waiting["records"].as_array().expect("records");
        let expected = [
            format!("_sallyport.app.example.test TXT \"sallyport-verify={code}\""),
            format!("app.example.test CNAME {code}.tunnel.test."),
        ];
        assert_eq!(records.iter().map(line).collect::<Vec<_>>(), expected);
        for record in [
            format!("_sallyport.app.example.test. TXT \"sallyport-verify={code}\""),
            format!("app.example.test. CNAME {code}.tunnel.test."),
        ] {
            relay.logged(&record).await;
            let shown = format!("a record that would do: {}", as_json(&record));
            assert_eq!(said(&client, &shown), 1);
        }
        assert_eq!(place.states().await, ["app.example.test bob pending"]);
        assert_eq!(status(&relay, "shop.tunnel.test").await, 200, "others work meanwhile");
        assert_eq!(status(&relay, "app.example.test").await, 404);
        let looked = "relay_host_proofs_total{outcome=\"missing\"}";
        shows(relay.admin, "looks in vain", |m| m.value(looked) >= Some(2.0)).await;

        place.dns.add(&line(&records[which])).await;
        let live = sees(&mut client, "live").await;
        assert_eq!((&live["tunnel"], said(&client, "ended")), (&"app".into(), 0));
        assert_eq!(status(&relay, "app.example.test").await, 200);
        let proven = relay.logged_where("the proof", |line| line["event"] == "proven").await;
        assert_eq!(
            (&proven["domain"], &proven["owner"]),
            (&"app.example.test".into(), &"bob".into())
        );
        assert_eq!(place.states().await, ["app.example.test bob proven"]);
        assert_eq!(said(&client, "waits for a record in the DNS"), 1);
        assert_eq!(said(&client, "has been seen"), 1);
    }
}

#[tokio::test]
async fn a_client_with_nothing_else_waits_for_a_name_server_that_is_away_too() {
    let place = Place::new().await;
    let code = place.code("ann", "app.example.test").await;
    place.add_text("app.example.test", &code).await;
    place.dns.stop().await;
    let relay = place.relay(&HTTP).await;
    let service = Recorder::start().await;
    let app = format!("app=http://{}?host=app.example.test", service.addr());
    let (token, _) = place.kept.token("ann", "laptop", &[]).await;
    let args = ["--tunnel", &app, "--connections", "2", "--reconnect", "never"];
    let mut client = client(&relay, &token, &args);
    waits_for(&mut client, 2).await;
    relay.logged("nobody can say whether the proof is there").await;
    place.dns.start_again().await;
    assert_eq!(sees(&mut client, "live").await["tunnel"], "app");
    assert_eq!(status(&relay, "app.example.test").await, 200);
    assert_eq!(said(&client, "waits for a record in the DNS"), 1, "whatever both are told");
}

#[tokio::test]
async fn a_domain_that_somebody_else_proves_first_is_waited_for_no_longer() {
    let place = Place::new().await;
    let relay = place.relay(&HTTP).await;
    let service = Recorder::start().await;
    let app = format!("app=http://{}?host=app.example.test", service.addr());
    let (token, _) = place.kept.token("bob", "laptop", &[]).await;
    let mut bob = client(&relay, &token, &["--tunnel", &app]);
    waits_for(&mut bob, 2).await;
    place.proven("ann", "app.example.test").await;
    let refused = sees(&mut bob, "refused").await;
    let reason = refused["reason"].as_str().expect("a reason");
    assert!(reason.contains("app.example.test belongs to another user"), "{reason}");
}

#[tokio::test]
async fn a_domain_that_has_come_to_look_like_anothers_is_waited_for_no_longer() {
    let place = Place::new().await;
    let relay = place.relay(&HTTP).await;
    let service = Recorder::start().await;
    let host = "\u{0430}pp.example.test";
    let app = format!("app=http://{}?host={host}", service.addr());
    let (token, _) = place.kept.token("bob", "laptop", &[]).await;
    let mut bob = client(&relay, &token, &["--tunnel", &app]);
    let waiting = waits_for(&mut bob, 2).await;
    place.proven("ann", "app.example.test").await;
    place.dns.add(&line(&waiting["records"][0])).await;
    let refused = sees(&mut bob, "refused").await;
    let reason = refused["reason"].as_str().expect("a reason");
    assert!(reason.contains("looks like app.example.test"), "{reason}");
    let states = place.states().await;
    assert!(states.iter().any(|state| state.ends_with("bob pending")), "{states:?}");
}

#[tokio::test]
async fn what_no_record_would_help_ends_the_client_with_its_reason() {
    let place = Place::new().await;
    place.proven("ann", "app.example.test").await;
    let relay = place.relay(&HTTP).await;
    let service = Recorder::start().await;
    let tunnel = |host: &str| format!("app=http://{}?{host}", service.addr());
    let (token, _) = place.kept.token("bob", "laptop", &[]).await;
    let rights = ["--hosts", "*.example.org"];
    let (narrow, _) = place.kept.token("bob", "narrow", &rights).await;
    for (token, host, says) in [
        (&token, "host=app.example.test", "belongs to another user"),
        (&token, "host=tunnel.test", "is the relay's own name"),
        // With a letter of another script that looks like the one in its place.
        (&token, "host=\u{0430}pp.example.test", "looks like app.example.test"),
        (&token, "host=app.tunn\u{0435}l.test", "looks like the relay's own tunnel.test"),
        (&token, "host=\u{0430}pp.tunnel.test", "is below the relay's own domain"),
        (&token, "subdomain=login", "could be taken for the operator's own"),
        (&narrow, "host=new.example.test", "the token is not for the host new.example.test"),
    ] {
        let mut bob = client(&relay, token, &["--tunnel", &tunnel(host)]);
        let ended = bob.event("ended").await;
        let reason = ended["reason"].as_str().expect("a reason");
        assert!(reason.contains(says), "{host}: {reason}");
        assert_eq!(bob.exit().await.code(), Some(1));
    }
    // Nothing was kept of what bob asked for.
    assert_eq!(place.states().await, ["app.example.test ann proven"]);
}

#[tokio::test]
async fn a_user_waits_for_so_many_domains_and_no_more() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        let relay = place.relay(&HTTP).await;
        let service = Recorder::start().await;
        let (token, _) = place.kept.token("bob", "laptop", &[]).await;
        let tunnel = |n: usize| format!("t{n}=http://{}?host=t{n}.example.test", service.addr());
        let tunnels: Vec<_> = (0..16).map(tunnel).collect();
        let args: Vec<_> = tunnels.iter().flat_map(|tunnel| ["--tunnel", tunnel]).collect();
        let mut first = client(&relay, &token, &args);
        first.event("waiting").await;
        let all_are_kept = async || place.states().await.len() == 16;
        eventually_within(SEEN, "all to be kept", all_are_kept).await;
        // One too many keeps none of the others from working.
        let shop = format!("shop=http://{}", service.addr());
        let args = ["--tunnel", &tunnel(16), "--tunnel", &shop];
        let mut second = client(&relay, &token, &args);
        waits_because(&mut second, "16 host names of bob wait to be proven already").await;
        assert_eq!(status(&relay, "shop.tunnel.test").await, 200);
        relay.logged("16 host names of bob wait to be proven already").await;
        let refused = "relay_hosts_refused_total{reason=\"too_many\"}";
        shows(relay.admin, "the limit", |m| m.value(refused) == Some(1.0)).await;
        // It says nothing of what others may ask for.
        let (anns, _) = place.kept.token("ann", "laptop", &[]).await;
        let mut ann = client(&relay, &anns, &["--tunnel", &tunnel(16)]);
        waits_for(&mut ann, 2).await;
        assert_eq!(place.states().await.len(), 17);
    }
}

#[tokio::test]
async fn the_records_of_all_hosts_are_told_whole_however_long_they_are() {
    let place = Place::new().await;
    let relay = place.relay(&HTTP).await;
    let service = Recorder::start().await;
    let (token, _) = place.kept.token("bob", "laptop", &[]).await;
    let hosts = [format!("{}.example.test", "a".repeat(60)), "b.example.test".to_owned()];
    let both = format!("both=http://{}?host={}&host={}", service.addr(), hosts[0], hosts[1]);
    let mut client = client(&relay, &token, &["--tunnel", &both]);
    waits_for(&mut client, 4).await;
    for host in &hosts {
        let code = place.code("bob", host).await;
        for record in [
            format!("_sallyport.{host}. TXT \"sallyport-verify={code}\""),
            format!("{host}. CNAME {code}.tunnel.test."),
        ] {
            relay.logged(&record).await;
            assert!(said(&client, &as_json(&record)) > 0, "{record}");
        }
    }
    for host in &hosts {
        let code = place.code("bob", host).await;
        place.dns.add(&format!("_sallyport.{host} TXT \"sallyport-verify={code}\"")).await;
    }
    sees(&mut client, "live").await;
    for host in &hosts {
        assert_eq!(status(&relay, host).await, 200);
    }
    let counted = "relay_hosts_refused_total{reason=\"not_proven\"}";
    shows(relay.admin, "that it has waited, once", |m| m.value(counted) == Some(1.0)).await;
}

#[tokio::test]
async fn clients_of_a_user_have_so_many_domains_and_an_operator_adds_more() {
    for kept in Kept::both().await {
        let place = Place::of(kept).await;
        let relay = place.relay(&[&HTTP[..], &["--max-domains-per-owner", "1"]].concat()).await;
        let service = Recorder::start().await;
        let (token, _) = place.kept.token("bob", "laptop", &[]).await;
        let tunnel = |n: usize| format!("t{n}=http://{}?host=t{n}.example.test", service.addr());
        let mut first = client(&relay, &token, &["--tunnel", &tunnel(0)]);
        let waiting = waits_for(&mut first, 2).await;
        place.dns.add(&line(&waiting["records"][0])).await;
        sees(&mut first, "live").await;
        // What is proven counts too.
        let mut second = client(&relay, &token, &["--tunnel", &tunnel(1)]);
        waits_because(&mut second, "clients of bob have asked for 1 host names").await;
        // Which it does not any more when the operator has added it.
        place.ask(&["add", "t0.example.test", "--user", "bob"]).await;
        waits_for(&mut second, 2).await;
    }
}

#[tokio::test]
async fn a_tunnel_that_waits_and_is_taken_out_of_the_file_is_closed_and_waits_anew() {
    let place = Place::new().await;
    let most = ["--max-tunnels-per-session", "2"];
    let relay = place.relay(&[&HTTP[..], &most].concat()).await;
    let service = Recorder::start().await;
    let (token, _) = place.kept.token("bob", "laptop", &[]).await;
    let (folder, to) = (Folder::new(), service.addr());
    let tunnel =
        |name: &str, more: &str| format!("[tunnels.{name}]\nlocal = \"http://{to}\"\n{more}\n");
    let shop = tunnel("shop", "");
    let both = format!("{shop}{}", tunnel("app", "host = \"app.example.test\""));
    let file = folder.write("client.toml", &both);
    let file = file.to_str().expect("a path");
    let mut client = client(&relay, &token, &["--config", file]);
    client.event("waiting").await;
    folder.replace("client.toml", &shop);
    assert_eq!(client.event("closed").await["tunnel"], "app");
    folder.replace("client.toml", &both);
    assert_eq!(client.event("waiting").await["tunnel"], "app");
    // The relay has heard that it is given up, and has room for another one.
    let other = tunnel("other", "host = \"other.example.test\"");
    folder.replace("client.toml", &format!("{shop}{other}"));
    assert_eq!(waits_for(&mut client, 2).await["tunnel"], "other");
}
