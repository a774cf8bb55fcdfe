//! What is measured. Each file measures one kind of thing on a contender that is ready.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::contenders::Contender;
use crate::plan::Plan;
use crate::tunnel::{Line, Tunnel, Workshop};

mod bulk;
mod first_byte;
mod handshakes;
mod idle_memory;
mod keep_alive;
mod latency;
mod line_bulk;
mod line_loss;
mod line_small;
mod many_clients;
mod new_connections;
mod open_visitors;
mod stalled_visitor;
mod web;

/// One measurement; it may have more than one number for a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Figure {
    /// One stream, local service to visitor.
    BulkDown,
    /// One stream, visitor to local service.
    BulkUp,
    /// Four streams, local service to visitors.
    BulkFour,
    /// One stream each way at once.
    BulkBoth,
    /// Small requests on 50 connections that stay.
    KeepAlive,
    /// Small requests on one connection.
    Latency,
    /// New connections, 20 at a time.
    NewConnections,
    /// Memory at start and per idle visitor.
    IdleMemory,
    /// As many open visitors as descriptors allow.
    OpenVisitors,
    /// Memory that visitors hold who do not read.
    StalledVisitor,
    /// First byte of a new visit over a line with delay.
    FirstByte,
    /// One download over a line with delay and rate.
    LineBulk,
    /// Small requests beside two downloads over a line with delay and rate.
    LineSmall,
    /// Small requests of ten visitors beside two downloads, as before but with losses.
    LineLoss,
    /// A thousand clients with ten tunnels each on one relay.
    ManyClients,
    /// Clients that come to a relay and leave at once.
    Handshakes,
    /// Requests of the web on 50 connections that stay.
    WebKeepAlive,
    /// Requests of the web on one connection, beside the same past any tunnel.
    WebLatency,
    /// Requests of the web on one connection of HTTP/2.
    WebHttp2,
    /// An answer of the web without an end.
    WebBulkDown,
    /// A request of the web without an end.
    WebBulkUp,
    /// New visitors of the web by TLS, 20 at a time.
    WebHandshakes,
    /// Memory per idle visitor of the web.
    WebIdleMemory,
    /// The same by TLS.
    WebIdleMemoryTls,
    /// Events as they happen, beside the same past any tunnel.
    WebEvents,
    /// A hundred thousand routes on one relay.
    WebRoutes,
}

/// A number that a figure yields.
#[derive(Debug, Serialize)]
pub(crate) struct Metric {
    /// The name in the report and of the chart's file.
    pub(crate) name: &'static str,
    /// What it is, in words.
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// Whether more of it is better.
    pub(crate) more_is_better: bool,
    /// Whether one contender's value says something beside another's; not if each has a load of
    /// its own size.
    pub(crate) comparable: bool,
}

impl Metric {
    /// Whether it is about requests of HTTP.
    pub(crate) fn is_web(&self) -> bool {
        self.name.starts_with(WEB)
    }
}

/// What was measured of a metric, in its unit.
pub(crate) type Reading = (&'static Metric, f64);

/// What a figure has before it.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) tunnel: &'a mut Tunnel,
    /// The local service itself, past any tunnel.
    pub(crate) service: SocketAddr,
    pub(crate) plan: &'a Plan,
}

impl Figure {
    /// Every figure, in the order of the table.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The line that has to lie between client and relay.
    pub(crate) fn line(self) -> Option<Line> {
        let megabits_per_second = match self {
            Self::FirstByte | Self::LineBulk => line_bulk::MEGABITS_PER_SECOND,
            Self::LineSmall | Self::LineLoss => line_small::MEGABITS_PER_SECOND,
            _ => return None,
        };
        let losses_per_million =
            if self == Self::LineLoss { line_loss::LOSSES_PER_MILLION } else { 0 };
        Some(Line {
            round_trip: ROUND_TRIP,
            megabits_per_second,
            queue_bytes: QUEUE_BYTES,
            losses_per_million,
        })
    }

    /// How many rounds it needs of those that were asked for: memory repeats to a few per cent, and
    /// its figures take long.
    pub(crate) fn rounds(self, wanted: u32) -> u32 {
        match self {
            Self::IdleMemory | Self::OpenVisitors | Self::StalledVisitor => 1,
            Self::WebIdleMemory | Self::WebIdleMemoryTls | Self::WebRoutes => 1,
            _ => wanted,
        }
    }

    /// Whether it is about requests of HTTP, whatever the contender makes of them.
    fn is_web(self) -> bool {
        self.name().starts_with(WEB)
    }

