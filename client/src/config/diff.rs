//! From one configuration to another, while the client runs.

use std::collections::HashMap;
use std::fmt;

use shared::kit::args;
use shared::kit::settings::{Change, Row, changes};
use shared::token::Secret;

use super::{Config, Settings};
use crate::tunnel::TunnelConfig;

/// The settings that only a restart changes.
const NEEDS_RESTART: [&str; 2] = ["server", "connections"];

/// What a client does when its configuration is to become another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// The configuration from then on: as wished, except for what needs a restart.
    pub config: Config,
    /// The tunnels to close, as they are. Closed first: one that is opened may want its port.
    pub close: Vec<TunnelConfig>,
    /// The tunnels to open.
    pub open: Vec<TunnelConfig>,
    /// The tunnels that stay open and lead elsewhere, or have other options.
    pub update: Vec<Update>,
    /// The settings that become different.
    pub changed: Vec<Change>,
    /// The settings that stay as they are until a restart.
    pub needs_restart: Vec<Change>,
}

/// A tunnel that stays open and changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// As it is.
    pub from: TunnelConfig,
    /// As it becomes.
    pub to: TunnelConfig,
}

impl Settings {
    /// Every setting with its key, in the order of the documentation. The tunnels are not among
    /// them.
    pub fn rows(&self) -> Vec<Row> {
        // All are named, so that a new one is not forgotten.
        let Self {
            server,
            tls,
            token,
            insecure,
            tunnels: _,
            connections,
            reconnect,
            grace,
            connect_timeout,
            stall_timeout,
            half_closed_timeout,
        } = self;
        let time = |key, time: &_| Row::new(key, args::time(*time));
        let scheme = if tls.in_server { "tls://" } else { "" };
        let mut rows = vec![Row::new("server", format_args!("{scheme}{server}"))];
        rows.extend(tls.rows());
        rows.extend([
            Row::secret("token", token.as_ref().map(Secret::fingerprint)),
            Row::new("insecure", insecure),
            Row::new("connections", connections),
            Row::new("reconnect", reconnect),
            time("grace", grace),
            time("connect-timeout", connect_timeout),
            time("stall-timeout", stall_timeout),
            time("half-closed-timeout", half_closed_timeout),
        ]);
        rows
    }
}

impl Config {
    /// What is different in `wished`.
    pub fn diff(&self, wished: &Self) -> Diff {
        let all = changes(self.rows(), wished.rows());
        // With TLS or without is another way to the relay, and all that belongs to it.
        let other_way = self.tls.is_on() != wished.tls.is_on();
        let (needs_restart, changed) = all.into_iter().partition(|change| {
            NEEDS_RESTART.contains(&change.key) || other_way && change.key.starts_with("tls")
        });
        let tls = if other_way { &self.tls } else { &wished.tls };
        let config = Self(Settings {
            server: self.server.clone(),
            tls: tls.clone(),
            connections: self.connections,
            ..wished.0.clone()
        });
        let mut diff = Diff {
            config,
            close: Vec::new(),
            open: Vec::new(),
            update: Vec::new(),
            changed,
            needs_restart,
        };
        let mut before: HashMap<_, _> =
            self.tunnels.iter().map(|tunnel| (&tunnel.name, tunnel)).collect();
        for to in &wished.tunnels {
            match before.remove(&to.name) {
                None => diff.open.push(to.clone()),
                Some(from) if from == to => (),
                Some(from) if !to.has_entrances_of(from) => {
                    diff.close.push(from.clone());
                    diff.open.push(to.clone());
                }
                Some(from) => diff.update.push(Update { from: from.clone(), to: to.clone() }),
            }
        }
        let gone = self.tunnels.iter().filter(|tunnel| before.contains_key(&tunnel.name));
        diff.close.extend(gone.cloned());
        diff
    }
}

impl Diff {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        let tunnels = self.close.is_empty() && self.open.is_empty() && self.update.is_empty();
        tunnels && self.changed.is_empty() && self.needs_restart.is_empty()
    }
}

impl Diff {
    /// What is applied at once, in words: `-` for a tunnel that is closed, `+` for one that is
    /// opened, `~` for what changes.
    pub fn applied(&self) -> impl Iterator<Item = String> {
        let close = self.close.iter().map(|tunnel| format!("- {tunnel}"));
        let open = self.open.iter().map(|tunnel| format!("+ {tunnel}"));
        let update = self.update.iter().map(|Update { from, to }| format!("~ {from} -> {to}"));
        close.chain(open).chain(update).chain(self.changed.iter().map(ToString::to_string))
    }
}

