//! The limits as the command line has them.

use clap::Args;
use shared::kit::amounts::{Bandwidth, Frequency};

use crate::limits::LimitRules;

/// How much of everything there may be.
#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    /// The most visitors of all tunnels at a time [default: as many as there are descriptors for]
    #[arg(long, env = "RELAY_MAX_VISITORS_IN_ALL", value_name = "N", value_parser = one_or_more())]
    max_visitors_in_all: Option<u32>,

    /// The most visitors from one source at a time: an IPv4 address, or an IPv6 network of 64 bits
    /// [default: half of what there are descriptors for]
    #[arg(long, env = "RELAY_MAX_VISITORS_PER_SOURCE", value_name = "N",
          value_parser = one_or_more())]
    max_visitors_per_source: Option<u32>,

    /// The most visitors that the tunnels of one owner have at a time, together
    #[arg(long, env = "RELAY_MAX_VISITORS_PER_OWNER", value_name = "N",
          value_parser = one_or_more())]
    max_visitors_per_owner: Option<u32>,

    /// How often visitors may come from one source, such as 50/1s
    #[arg(long, env = "RELAY_NEW_VISITORS_PER_SOURCE", value_name = "N/TIME")]
    new_visitors_per_source: Option<Frequency>,

    /// How often visitors may come to one tunnel, such as 200/1s
    #[arg(long, env = "RELAY_NEW_VISITORS_PER_TUNNEL", value_name = "N/TIME")]
    new_visitors_per_tunnel: Option<Frequency>,

    /// What a tunnel moves in each direction, such as 10mbit
    #[arg(long, env = "RELAY_RATE_PER_TUNNEL", value_name = "RATE")]
    rate_per_tunnel: Option<Bandwidth>,

    /// What the tunnels of one owner move in each direction, together
    #[arg(long, env = "RELAY_RATE_PER_OWNER", value_name = "RATE")]
    rate_per_owner: Option<Bandwidth>,

    /// The most sessions of one owner at a time [default: half of the places for clients]
    #[arg(long, env = "RELAY_MAX_SESSIONS_PER_OWNER", value_name = "N",
          value_parser = one_or_more())]
    max_sessions_per_owner: Option<u32>,

    /// The most tunnels of one session [default: 4096]
    #[arg(long, env = "RELAY_MAX_TUNNELS_PER_SESSION", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_tunnels_per_session: Option<u32>,

    /// The most ports that are kept for one owner whose clients have gone
    #[arg(long, env = "RELAY_MAX_HELD_PORTS_PER_OWNER", value_name = "N", default_value = "250")]
    max_held_ports_per_owner: u32,

    /// The most ports that are kept for clients without a token that came from one source and have
    /// gone
    #[arg(long, env = "RELAY_MAX_HELD_PORTS_PER_SOURCE", value_name = "N", default_value = "100")]
    max_held_ports_per_source: u32,

    /// The most clients at a time that have not been let in yet; a newer one takes the place of one
    /// that has been at it for longest. No more than an eighth of the descriptors
    #[arg(long, env = "RELAY_MAX_HANDSHAKES", value_name = "N", default_value = "1024",
          value_parser = one_or_more())]
    max_handshakes: u32,

    /// After so many failed handshakes in a row a source has to wait, longer with each further one;
    /// 0: never, as behind a balancer
    #[arg(long, env = "RELAY_PENALISE_AFTER", value_name = "N", default_value = "10")]
    penalise_after: u32,
}

/// A limit that lets nothing through is a mistake.
fn one_or_more() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

impl From<LimitArgs> for LimitRules {
    fn from(args: LimitArgs) -> Self {
        Self {
            max_visitors_in_all: args.max_visitors_in_all,
            max_visitors_per_source: args.max_visitors_per_source,
            max_visitors_per_owner: args.max_visitors_per_owner,
            new_visitors_per_source: args.new_visitors_per_source,
            new_visitors_per_tunnel: args.new_visitors_per_tunnel,
            rate_per_tunnel: args.rate_per_tunnel,
            rate_per_owner: args.rate_per_owner,
            max_sessions_per_owner: args.max_sessions_per_owner,
            max_tunnels_per_session: args.max_tunnels_per_session,
            max_held_ports_per_owner: Some(args.max_held_ports_per_owner),
            max_held_ports_per_source: Some(args.max_held_ports_per_source),
            max_handshakes: Some(args.max_handshakes),
            penalise_after: Some(args.penalise_after).filter(|after| *after > 0),
        }
    }
}
