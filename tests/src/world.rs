//! A relay and its clients, in this process.
//!
//! A test starts a [`World`], does what a visitor or an operator would do, and stops the world,
//! which fails the test if anything panicked, failed or was left.

use std::cell::Cell;
use std::net::SocketAddr;
use std::panic;
use std::sync::Once;
use std::time::Duration;

use client::{Client, Event, Reconfigure, Status, TunnelConfig};
use relay::{Addrs, History, Relay, Statistics};
use shared::carry::tls::install_provider;
use shared::kit::stop::Stop;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::scrape::{self, Scrape};
use crate::secured::Secured;
use crate::tasks;
use crate::usage::raise_file_limit;
use crate::wait::within;
use crate::wire::Wire;

/// Events that a test has not looked at yet.
const EVENTS: usize = 1024;

/// A running relay and everything connected to it.
#[derive(Debug)]
pub struct World {
    /// Where the relay listens, with the ports the kernel chose.
    pub addrs: Addrs,
    /// The link between clients and relay.
    pub wire: Wire,
    /// Stops the relay.
    pub relay_stop: Stop,
    /// Changes its configuration.
    pub relay_reconfigure: relay::Reconfigure,
    /// How its clients speak TLS with it.
    pub client_tls: client::TlsSettings,
    relay: JoinSet<anyhow::Result<()>>,
    clients: Vec<RunningClient>,
    statistics: Statistics,
    history: History,
}

/// A client that runs.
#[derive(Debug)]
pub struct RunningClient {
    /// What it is doing.
    pub status: watch::Receiver<Status>,
    /// Stops it.
    pub stop: Stop,
    /// Changes its configuration.
    pub reconfigure: Reconfigure,
    events: mpsc::Receiver<Event>,
    running: JoinSet<anyhow::Result<()>>,
}

impl World {
    /// Starts a relay on loopback.
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// Starts a relay on loopback, set up by `adjust` before it binds.
    pub async fn start_with(adjust: impl FnOnce(&mut relay::Settings)) -> Self {
        raise_file_limit();
        install_provider();
        count_panics();
        let mut settings = relay::Settings::loopback();
        adjust(&mut settings);
        let config = relay::Config::new(settings).expect("settings that can run");
        let relay = Relay::bind(config).await.expect("a relay on loopback");
        let addrs = *relay.addrs();
        let wire = Wire::to(addrs.control).await;
        let relay_stop = Stop::new();
        let relay_reconfigure = relay.reconfigure();
        let (statistics, history) = (relay.statistics().clone(), relay.history().clone());
        let mut running = JoinSet::new();
        running.spawn(relay.run(relay_stop.clone()));
        let clients = Vec::new();
        let client_tls = client::TlsSettings::default();
        Self {
            addrs,
            wire,
            relay_stop,
            relay_reconfigure,
            client_tls,
            relay: running,
            clients,
            statistics,
            history,
        }
    }

    /// Starts a relay on loopback with the certificate of `secured`, whose clients trust it.
    pub async fn start_secured(secured: &Secured) -> Self {
        let mut world = Self::start_with(|settings| settings.tls = secured.relay_tls()).await;
        world.client_tls = secured.client_tls();
        world
    }

    /// A client's settings for these tunnels, each written as on the command line.
    pub fn config(&self, tunnels: &[String]) -> client::Settings {
        let tunnels = tunnels.iter().map(|tunnel| tunnel.parse::<TunnelConfig>());
        let tunnels = tunnels.collect::<Result<_, _>>().expect("tunnels as on the command line");
        let tls = self.client_tls.clone();
        client::Settings { tls, ..client::Settings::loopback(self.wire.addr(), tunnels) }
    }

    /// A client of the tunnel `default`, which leads to `local`.
    pub async fn client(&self, local: SocketAddr) -> RunningClient {
        self.client_for(&[format!("default={local}")]).await
    }

    /// A client of these tunnels, once it is live.
    pub async fn client_for(&self, tunnels: &[String]) -> RunningClient {
        let mut client = RunningClient::start(self.config(tunnels));
        client.live().await;
        client
    }

    /// Exposes `local` as the tunnel `default` by a client that lives as long as the world, and
    /// returns where visitors come in.
    pub async fn expose(&mut self, local: SocketAddr) -> SocketAddr {
        let client = self.client(local).await;
        let public = client.public(0);
        self.clients.push(client);
        public
    }

    /// Exposes each as a tunnel, all by one client, and returns where visitors come in.
    pub async fn expose_all(&mut self, tunnels: &[String]) -> Vec<SocketAddr> {
        let client = self.client_for(tunnels).await;
        let public = (0..tunnels.len()).map(|i| client.public(i)).collect();
        self.clients.push(client);
        public
    }

