//! Requests that wait for a client which is coming back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tests::http::{Line, Recorder};
use tests::peer::dial_from;
use tests::{RunningClient, Tasks, World, local, within, within_time};

use super::{APP, app, world_with};

/// Long enough for any test.
const HOLD: Duration = Duration::from_secs(60);

/// A steady stream of requests: visitors who ask one after the other until told to stop.
struct Stream {
    visitors: Tasks,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Stream {
    fn of(visitors: usize, http: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = Tasks::new();
        for visitor in 0..visitors {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tasks.spawn(async move {
                let mut line = Line::connect(http).await;
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let path = format!("/{visitor}/{number}");
                    let answer = line.ask(APP, &path).await;
                    assert_eq!((answer.status, answer.text()), (200, &*path));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { visitors: tasks, stop, answered }
    }

    /// Waits until some more have been answered.
    async fn flows(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        let more = async || self.answered.load(Ordering::Relaxed) > before + 50;
        tests::eventually("answers to come", more).await;
    }

    async fn ends(self) {
        self.stop.store(true, Ordering::Relaxed);
        within_time(tests::wait::PATIENCE, "all answers", self.visitors.join()).await;
    }
}

/// Waits until no client is there.
async fn alone(world: &World) {
    world.shows("no client", |m| m.value("relay_sessions") == Some(0.0)).await;
}

/// Has requests flow while something befalls their client so many times, after which it is there
/// again. None of them is lost.
async fn none_is_lost_while(
    times: usize,
    befalls: impl AsyncFn(&World, &[String], RunningClient) -> RunningClient,
) {
    let service = Recorder::start().await;
    let tunnels = app(service.addr());
    let (world, mut client, http) =
        world_with(&tunnels, |settings| settings.web.hold_requests = HOLD).await;
    let requests = Stream::of(20, http);
    for _ in 0..times {
        requests.flows().await;
        client = befalls(&world, &tunnels, client).await;
    }
    requests.flows().await;
    requests.ends().await;
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn no_request_is_lost_while_a_client_is_restarted() {
    none_is_lost_while(5, async |world, tunnels, client| {
        client.finish().await;
        alone(world).await;
        world.client_for(tunnels).await
    })
    .await;
}

#[tokio::test]
async fn no_request_that_may_be_sent_again_is_lost_when_a_client_is_killed() {
    none_is_lost_while(5, async |world, tunnels, client| {
        client.vanish().await;
        alone(world).await;
        world.client_for(tunnels).await
    })
    .await;
}

#[tokio::test]
async fn no_request_that_may_be_sent_again_is_lost_when_the_link_is_cut() {
    none_is_lost_while(3, async |world, _, mut client| {
        world.wire.cut();
        alone(world).await;
        client.lost().await;
        world.wire.mend();
        client.live().await;
        client
    })
    .await;
}

#[tokio::test]
async fn requests_with_bodies_wait_too() {
    let service = Recorder::start().await;
    let (world, client, http) =
        world_with(&app(service.addr()), |settings| settings.web.hold_requests = HOLD).await;
    client.finish().await;
    alone(&world).await;
    let mut line = Line::connect(http).await;
    line.send(format!("POST /held HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 4\r\n\r\nbody")).await;
    let client = world.client_for(&app(service.addr())).await;
    assert_eq!(line.answer().await.text(), "/held");
    assert_eq!(service.seen()[0].body, b"body");
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn a_request_whose_local_service_takes_long_to_connect_keeps_no_others_waiting() {
    let (hole, service) = (local::black_hole(), Recorder::start().await);
    let (world, client, http) =
        world_with(&app(service.addr()), |settings| settings.web.hold_requests = HOLD).await;
    client.finish().await;
    alone(&world).await;
    let mut stuck = Line::connect(http).await;
    stuck.send(format!("POST / HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 4\r\n\r\nbody")).await;
    let mut patient = world.config(&app(hole.addr()));
    patient.connect_timeout = 2 * HOLD;
    let mut patient = RunningClient::start(patient);
    patient.live().await;
    let client = world.client_for(&app(service.addr())).await;
    let mut line = Line::connect(http).await;
    for path in ["/one", "/two"] {
        assert_eq!(line.ask(APP, path).await.text(), path);
    }
    drop((stuck, line));
    for client in [patient, client] {
        client.finish().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn without_a_time_to_wait_requests_learn_at_once_that_there_is_no_client() {
    let service = Recorder::start().await;
    let no_hold = |settings: &mut relay::Settings| settings.web.hold_requests = Duration::ZERO;
    let (world, client, http) = world_with(&app(service.addr()), no_hold).await;
    client.finish().await;
    alone(&world).await;
    let mut line = Line::connect(http).await;
    for _ in 0..10 {
        let answer = line.ask(APP, "/").await;
        assert_eq!((answer.status, answer.headers.of("x-relay-error")), (503, Some("no_client")));
    }
    drop(line);
    world.stop().await;
}

#[tokio::test]
async fn a_crowd_that_waits_has_a_limit() {
    let service = Recorder::start().await;
    let (world, client, http) =
        world_with(&app(service.addr()), |settings| settings.web.hold_requests = HOLD).await;
    client.finish().await;
    alone(&world).await;
    let (refused, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut visitors = Tasks::new();
    for number in 0..4100 {
        // From one source there would be half as many.
        let ip = [127, 0, 0, 1 + (number % 4) as u8];
        let (refused, served) = (Arc::clone(&refused), Arc::clone(&served));
        visitors.spawn(async move {
            let connection = within("a connection", dial_from(ip, http)).await;
            let mut line = Line::over(connection.expect("a connection"));
            line.get(APP, "/").await;
            let answer = within_time(HOLD, "an answer", line.slow_answer()).await;
            match answer.status {
                200 => served.fetch_add(1, Ordering::Relaxed),
                _ => refused.fetch_add(1, Ordering::Relaxed),
            };
        });
    }
    let four = async || refused.load(Ordering::Relaxed) == 4;
    tests::eventually("those for whom there is no room", four).await;
    assert_eq!(served.load(Ordering::Relaxed), 0);
    let client = world.client_for(&app(service.addr())).await;
    within_time(HOLD, "all answers", visitors.join()).await;
    assert_eq!((refused.load(Ordering::Relaxed), served.load(Ordering::Relaxed)), (4, 4096));
    client.finish().await;
    world.stop().await;
}
