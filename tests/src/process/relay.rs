//! A relay that is ready.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use serde_json::Value;

use super::program::{Process, Program};
use crate::scrape::{scrape, shows};

/// A relay process that is ready for clients and visitors.
#[derive(Debug)]
pub struct Relay {
    process: Process,
    /// Where clients connect.
    pub control: SocketAddr,
    /// Where visitors of the tunnel `default` connect.
    pub public: SocketAddr,
    /// Where metrics are.
    pub admin: SocketAddr,
    /// Where requests come in, if it serves the web.
    pub http: Option<SocketAddr>,
    /// Where they come in by TLS, if it serves the web by TLS.
    pub https: Option<SocketAddr>,
}

impl Relay {
    /// Starts a relay with `args`.
    pub async fn start(args: &[&str]) -> Self {
        Self::of(Program::relay().args(args)).await
    }

    /// Starts `program`, which logs as JSON, and waits until it is ready.
    pub async fn of(program: Program) -> Self {
        let process = program.start();
        let ready = process.logged("is ready").await;
        let address = |name: &str| -> SocketAddr {
            let text = ready[name].as_str().expect("an address in the log");
            text.parse().expect("an address")
        };
        let (control, public, admin) = (address("control"), address("public"), address("admin"));
        let [http, https] =
            ["http", "https"].map(|name| ready[name].as_str().map(|_| address(name)));
        Self { process, control, public, admin, http, https }
    }

    /// The same relay once more, at the same addresses. Its first process has ended.
    pub async fn restarted(&self) -> Self {
        Self::of(self.program_again()).await
    }

    fn program_again(&self) -> Program {
        Program::relay()
            .env("RELAY_CONTROL", self.control.to_string())
            .env("RELAY_PUBLIC", self.public.to_string())
            .env("RELAY_ADMIN", self.admin.to_string())
    }

    /// How many visits of `default` have ended like `outcome`.
    pub async fn visits(&self, outcome: &str) -> f64 {
        scrape(self.admin).await.visits("default", outcome)
    }

    /// Waits until `count` visits of `default` have ended like `outcome`.
    pub async fn counts(&self, count: usize, outcome: &str) {
        let what = format!("{count} visits to be counted as {outcome}");
        shows(self.admin, &what, |scrape| scrape.visits("default", outcome) == count as f64).await;
    }

    /// Waits until `count` visitors of `default` are there.
    pub async fn has_visitors(&self, count: usize) {
        let what = format!("{count} open visits");
        let series = "relay_visitors{tunnel=\"default\"}";
        shows(self.admin, &what, |scrape| scrape.value(series) == Some(count as f64)).await;
    }

    /// Waits for the line at the end of a visit that ended like `outcome`.
    pub async fn visit_over(&self, outcome: &str) -> Value {
        self.logged_where(outcome, |line| line["outcome"] == outcome).await
    }
}

impl Deref for Relay {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Relay {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
