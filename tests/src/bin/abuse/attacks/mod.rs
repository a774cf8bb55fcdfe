//! What attackers do, one after the other.

mod guessing;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::stage::Stage;

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

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// An attack on a relay as `relay init` sets it up.
const PLAIN: Attack = Attack {
    name: "none",
    what: "none",
    relay: &[],
    certificate: Certificate::Made,
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
];

/// Nobody does anything: what the figures are without an attack.
async fn nothing(time: Duration) -> Outcome {
    tokio::time::sleep(time).await;
    Outcome::told("nobody attacks")
}
