//! Several clients of one tunnel that say different things of its requests.

use shared::control::protocol::{Balance, HttpOptions};
use tests::World;
use tests::http::{Answer, Line, Recorder, Reply};
use tests::web::{WebClient, with_http};

const HOST: &str = "app.t.example";

/// A relay with two clients of one tunnel, whose services answer with their names: `first`, and
/// `second`, which serves. Both get requests.
struct Scene {
    world: World,
    clients: [WebClient; 2],
    services: [Recorder; 2],
}

impl Scene {
    async fn start(options: [HttpOptions; 2], reply: fn(&str, &str) -> Reply) -> Self {
        let world = World::start_with(|settings| {
            with_http(settings);
            settings.trust_proxy = "127.0.0.0/8".parse().expect("a network");
        })
        .await;
        let service = async |name: &'static str| {
            Recorder::start_with(move |seen| reply(name, &seen.target)).await
        };
        let services = [service("first").await, service("second").await];
        let [first, second] = options.map(|one| HttpOptions { balance: Balance::Random, ..one });
        let first = WebClient::open(&world, first, services[0].addr()).await;
        let second = WebClient::open(&world, second, services[1].addr()).await;
        Self { world, clients: [first, second], services }
    }

    /// The answer to a request by TLS, as somebody says who is believed.
    async fn answer(&self, method_and_path: &str, rest: &str) -> Answer {
        let mut line = Line::connect(self.world.addrs.http.expect("a port for HTTP")).await;
        line.send(format!(
            "{method_and_path} HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-Proto: https\r\n{rest}"
        ))
        .await;
        line.answer().await
    }

    async fn stop(self) {
        for client in self.clients {
            client.close().await;
        }
        self.world.stop().await;
    }
}

#[tokio::test]
async fn the_longest_body_is_that_of_the_client_a_request_goes_to() {
    let short = HttpOptions { max_body: Some(10), ..HttpOptions::default() };
    for (options, takes) in [
        ([short.clone(), HttpOptions::default()], "second"),
        ([HttpOptions::default(), short.clone()], "first"),
    ] {
        let scene = Scene::start(options, |name, _| Reply::ok(name)).await;
        for rest in [
            "Content-Length: 20\r\n\r\n01234567890123456789",
            "Transfer-Encoding: chunked\r\n\r\n14\r\n01234567890123456789\r\n0\r\n\r\n",
        ] {
            let (mut taken, mut refused) = (0, 0);
            for _ in 0..30 {
                let answer = scene.answer("POST /", rest).await;
                match answer.status {
                    200 => {
                        assert_eq!(answer.text(), takes);
                        taken += 1;
                    }
                    status => {
                        let code = answer.headers.of("x-relay-error");
                        assert_eq!((status, code), (413, Some("body_too_large")));
                        refused += 1;
                    }
                }
            }
            assert!(taken > 0 && refused > 0, "{taken} taken and {refused} refused: {rest:?}");
        }
        scene.stop().await;
    }
}

#[tokio::test]
async fn a_body_that_no_client_takes_is_refused_before_one_is_chosen() {
    let of = |most| HttpOptions { max_body: Some(most), ..HttpOptions::default() };
    let scene = Scene::start([of(10), of(15)], |name, _| Reply::ok(name)).await;
    for _ in 0..10 {
        let answer = scene.answer("POST /", "Content-Length: 16\r\n\r\n").await;
        assert_eq!(
            (answer.status, answer.headers.of("x-relay-error")),
            (413, Some("body_too_large"))
        );
    }
    assert!(scene.services.iter().all(|service| service.connections() == 0));
    scene.stop().await;
}

#[tokio::test]
async fn browsers_are_told_of_tls_as_the_client_says_that_answers() {
    let hsts = |age| HttpOptions { hsts: Some(age), ..HttpOptions::default() };
    let scene = Scene::start([hsts(1), hsts(2)], |name, _| Reply::ok(name)).await;
    let mut seen = [0, 0];
    for _ in 0..30 {
        let answer = scene.answer("GET /", "\r\n").await;
        let first = answer.text() == "first";
        let expected = if first { "max-age=1" } else { "max-age=2" };
        assert_eq!(answer.headers.of("strict-transport-security"), Some(expected));
        seen[usize::from(first)] += 1;
    }
    assert!(!seen.contains(&0), "{seen:?}");
    scene.stop().await;
}

#[tokio::test]
async fn the_time_for_an_answer_is_that_of_the_client_a_request_goes_to() {
    let quick = HttpOptions { timeout_ms: Some(100), ..HttpOptions::default() };
    let scene = Scene::start([quick, HttpOptions::default()], |name, _| match name {
        "first" => Reply { bytes: Vec::new(), closes: false },
        name => Reply::ok(name),
    })
    .await;
    let mut seen = [0, 0];
    for _ in 0..20 {
        let answer = scene.answer("GET /", "\r\n").await;
        let timed_out = answer.status == 504;
        assert!(timed_out || answer.text() == "second", "{answer:?}");
        seen[usize::from(timed_out)] += 1;
    }
    assert!(!seen.contains(&0), "{seen:?}");
    scene.stop().await;
}
