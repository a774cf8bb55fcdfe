//! What stdout gets: for a person, one line for each tunnel that is live; with `--json`, every
//! event as one JSON object a line.

use std::convert::Infallible;
use std::future::pending;
use std::io;

use parking_lot::Mutex;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;
use shared::control::protocol::{PublicAddress, TunnelName};
use shared::kit::output::{Output, Progress};
use tracing::warn;

use crate::status::{Event, LiveTunnel};
use crate::terminal::{Attendant, Foot};

/// What stdout gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Lines for a person.
    Text,
    /// The same, with a QR code of the first public address.
    TextWithCode,
    /// All events, for a program.
    Json,
}

/// Shows events on stdout.
#[derive(Debug)]
pub struct Banner {
    shape: Shape,
    /// The address of the QR code that was shown last, with its tunnel: no other tunnel gets one.
    coded: Mutex<Option<(TunnelName, PublicAddress)>>,
    stdout: Output,
    /// What is below them, on a terminal.
    foot: Option<Attendant>,
}

impl Banner {
    /// Shows events in this shape, above `foot` if there is one.
    ///
    /// # Errors
    ///
    /// The system has no thread to write them.
    pub fn start(shape: Shape, foot: Option<Foot>) -> io::Result<Self> {
        let (stdout, foot) = match foot {
            None => {
                let progress = |progress| {
                    log_dropped(progress);
                    None
                };
                (Output::start("events", io::stdout(), progress)?, None)
            }
            Some(mut foot) => {
                let (attendant, out) = (foot.attendant(), foot.screen().above(io::stdout()));
                let progress = move |progress| {
                    log_dropped(progress);
                    foot.progress(progress)
                };
                let stdout = Output::start("events", out, progress)?;
                stdout.nudge();
                (stdout, Some(attendant))
            }
        };
        Ok(Self { shape, coded: Mutex::default(), stdout, foot })
    }

    /// Has the foot follow its terminal, if there is one.
    ///
    /// # Errors
    ///
    /// The system does not let the process handle signals.
    pub async fn attend(&self) -> io::Result<Infallible> {
        match &self.foot {
            Some(foot) => foot.attend(&self.stdout).await,
            None => pending().await,
        }
    }

    /// Shows one event. A stdout that nobody reads is no reason to stop tunnelling, nor to wait.
    pub fn show(&self, event: &Event) {
        let line = match self.shape {
            Shape::Json => Some(as_json(event)),
            Shape::Text | Shape::TextWithCode => as_text(event),
        };
        let code = match event {
            Event::Live(tunnel) if self.shape == Shape::TextWithCode => {
                first_code(&mut self.coded.lock(), tunnel)
            }
            _ => None,
        };
        // Together, so that nothing comes between them.
        let lines: String = line.into_iter().chain(code).map(|line| line + "\n").collect();
        if !lines.is_empty() {
            self.stdout.push(lines.as_bytes());
        }
        if let Some(foot) = &self.foot {
            foot.hear(event);
            self.stdout.nudge();
        }
    }
}

/// The QR code of the first tunnel that was live, unless it has been shown already.
fn first_code(
    coded: &mut Option<(TunnelName, PublicAddress)>,
    tunnel: &LiveTunnel,
) -> Option<String> {
    let address = tunnel.public.first()?;
    if coded.as_ref().is_some_and(|(name, shown)| *name != tunnel.name || shown == address) {
        return None;
    }
    *coded = Some((tunnel.name.clone(), address.clone()));
    qr_code(address.as_str())
}

/// `None`: it is too long for a code.
fn qr_code(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    // What is light is drawn: terminals are dark, and paper is not.
    Some(code.render().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

fn log_dropped(progress: Progress) {
    if progress.dropped > 0 {
        warn!(dropped = progress.dropped, "stdout was not read in time: events are missing there");
    }
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
        Event::Waiting(tunnel, refusal) => {
            json!({ "event": "waiting", "tunnel": tunnel.as_str(), "reason": refusal.to_string(),
                    "records": refusal.records })
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

    #[test]
    fn the_first_tunnel_has_a_code_until_its_address_is_another_one() {
        let live = |name: &str, port: u16| LiveTunnel {
            name: name.parse().unwrap(),
            public: vec![format!("tcp://relay.example:{port}").parse().unwrap()],
            local: "127.0.0.1:3000".into(),
        };
        let mut coded = None;
        let shown = [("a", 1), ("a", 1), ("b", 1), ("a", 2)]
            .map(|(name, port)| first_code(&mut coded, &live(name, port)).is_some());
        assert_eq!(shown, [true, false, false, true]);
    }

    #[test]
    fn a_code_is_what_a_telephone_expects_in_half_blocks() {
        let text = "https://app.relay.example/";
        let drawn = qr_code(text).unwrap();
        let code = QrCode::new(text).unwrap();
        let (width, quiet) = (code.width(), 4);
        let lines: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
        assert!(lines.iter().all(|line| line.len() == width + 2 * quiet));
        let is_light = |x: usize, y: usize| match lines[y / 2][x] {
            '█' => true,
            '▀' => y.is_multiple_of(2),
            '▄' => !y.is_multiple_of(2),
            ' ' => false,
            other => panic!("{other}"),
        };
        for (x, y) in (0..width).flat_map(|x| (0..width).map(move |y| (x, y))) {
            let expected = code[(x, y)] == qrcode::Color::Light;
            assert_eq!(is_light(x + quiet, y + quiet), expected, "{x} {y}");
        }
        assert!(is_light(0, 0), "there is a quiet zone");
        assert_eq!(qr_code(&"x".repeat(5000)), None);
    }
}
