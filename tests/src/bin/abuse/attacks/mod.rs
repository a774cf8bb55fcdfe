//! What attackers do, one after the other.

mod bandwidth;
mod certificates;
mod claims;
mod crowd;
mod database;
mod frames;
mod guessing;
mod kills;
mod revocation;
mod slow;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::stage::Stage;

use self::slow::Speech::{Plain, Tls};

/// One attack.
#[derive(Debug)]
pub(crate) struct Attack {
    /// What it is called at the command line.
    pub(crate) name: &'static str,
    /// What it is, in the table.
    pub(crate) what: &'static str,
    /// What the relay is started with besides.
    pub(crate) relay: &'static [&'static str],
    /// Where the relay's certificate comes from.
    pub(crate) certificate: Certificate,
    /// Whether users and tokens are in a PostgreSQL.
    pub(crate) in_postgres: bool,
    /// How long it lasts, if it has no end of its own.
    pub(crate) time: Duration,
    /// Does it.
    pub(crate) run: fn(Arc<Stage>, Duration) -> Running,
}

/// An attack that goes on.
pub(crate) type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// Where the relay's certificate comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Certificate {
    /// From `relay init`.
    Made,
    /// From files, which can be replaced.
    InFiles,
}

/// What became of an attack.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// In words, for the table.
    pub(crate) told: String,
    /// What never may happen, and did.
    pub(crate) faults: Vec<String>,
}

impl Outcome {
    /// Nothing that may not happen.
    pub(crate) fn told(told: impl Into<String>) -> Self {
        Self { told: told.into(), faults: Vec::new() }
    }

    /// Something that never may happen.
    pub(crate) fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Something that never may happen, if it did.
    #[must_use]
    pub(crate) fn never(mut self, count: usize, what: &str) -> Self {
        if count > 0 {
            self.fault(format!("{count} {what}"));
        }
        self
    }
}

/// For what takes longer to show.
const MINUTE: Duration = Duration::from_secs(60);

/// An attack on a relay as `relay init` sets it up.
const PLAIN: Attack = Attack {
    name: "none",
    what: "none",
    relay: &[],
    certificate: Certificate::Made,
    in_postgres: false,
    time: Duration::from_secs(10),
    run: |_, time| Box::pin(nothing(time)),
};

/// All of them, in the order of the table.
pub(crate) static ATTACKS: &[Attack] = &[
    PLAIN,
    Attack {
        name: "guess-1",
        what: "token guessing from one address",
        run: |stage, time| Box::pin(guessing::from(stage, time, 1)),
        ..PLAIN
    },
    Attack {
        name: "guess-1000",
        what: "token guessing from 1,000 addresses",
        run: |stage, time| Box::pin(guessing::from(stage, time, 1000)),
        ..PLAIN
    },
    Attack {
        name: "guess-time",
        what: "a token that nobody has beside a known one with a wrong proof",
        run: |stage, _| Box::pin(guessing::compare(stage)),
        ..PLAIN
    },
    Attack {
        name: "slow-plain-100",
        what: "5,000 connections that send a byte a second, plain, from 100 addresses",
        run: |stage, time| Box::pin(slow::bytes(stage, time, 100, Plain)),
        time: MINUTE,
        ..PLAIN
    },
    Attack {
        name: "slow-plain-1",
        what: "the same from one address",
        run: |stage, time| Box::pin(slow::bytes(stage, time, 1, Plain)),
        time: MINUTE,
        ..PLAIN
    },
    Attack {
        name: "slow-tls-100",
        what: "5,000 connections that send a byte a second, inside the TLS handshake, from 100 addresses",
        run: |stage, time| Box::pin(slow::bytes(stage, time, 100, Tls)),
        time: MINUTE,
        ..PLAIN
    },
    Attack {
        name: "slow-tls-1",
        what: "the same from one address",
        run: |stage, time| Box::pin(slow::bytes(stage, time, 1, Tls)),
        time: MINUTE,
        ..PLAIN
    },
    Attack {
        name: "crowd",
        what: "ten times as many visitors as a tunnel may have",
        relay: &["--max-visitors", crowd::MOST],
        run: |stage, time| Box::pin(crowd::rush(stage, time)),
        time: MINUTE,
        ..PLAIN
    },
    Attack {
        name: "frames-streams",
        what: "a client that was let in opens 100,000 streams",
        run: |stage, time| Box::pin(frames::flood(stage, time, "new streams")),
        ..PLAIN
    },
    Attack {
        name: "frames-pings",
        what: "a client that was let in sends 1,000,000 pings",
        run: |stage, time| Box::pin(frames::flood(stage, time, "pings")),
        ..PLAIN
    },
    Attack {
        name: "frames-tiny",
        what: "a client that was let in sends 1,000,000 empty frames",
        run: |stage, time| Box::pin(frames::flood(stage, time, "empty frames")),
        ..PLAIN
    },
    Attack {
        name: "frames-window",
        what: "a client that was let in sends a visitor more than its window",
        run: |stage, time| Box::pin(frames::over_the_window(stage, time)),
        ..PLAIN
    },
    Attack {
        name: "rate-token",
        what: "bulk through a token with a bandwidth",
        run: |stage, time| Box::pin(bandwidth::of_a_token(stage, time)),
        ..PLAIN
    },
    Attack {
        name: "rate-tunnel",
        what: "bulk through tunnels with a bandwidth",
        relay: &["--rate-per-tunnel", bandwidth::RATE],
        run: |stage, time| Box::pin(bandwidth::of_a_tunnel(stage, time)),
        ..PLAIN
    },
    Attack {
        name: "claims",
        what: "another owner claims the good tenant's tunnel 100 times",
        run: |stage, _| Box::pin(claims::claim(stage)),
        ..PLAIN
    },
    Attack {
        name: "revoke",
        what: "a token is revoked in mid-visit, 20 times",
        run: |stage, _| Box::pin(revocation::revoke(stage)),
        ..PLAIN
    },
    Attack {
        name: "certificates",
        what: "the certificate's files change 50 times",
        certificate: Certificate::InFiles,
        run: |stage, _| Box::pin(certificates::swap(stage)),
        ..PLAIN
    },
    Attack {
        name: "kills",
        what: "1,000 commands that create a token, killed at some moment",
        run: |stage, _| Box::pin(kills::kill(stage)),
        ..PLAIN
    },
    Attack {
        name: "database",
        what: "the PostgreSQL with users and tokens is stopped",
        certificate: Certificate::InFiles,
        in_postgres: true,
        run: |stage, time| Box::pin(database::away(stage, time)),
        time: Duration::from_secs(30),
        ..PLAIN
    },
];

/// Nobody does anything: what the figures are without an attack.
async fn nothing(time: Duration) -> Outcome {
    tokio::time::sleep(time).await;
    Outcome::told("nobody attacks")
}
