//! What is seen at a moment, and what is different from the time before. Pure.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::tick::{Event, Figures, Sums, Tick};
use crate::admin::summary::TunnelSummary;
use crate::snapshot::{SessionNow, Snapshot, Standing};

/// What is seen at a moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    tunnels: BTreeMap<String, TunnelSeen>,
    sessions: BTreeMap<u64, SessionNow>,
}

#[derive(Clone, Debug)]
struct TunnelSeen {
    owner: String,
    is_live: bool,
    is_healthy: bool,
    figures: Figures,
}

impl Look {
    pub(super) fn at(snapshot: Snapshot) -> Self {
        let Snapshot { tunnels, sessions } = snapshot;
        let seen = |now: crate::snapshot::TunnelNow| {
            let id = format!("{}.{}", now.owner, now.name);
            let is_live = now.clients.iter().any(|client| client.standing == Standing::Live);
            let is_healthy =
                now.clients.is_empty() || now.clients.iter().any(|client| client.healthy);
            let summary = TunnelSummary::from(now);
            let figures = Figures::of(&summary);
            (id, TunnelSeen { owner: summary.owner, is_live, is_healthy, figures })
        };
        Self {
            tunnels: tunnels.into_iter().map(seen).collect(),
            sessions: sessions.into_iter().map(|session| (session.id, session)).collect(),
        }
    }

    /// What has happened since the look before.
    pub(super) fn since(&self, before: &Self, number: u64) -> Tick {
        let mut events = Vec::new();
        for (id, session) in &self.sessions {
            if !before.sessions.contains_key(id) {
                events.push((session.owner.clone(), Event::session_joined(session)));
            }
        }
        for (id, session) in &before.sessions {
            if !self.sessions.contains_key(id) {
                events.push((session.owner.clone(), Event::SessionLeft { session: *id }));
            }
        }
        let mut figures = Vec::new();
        for (id, now) in &self.tunnels {
            let then = before.tunnels.get(id);
            let mut tell = |event| events.push((now.owner.clone(), event));
            if then.is_none() {
                tell(Event::TunnelOpened { tunnel: id.clone() });
            }
            if then.is_some_and(|then| then.is_live) != now.is_live {
                tell(match now.is_live {
                    true => Event::TunnelLive { tunnel: id.clone() },
                    false => Event::TunnelWaiting { tunnel: id.clone() },
                });
            }
            if then.is_none_or(|then| then.is_healthy) != now.is_healthy {
                tell(match now.is_healthy {
                    true => Event::TunnelHealthy { tunnel: id.clone() },
                    false => Event::TunnelUnhealthy { tunnel: id.clone() },
                });
            }
            if then.is_none_or(|then| then.figures != now.figures) {
                figures.push((now.owner.clone(), id.clone(), now.figures));
            }
        }
        for (id, then) in &before.tunnels {
            if !self.tunnels.contains_key(id) {
                events.push((then.owner.clone(), Event::TunnelClosed { tunnel: id.clone() }));
            }
        }
        Tick::new(number, SystemTime::now(), events, figures, self.sums())
    }

    /// What there is of each owner.
    fn sums(&self) -> BTreeMap<String, Sums> {
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        for session in self.sessions.values() {
            sums.entry(session.owner.clone()).or_default().sessions += 1;
        }
        for tunnel in self.tunnels.values() {
            let sum = sums.entry(tunnel.owner.clone()).or_default();
            sum.tunnels += u64::from(tunnel.is_live);
            sum.figures.add(&tunnel.figures);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::super::Audience;
    use super::*;

    fn look(tunnels: &[(&str, &str, bool, u64)], sessions: &[(u64, &str)]) -> Look {
        let tunnel = |(name, owner, is_live, requests): &(&str, &str, bool, u64)| {
            let figures = Figures { requests: *requests, ..Figures::default() };
            let seen =
                TunnelSeen { owner: (*owner).into(), is_live: *is_live, is_healthy: true, figures };
            (format!("{owner}.{name}"), seen)
        };
        let session = |(id, owner): &(u64, &str)| {
            let session = SessionNow {
                id: *id,
                owner: (*owner).into(),
                agent: "client".into(),
                address: "192.0.2.1:1".parse().unwrap(),
                age_seconds: 0.0,
                streams: 0,
                tunnels: 0,
                round_trip_seconds: None,
            };
            (*id, session)
        };
        Look {
            tunnels: tunnels.iter().map(tunnel).collect(),
            sessions: sessions.iter().map(session).collect(),
        }
    }

    fn told(tick: &Tick, audience: &Audience) -> serde_json::Value {
        let told = tick.for_audience(audience).expect("something");
        serde_json::from_slice(&told).unwrap()
    }

    #[test]
    fn what_is_different_is_told_and_to_those_alone_whose_it_is() {
        let before = look(&[("app", "ann", true, 3), ("db", "bob", true, 1)], &[(1, "ann")]);
        let now = look(&[("app", "ann", false, 5), ("new", "ann", true, 0)], &[(2, "bob")]);
        let tick = now.since(&before, 7);
        let ann = told(&tick, &Audience::Owner("ann".into()));
        let kinds = |told: &serde_json::Value| -> Vec<String> {
            let events = told["events"].as_array().unwrap().iter();
            events.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(kinds(&ann), ["session_left", "tunnel_waiting", "tunnel_opened", "tunnel_live"]);
        assert_eq!(ann["figures"]["ann.app"]["requests"], 5);
        assert_eq!(
            ann["sums"],
            serde_json::json!({
                "sessions": 0, "tunnels": 1, "in_flight": 0, "requests": 5, "errors": 0,
                "bytes_in": 0, "bytes_out": 0,
            })
        );
        assert!(!ann.to_string().contains("bob"), "{ann}");
        let bob = told(&tick, &Audience::Owner("bob".into()));
        assert_eq!(kinds(&bob), ["session_joined", "tunnel_closed"]);
        let all = told(&tick, &Audience::All);
        assert_eq!((kinds(&all).len(), all["number"].as_u64()), (6, Some(7)));
        assert!(tick.for_audience(&Audience::Owner("eve".into())).is_none());
    }

    #[test]
    fn where_nothing_happens_nothing_is_told() {
        let before = look(&[("app", "ann", true, 3)], &[(1, "ann")]);
        assert!(before.since(&before, 1).for_audience(&Audience::All).is_none());
    }
}