    /// Whether there is something to measure on that contender.
    pub(crate) fn applies_to(self, contender: Contender) -> bool {
        match (self.is_web(), contender.is_web()) {
            (true, _) => return self.applies_to_web(contender),
            (false, true) => return false,
            (false, false) => (),
        }
        match (self, contender) {
            (Self::IdleMemory | Self::StalledVisitor, Contender::Direct) => false,
            (Self::ManyClients, _) => contender.most_clients() > 0,
            // The load plays the clients, and speaks no other protocol than ours.
            (Self::Handshakes, Contender::Ours | Contender::Before | Contender::OursTls) => true,
            (Self::Handshakes, _) => false,
            // Two threads are for streams that one alone cannot carry.
            (_, Contender::OursTwo) => self == Self::BulkFour,
            _ => true,
        }
    }

    fn applies_to_web(self, contender: Contender) -> bool {
        match (self, contender) {
            // They need the relay's own programs for clients.
            (Self::WebRoutes, Contender::OursWeb | Contender::BeforeWeb) => true,
            (Self::WebRoutes, _) => false,
            (Self::WebHandshakes | Self::WebIdleMemoryTls, _) if !contender.ends_tls() => false,
            (Self::WebIdleMemory, Contender::Direct) => false,
            // A line for each request is for requests to show.
            (_, Contender::OursWebLog) => matches!(self, Self::WebKeepAlive | Self::WebLatency),
            // One tunnel that passes on connections says what all of them would.
            (_, Contender::Ours | Contender::Before | Contender::Direct) => true,
            _ => contender.is_web(),
        }
    }

    /// Measures it once on a contender that is started for it.
    pub(crate) async fn measure(
        self,
        contender: Contender,
        workshop: &Workshop<'_>,
        plan: &Plan,
    ) -> Result<Vec<Reading>> {
        let stage = Stage { contender, line: self.line(), workshop, plan };
        match self {
            Self::BulkDown => stage.through_tunnel(bulk::down).await,
            Self::BulkUp => stage.through_tunnel(bulk::up).await,
            Self::BulkFour => stage.through_tunnel(bulk::four).await,
            Self::BulkBoth => stage.through_tunnel(bulk::both).await,
            Self::KeepAlive => stage.through_tunnel(keep_alive::measure).await,
            Self::Latency => stage.through_tunnel(latency::measure).await,
            Self::NewConnections => stage.through_tunnel(new_connections::measure).await,
            Self::IdleMemory => stage.through_tunnel(idle_memory::measure).await,
            Self::OpenVisitors => stage.through_tunnel(open_visitors::measure).await,
            Self::StalledVisitor => stage.through_tunnel(stalled_visitor::measure).await,
            Self::FirstByte => stage.through_tunnel(first_byte::measure).await,
            Self::LineBulk => stage.through_tunnel(line_bulk::measure).await,
            Self::LineSmall => stage.through_tunnel(line_small::measure).await,
            Self::LineLoss => stage.through_tunnel(line_loss::measure).await,
            Self::ManyClients => many_clients::measure(contender, workshop, plan).await,
            Self::Handshakes => handshakes::measure(contender, workshop, plan).await,
            Self::WebKeepAlive => stage.through_tunnel(web::keep_alive::measure).await,
            Self::WebLatency => stage.through_tunnel(web::latency::measure).await,
            Self::WebHttp2 => stage.through_tunnel(web::http2::measure).await,
            Self::WebBulkDown => stage.through_tunnel(web::bulk::down).await,
            Self::WebBulkUp => stage.through_tunnel(web::bulk::up).await,
            Self::WebHandshakes => stage.through_tunnel(web::handshakes::measure).await,
            Self::WebIdleMemory => stage.through_tunnel(web::idle_memory::plain).await,
            Self::WebIdleMemoryTls => stage.through_tunnel(web::idle_memory::tls).await,
            Self::WebEvents => stage.through_tunnel(web::events::measure).await,
            Self::WebRoutes => web::routes::measure(contender, workshop, plan).await,
        }
    }
}

/// What a figure is measured on, before it is started.
struct Stage<'a> {
    contender: Contender,
    line: Option<Line>,
    workshop: &'a Workshop<'a>,
    plan: &'a Plan,
}

impl Stage<'_> {
    /// Measures on one client with one tunnel.
    async fn through_tunnel(
        self,
        measure: impl AsyncFnOnce(Scene<'_>) -> Result<Vec<Reading>>,
    ) -> Result<Vec<Reading>> {
        let Self { contender, line, workshop, plan } = self;
        let mut tunnel = Tunnel::start(contender, line, workshop).await?;
        let readings = measure(Scene { tunnel: &mut tunnel, service: workshop.local, plan }).await;
        // Why a visitor was not answered is told best by the program that ended.
        if readings.is_err() {
            tunnel.check_running()?;
        }
        readings
    }
}

/// What names begin with of what is about requests of HTTP.
const WEB: &str = "web-";

/// As between two ends of a continent.
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// A moderate router's queue: 8 ms at 500 Mbit/s, 21 ms at 200 Mbit/s.
const QUEUE_BYTES: usize = 512 * 1024;
