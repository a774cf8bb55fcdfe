//! What stdout gets: for a person, one line for each tunnel that is live; with `--json`, every
//! event as one JSON object a line.

use std::io;
use std::time::Instant;

use serde_json::json;
use shared::kit::output::{Output, Progress};
use tracing::warn;

use crate::status::Event;

/// Shows events on stdout.
#[derive(Debug)]
pub struct Banner {
    json: bool,
    stdout: Output,
}

impl Banner {
    /// Shows events as JSON, or what a person needs of them.
    ///
    /// # Errors
    ///
    /// The system has no thread to write them.
    pub fn start(json: bool) -> io::Result<Self> {
        Ok(Self { json, stdout: Output::start("events", io::stdout(), log_dropped)? })
    }

    /// Shows one event. A stdout that nobody reads is no reason to stop tunnelling, nor to wait.
    pub fn show(&self, event: &Event) {
        let line = if self.json { Some(as_json(event)) } else { as_text(event) };
        if let Some(line) = line {
            self.stdout.push(format!("{line}\n").as_bytes());
        }
    }
}

fn log_dropped(progress: Progress) -> Option<Instant> {
    if progress.dropped > 0 {
        warn!(dropped = progress.dropped, "stdout was not read in time: events are missing there");
    }
    None
}

/// A person learns the rest from the log.
fn as_text(event: &Event) -> Option<String> {
    match event {
        Event::Live(tunnel) => {
            Some(format!("{}  {} -> {}", tunnel.name, tunnel.address(), tunnel.local))
        }
        _ => None,
    }
}

fn as_json(event: &Event) -> String {
    let object = match event {
        Event::Live(tunnel) => json!({
            "event": "live",
            "tunnel": tunnel.name.as_str(),
            "public": tunnel.address(),
            "local": tunnel.local,
        }),
        Event::Standby(tunnel) => json!({ "event": "standby", "tunnel": tunnel.as_str() }),
        Event::Closed(tunnel) => json!({ "event": "closed", "tunnel": tunnel.as_str() }),
        Event::Refused(tunnel, reason) => {
            json!({ "event": "refused", "tunnel": tunnel.as_str(), "reason": reason })
        }
        Event::Lost(reason) => json!({ "event": "lost", "reason": reason }),
        Event::Reconnecting(delay) => {
            json!({ "event": "reconnecting", "seconds": delay.as_secs_f64() })
        }
        Event::Ended(reason) => json!({ "event": "ended", "reason": reason }),
    };
    object.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::LiveTunnel;

    #[test]
    fn a_live_tunnel_reads_as_documented() {
        let event = Event::Live(LiveTunnel {
            name: "default".parse().unwrap(),
            public: vec!["tcp://relay.example:8080".parse().unwrap()],
            local: "127.0.0.1:3000".into(),
        });
        assert_eq!(as_text(&event).unwrap(), "default  tcp://relay.example:8080 -> 127.0.0.1:3000");
        let object: serde_json::Value = serde_json::from_str(&as_json(&event)).unwrap();
        assert_eq!(
            object,
            json!({"event": "live", "tunnel": "default", "public": "tcp://relay.example:8080",
                   "local": "127.0.0.1:3000"})
        );
    }
}
