//! A client, followed by its events.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde_json::Value;

use super::lines::parse;
use super::program::{Process, Program};
use crate::wait::PATIENCE;

/// A client process that prints events as JSON.
#[derive(Debug)]
pub struct Client {
    process: Process,
    /// Events up to this line of stdout have been waited for.
    seen: usize,
}

impl Client {
    /// Starts a client of the relay at `server`, without waiting for anything.
    pub fn begin(server: SocketAddr, args: &[&str]) -> Self {
        Self::of(Program::client().args(["--server", &server.to_string()]).args(args))
    }

    /// Starts `program`, which prints events as JSON.
    pub fn of(program: Program) -> Self {
        Self { process: program.start(), seen: 0 }
    }

    /// Starts a client that exposes `local` as the tunnel `default`, and waits until it is live.
    pub async fn expose(server: SocketAddr, local: SocketAddr) -> Self {
        Self::live_with(server, &["--local", &local.to_string()]).await
    }

    /// Starts a client with `args` and waits until a tunnel is live.
    pub async fn live_with(server: SocketAddr, args: &[&str]) -> Self {
        let mut client = Self::begin(server, args);
        client.event("live").await;
        client
    }

    /// Waits for the next event of this kind; others before it are passed over.
    pub async fn event(&mut self, kind: &str) -> Value {
        self.event_where(PATIENCE, kind, |_| true).await
    }

    /// Waits for the next event of this kind of which `holds` is true, for `patience` at most.
    pub async fn event_where(
        &mut self,
        patience: Duration,
        kind: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let is_it = |event: &Value| event["event"] == kind && holds(event);
        let pick = |line: &str| Some(parse(line)).filter(is_it);
        let what = format!("the client's event {kind}");
        let stdout = &self.process.stdout;
        let (line, event) = stdout.find_within(patience, &what, self.seen, pick).await;
        self.seen = line + 1;
        event
    }

    /// Waits for the next time that `tunnel` is live. Returns where its visitors come in.
    pub async fn live(&mut self, tunnel: &str) -> SocketAddr {
        loop {
            let event = self.event("live").await;
            if event["tunnel"] == tunnel {
                let public = event["public"].as_str().expect("a public address");
                let address = public.strip_prefix("tcp://").expect("a TCP tunnel");
                return address.parse().expect("an address");
            }
        }
    }
}

impl Deref for Client {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
