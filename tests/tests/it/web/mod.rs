//! Requests by HTTP: where they go, what of them arrives, and what becomes of their answers.

mod bodies;
mod browser;
mod events;
mod floods;
mod grpc;
mod heads;
mod held;
mod interim;
mod limited;
mod parting;
mod pool;
mod routing;
mod secure;
mod several;
mod shares;
mod smuggling;
mod smuggling_http2;
mod stalled;
mod upgrades;
mod upgrades_stalled;
mod uploads;
mod vanished;
mod websockets;
mod windows;

use std::net::SocketAddr;
use std::time::Duration;

use tests::{RunningClient, World};
use tokio::time::{advance, pause, resume};

/// A relay that serves HTTP, and a client with these tunnels.
async fn world_of(tunnels: &[String]) -> (World, RunningClient, SocketAddr) {
    world_with(tunnels, |_| ()).await
}

/// The same with a relay set up by `adjust`.
async fn world_with(
    tunnels: &[String],
    adjust: impl FnOnce(&mut relay::Settings),
) -> (World, RunningClient, SocketAddr) {
    let world = World::start_with(|settings| {
        tests::web::with_http(settings);
        adjust(settings);
    })
    .await;
    let client = world.client_for(tunnels).await;
    let http = world.addrs.http.expect("a port for HTTP");
    (world, client, http)
}

/// Turns the clock of relay and client on by `time`. Nothing is slept through, so that it is no matter
/// how slow a machine is.
async fn turn_clock(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

/// The tunnel `app`, at the subdomain of its name.
fn app(service: SocketAddr) -> [String; 1] {
    [format!("app=http://{service}")]
}

/// The host of the tunnel `app`.
const APP: &str = "app.t.example";
