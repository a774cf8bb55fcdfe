//! Several clients of one tunnel.

use std::collections::{HashMap, HashSet};

use shared::visit::record::{Failure, FailureReason, Record};
use tests::http::{Line, Recorder, Reply};
use tests::peer::dial_from;
use tests::rogue::{RogueClient, write};
use tests::{RunningClient, World, eventually, local};

use super::shares::{waiting, with_four_streams};
use super::{APP, app};

/// A relay, and clients of the tunnel `app` with services that answer with their names.
async fn clients(
    names: &[&'static str],
    balance: &str,
) -> (World, Vec<RunningClient>, Vec<Recorder>) {
    let world = World::start_with(tests::web::with_http).await;
    let (mut clients, mut services) = (Vec::new(), Vec::new());
    for name in names {
        let name = *name;
        let service = Recorder::start_with(move |seen| match seen.target.as_str() {
            "/never" => Reply { bytes: Vec::new(), closes: false },
            _ => Reply::ok(name),
        })
        .await;
        let tunnel = format!("app=http://{}?balance={balance}", service.addr());
        clients.push(world.client_for(&[tunnel]).await);
        services.push(service);
    }
    (world, clients, services)
}

async fn stop(world: World, clients: Vec<RunningClient>) {
    for client in clients {
        client.finish().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn the_client_that_came_last_serves_until_it_goes() {
    let (world, mut clients, _services) = clients(&["one", "two", "three"], "newest").await;
    let mut line = Line::connect(world.addrs.http.unwrap()).await;
    for name in ["three", "two", "one"] {
        for _ in 0..20 {
            assert_eq!(line.ask(APP, "/").await.text(), name);
        }
        if name != "one" {
            clients.pop().unwrap().finish().await;
        }
    }
    drop(line);
    stop(world, clients).await;
}

#[tokio::test]
async fn those_with_the_fewest_requests_get_the_next_ones() {
    let (world, clients, services) = clients(&["one", "two"], "least-busy").await;
    let http = world.addrs.http.unwrap();
    let (mut lines, mut seen) = (Vec::new(), [0, 0]);
    for number in 1..=40 {
        let mut line = Line::connect(http).await;
        line.get(APP, "/never").await;
        lines.push(line);
        eventually("one more request at one of them", async || {
            for (seen, service) in seen.iter_mut().zip(&services) {
                *seen += service.seen().len();
            }
            seen[0] + seen[1] == number
        })
        .await;
    }
    assert_eq!(seen, [20, 20]);
    drop(lines);
    stop(world, clients).await;
}

#[tokio::test]
async fn chance_leads_to_all_of_them() {
    let (world, clients, _services) = clients(&["one", "two", "three"], "random").await;
    let mut line = Line::connect(world.addrs.http.unwrap()).await;
    let mut served: HashMap<String, usize> = HashMap::new();
    for _ in 0..300 {
        *served.entry(line.ask(APP, "/").await.text().to_owned()).or_default() += 1;
    }
    assert!(served.len() == 3 && served.values().all(|count| *count > 50), "{served:?}");
    drop(line);
    stop(world, clients).await;
}

#[tokio::test]
async fn who_sticks_to_a_client_does_so_until_it_goes_and_sources_are_shared_out() {
    let (world, mut clients, _services) = clients(&["one", "two", "three"], "sticky").await;
    let http = world.addrs.http.unwrap();
    let serves = async |source: u8| {
        let socket = dial_from([127, 0, 1, source], http).await.expect("a connection");
        Line::over(socket).ask(APP, "/").await.text().to_owned()
    };
    let mut of_sources = Vec::new();
    for source in 1..=60 {
        let name = serves(source).await;
        for _ in 0..3 {
            assert_eq!(serves(source).await, name, "source {source}");
        }
        of_sources.push(name);
    }
    let all: HashSet<&String> = of_sources.iter().collect();
    assert_eq!(all.len(), 3, "{of_sources:?}");
    clients.pop().unwrap().finish().await;
    for (source, name) in (1..=60).zip(&of_sources) {
        let now = serves(source).await;
        assert!(now == *name || name == "three", "source {source} was {name}'s and is {now}'s");
    }
    stop(world, clients).await;
}

#[tokio::test]
async fn a_client_whose_service_is_not_there_is_passed_over() {
    let (world, mut clients, services) = clients(&["one"], "newest").await;
    let http = world.addrs.http.unwrap();
    clients.push(world.client_for(&app(local::nobody().await)).await);
    let mut line = Line::connect(http).await;
    for _ in 0..20 {
        assert_eq!(line.ask(APP, "/").await.text(), "one");
        line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 4\r\n\r\nbody")).await;
        assert_eq!(line.answer().await.text(), "one");
        line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(line.answer().await.text(), "one");
    }
    assert_eq!(services[0].seen().len(), 60);
    drop(line);
    stop(world, clients).await;
}

/// Says that it has not reached its local service, to whoever is next.
async fn fail(client: &mut RogueClient, reason: FailureReason) {
    let mut stream = client.stream().await;
    let failed = Record::Failed(Failure { reason, explanation: String::new() });
    write(&mut stream, &[Record::Seen.encode(), failed.encode()].concat()).await;
}

#[tokio::test]
async fn of_clients_of_which_none_can_the_best_one_says_why() {
    let world = World::start_with(tests::web::with_http).await;
    let http = world.addrs.http.unwrap();
    let mut waits = Vec::new();
    let mut full = with_four_streams(&world).await;
    for _ in 0..2 {
        waits.push((waiting(http, APP, "").await, full.stream().await));
    }
    // It has to be known for a request with a body that there is somebody to take it.
    let ask = async || {
        let mut line = Line::connect(http).await;
        line.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 4\r\n\r\nbody")).await;
        line
    };
    let said = async |mut line: Line| {
        let answer = line.answer().await;
        (answer.status, answer.headers.of("x-relay-error").unwrap_or_default().to_owned())
    };
    assert_eq!(said(ask().await).await, (503, "over_limit".into()));

    let mut older = with_four_streams(&world).await;
    let line = ask().await;
    fail(&mut older, FailureReason::Refused).await;
    assert_eq!(said(line).await, (502, "local_refused".into()), "the other one is full");

    let mut newest = with_four_streams(&world).await;
    let line = ask().await;
    fail(&mut newest, FailureReason::TimedOut).await;
    fail(&mut older, FailureReason::Refused).await;
    assert_eq!(said(line).await, (504, "local_timeout".into()), "that one was to serve it");

    for _ in 0..2 {
        waits.push((waiting(http, APP, "").await, newest.stream().await));
    }
    let line = ask().await;
    fail(&mut older, FailureReason::Refused).await;
    assert_eq!(said(line).await, (502, "local_refused".into()), "both others are full");
    drop(waits);
    for client in [newest, older, full] {
        client.close().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_tunnel_that_leads_elsewhere_does_so_for_requests_at_once() {
    let world = World::start_with(tests::web::with_http).await;
    let [before, after] = [
        Recorder::start_with(|_| Reply::ok("before")).await,
        Recorder::start_with(|_| Reply::ok("after")).await,
    ];
    let tunnel = |service: &Recorder| vec![format!("app=http://{}", service.addr())];
    let client = world.client_for(&tunnel(&before)).await;
    let mut line = Line::connect(world.addrs.http.unwrap()).await;
    assert_eq!(line.ask(APP, "/").await.text(), "before");
    let changed =
        client::Config::new(world.config(&tunnel(&after))).expect("settings that can run");
    client.reconfigure.apply(changed);
    // The connection to the other one is still there, and was used last.
    let mut asked = 0;
    eventually("requests that go elsewhere", async || {
        asked += 1;
        line.ask(APP, "/").await.text() == "after"
    })
    .await;
    assert_eq!(line.ask(APP, "/").await.text(), "after");
    assert_eq!(before.seen().len(), asked);
    drop(line);
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn an_answer_that_goes_on_takes_up_what_its_owner_may_have() {
    let world = World::start_with(|settings| {
        tests::web::with_http(settings);
        settings.limits.max_visitors_per_owner = Some(1);
    })
    .await;
    let service = local::played().await;
    let client = world.client_for(&[format!("app=http://{}", service.addr())]).await;
    let http = world.addrs.http.unwrap();
    let mut line = Line::connect(http).await;
    line.get(APP, "/events").await;
    let mut at_service = service.accept().await;
    at_service.expect(b"GET /events HTTP/1.1\r\n").await;
    at_service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n").await;
    assert_eq!(line.head().await.unwrap().unwrap().status, 200);
    let answer = Line::connect(http).await.ask(APP, "/").await;
    assert_eq!((answer.status, answer.headers.of("x-relay-error")), (503, Some("over_limit")));
    drop((line, at_service));
    client.finish().await;
    world.stop().await;
}