/// A line for each difference, each with its end.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.applied() {
            writeln!(f, "{line}")?;
        }
        for change in &self.needs_restart {
            writeln!(f, "{change} (needs a restart)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn config(tunnels: &[String]) -> Config {
        let tunnels = tunnels.iter().map(|tunnel| tunnel.parse().unwrap()).collect();
        Config::new(Settings::loopback(([127, 0, 0, 1], 4444).into(), tunnels)).unwrap()
    }

    fn shown(old: &[&str], new: &[&str]) -> String {
        let config =
            |texts: &[&str]| config(&texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>());
        config(old).diff(&config(new)).to_string()
    }

    #[test]
    fn only_what_differs_is_named() {
        let old = ["a=1", "b=2?port=20001", "c=3", "d=4", "e=5?port=20002"];
        let new = ["a=1", "b=2?port=20003", "c=33", "e=5", "f=6?port=20001"];
        let expected = "- b=127.0.0.1:2?port=20001\n- e=127.0.0.1:5?port=20002\n- d=127.0.0.1:4\n\
                        + b=127.0.0.1:2?port=20003\n+ e=127.0.0.1:5\n+ f=127.0.0.1:6?port=20001\n\
                        ~ c=127.0.0.1:3 -> c=127.0.0.1:33\n";
        assert_eq!(shown(&old, &new), expected);
        assert_eq!(shown(&old, &old), "");
        assert_eq!(
            shown(&["a=1"], &["a=1?check=tcp"]),
            "~ a=127.0.0.1:1 -> a=127.0.0.1:1?check=tcp\n"
        );
    }

    #[test]
    fn what_needs_a_restart_is_named_and_stays_as_it_is() {
        let old = config(&["a=1".to_owned()]);
        let mut wished = Settings::clone(&old);
        wished.connections = 4;
        wished.server.port = 5555;
        wished.grace = std::time::Duration::from_secs(60);
        let diff = old.diff(&Config::new(wished).unwrap());
        let expected = "~ grace: 5s -> 1m\n\
                        ~ server: 127.0.0.1:4444 -> 127.0.0.1:5555 (needs a restart)\n\
                        ~ connections: 1 -> 4 (needs a restart)\n";
        assert_eq!(diff.to_string(), expected);
        assert_eq!((diff.config.connections, diff.config.server.port), (1, 4444));
        assert_eq!(diff.config.grace.as_secs(), 60);
    }

    fn tunnels() -> impl Strategy<Value = Config> {
        let tunnel = (0..8_u8, 1..4_u16, prop::option::of(1..4_u16), any::<bool>());
        prop::collection::vec(tunnel, 1..10).prop_map(|tunnels| {
            let mut named = BTreeMap::new();
            for (name, local, port, check) in tunnels {
                // No two of a configuration have the same.
                let port = port.map(|port| 10 * port + u16::from(name));
                let port = port.map_or_else(String::new, |port| format!("port={port}&"));
                let check = if check { "check=tcp" } else { "check=http://a/" };
                named.insert(name, format!("t{name}={local}?{port}{check}"));
            }
            config(&named.into_values().collect::<Vec<_>>())
        })
    }

    proptest! {
        #[test]
        fn a_difference_leads_from_one_to_the_other_and_touches_nothing_else(
            old in tunnels(), new in tunnels()
        ) {
            let diff = old.diff(&new);
            prop_assert_eq!(&diff.config, &new);
            prop_assert_eq!(diff.is_empty(), old == new);
            let mut running: BTreeMap<_, _> =
                old.tunnels.iter().map(|tunnel| (tunnel.name.to_string(), tunnel)).collect();
            for tunnel in &diff.close {
                prop_assert_eq!(running.remove(tunnel.name.as_str()), Some(tunnel));
            }
            for Update { from, to } in &diff.update {
                prop_assert_ne!(from, to);
                prop_assert_eq!(running.insert(to.name.to_string(), to), Some(from));
            }
            for tunnel in &diff.open {
                prop_assert_eq!(running.insert(tunnel.name.to_string(), tunnel), None);
            }
            let wished: BTreeMap<_, _> =
                new.tunnels.iter().map(|tunnel| (tunnel.name.to_string(), tunnel)).collect();
            prop_assert_eq!(running, wished);
        }
    }
}