    /// The first client that lives as long as the world.
    pub fn first_client(&mut self) -> &mut RunningClient {
        self.clients.first_mut().expect("a client")
    }

    /// The relay's metrics.
    pub async fn metrics(&self) -> Scrape {
        scrape::scrape(self.addrs.admin).await
    }

    /// Waits until the metrics show what `expected` looks for.
    pub async fn shows(&self, what: &str, expected: impl FnMut(&Scrape) -> bool) {
        scrape::shows(self.addrs.admin, what, expected).await;
    }

    /// Waits until so many visits of the tunnel `default` have ended in this way.
    pub async fn counts(&self, outcome: &str, visits: usize) {
        let what = format!("{visits} visits that are {outcome}");
        self.shows(&what, |metrics| metrics.visits("default", outcome) == visits as f64).await;
    }

    /// What has moved at the relay's tunnels.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Which requests and visits there were.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Waits until the relay has ended.
    pub async fn relay_ended(&mut self) {
        let ended = within("the relay to stop", self.relay.join_next()).await;
        if let Some(ended) = ended {
            ended.expect("no panic in the relay").expect("a good end of the relay");
        }
    }

    /// Stops everything in the order an operator would, and fails the test if anything panicked,
    /// failed, or was still there at the end.
    pub async fn stop(mut self) {
        self.relay_stop.gracefully.cancel();
        self.relay_ended().await;
        for client in std::mem::take(&mut self.clients) {
            // One that was waiting to connect again would wait on.
            client.stop.gracefully.cancel();
            client.ended().await.expect("a good end of the client");
        }
        // They hold on to the relay's store, if it has one.
        let Self { relay_reconfigure, statistics, history, .. } = self;
        drop((relay_reconfigure, statistics, history));
        tasks::none_left().await;
        assert_eq!(PANICS.get(), 0, "something panicked");
    }
}

impl RunningClient {
    /// Starts a client.
    pub fn start(settings: client::Settings) -> Self {
        let config = client::Config::new(settings).expect("settings that can run");
        let client = Client::new(config);
        let status = client.status();
        let reconfigure = client.reconfigure();
        let stop = Stop::new();
        let (send, events) = mpsc::channel(EVENTS);
        let mut running = JoinSet::new();
        let announce = move |event| drop(send.try_send(event));
        running.spawn(client.run(stop.clone(), announce));
        Self { status, stop, reconfigure, events, running }
    }

    /// Waits until the client is in session.
    pub async fn live(&mut self) {
        let live = self.status.wait_for(Status::is_live);
        drop(within("the tunnels to go live", live).await.expect("a client that runs"));
    }

    /// Waits until the client has noticed that it is not in session any more.
    pub async fn lost(&mut self) {
        let lost = self.status.wait_for(|status| !status.is_live());
        drop(within("the client to lose its session", lost).await);
    }

    /// Waits for the news that the tunnel `name` is live, or leads elsewhere, and returns where its
    /// visitors come in.
    pub async fn tunnel_is_live(&mut self, name: &str) -> SocketAddr {
        let is_it =
            |event: &Event| matches!(event, Event::Live(live) if live.name.as_str() == name);
        let Event::Live(live) = self.event(&format!("{name} to be live"), is_it).await else {
            unreachable!("it was looked at")
        };
        address(&live.address())
    }

    /// Where visitors of the tunnel number `index` come in.
    pub fn public(&self, index: usize) -> SocketAddr {
        let addresses = self.status.borrow().public_addresses();
        address(addresses.get(index).expect("a live tunnel"))
    }

    /// Waits for an event that `wanted` accepts; those before it are passed over.
    pub async fn event(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        within(what, async {
            loop {
                let event = self.events.recv().await;
                let event = event.unwrap_or_else(|| panic!("the client ended before {what}"));
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
    }

    /// Waits until the client ends by itself: how it ended.
    pub async fn ended(mut self) -> anyhow::Result<()> {
        let ended = within("the client to end", self.running.join_next()).await;
        ended.expect("a client that runs").expect("no panic in the client")
    }

    /// Stops it gracefully and waits for a good end.
    pub async fn finish(self) {
        self.stop.gracefully.cancel();
        self.ended().await.expect("a good end of the client");
    }

    /// Makes it vanish from one moment to the next, like a process that is killed.
    pub async fn vanish(mut self) {
        self.running.shutdown().await;
    }
}

fn address(public: &str) -> SocketAddr {
    let address = public.strip_prefix("tcp://").expect("a TCP tunnel");
    address.parse().expect("an IP address")
}

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the panics of each thread, the test's own excepted: after that nobody asks.
fn count_panics() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}

/// A short heartbeat, for tests in which the far end falls silent.
pub const SHORT_HEARTBEAT: Duration = Duration::from_millis(150);
