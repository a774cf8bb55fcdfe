//! The limits that an operator sets.

use shared::kit::amounts::{Bandwidth, Frequency};
use shared::kit::settings::Row;

/// How much of everything there may be. What is not there is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitRules {
    /// Visitors of all tunnels at a time. Without it as many as there are descriptors for.
    pub max_visitors_in_all: Option<u32>,
    /// Visitors from one source at a time. Without it half of all.
    pub max_visitors_per_source: Option<u32>,
    /// Visitors of all tunnels of an owner at a time.
    pub max_visitors_per_owner: Option<u32>,
    /// How often visitors may come from one source.
    pub new_visitors_per_source: Option<Frequency>,
    /// How often visitors may come to one tunnel.
    pub new_visitors_per_tunnel: Option<Frequency>,
    /// What a tunnel moves in each direction.
    pub rate_per_tunnel: Option<Bandwidth>,
    /// What all tunnels of an owner move in each direction.
    pub rate_per_owner: Option<Bandwidth>,
    /// Sessions of an owner at a time. Without it half of all.
    pub max_sessions_per_owner: Option<u32>,
    /// Tunnels of a session at a time.
    pub max_tunnels_per_session: Option<u32>,
    /// Ports that are kept for an owner whose clients have gone.
    pub max_held_ports_per_owner: Option<u32>,
    /// Ports that are kept for clients that have shown nothing and come from one source.
    pub max_held_ports_per_source: Option<u32>,
    /// Clients that have not been let in yet, at a time. Without it 1,024.
    pub max_handshakes: Option<u32>,
    /// After so many failed handshakes a source has to wait, longer with each further one.
    pub penalise_after: Option<u32>,
}

impl LimitRules {
    /// Every limit with its key, in the order of the documentation.
    pub(crate) fn rows(&self) -> Vec<Row> {
        // All are named, so that a new one is not forgotten.
        let Self {
            max_visitors_in_all,
            max_visitors_per_source,
            max_visitors_per_owner,
            new_visitors_per_source,
            new_visitors_per_tunnel,
            rate_per_tunnel,
            rate_per_owner,
            max_sessions_per_owner,
            max_tunnels_per_session,
            max_held_ports_per_owner,
            max_held_ports_per_source,
            max_handshakes,
            penalise_after,
        } = self;
        vec![
            row("max-visitors-in-all", max_visitors_in_all.as_ref()),
            row("max-visitors-per-source", max_visitors_per_source.as_ref()),
            row("max-visitors-per-owner", max_visitors_per_owner.as_ref()),
            row("new-visitors-per-source", new_visitors_per_source.as_ref()),
            row("new-visitors-per-tunnel", new_visitors_per_tunnel.as_ref()),
            row("rate-per-tunnel", rate_per_tunnel.as_ref()),
            row("rate-per-owner", rate_per_owner.as_ref()),
            row("max-sessions-per-owner", max_sessions_per_owner.as_ref()),
            row("max-tunnels-per-session", max_tunnels_per_session.as_ref()),
            row("max-held-ports-per-owner", max_held_ports_per_owner.as_ref()),
            row("max-held-ports-per-source", max_held_ports_per_source.as_ref()),
            row("max-handshakes", max_handshakes.as_ref()),
            Row::new("penalise-after", penalise_after.unwrap_or(0)),
        ]
    }
}

fn row<T: ToString>(key: &'static str, value: Option<&T>) -> Row {
    Row::optional(key, value.map(ToString::to_string).as_deref())
}
