//! A grant as the command line has it.

use std::time::{Duration, SystemTime};

use clap::Args;

use super::{Grant, HostPattern, NamePattern, Ports, Scope};
use crate::kit::amounts::{Bandwidth, Quota};
use crate::kit::args;
use crate::kit::net::Networks;

/// What a token is to be limited to. What is left out is not limited.
#[derive(Clone, Debug, Args)]
pub struct GrantArgs {
    /// A name of its tunnels, in which * stands for any characters; may be repeated
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    tunnel: Vec<NamePattern>,

    /// Its public ports, such as 9000-9010 or 443,9000-9010
    #[arg(long, value_name = "PORTS")]
    ports: Option<Ports>,

    /// A name of its hosts, such as *.example.com; may be repeated
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    hosts: Vec<HostPattern>,

    /// The most tunnels that it has at a time; one with several ports counts as so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tunnels: Option<u32>,

    /// The most visitors that its tunnels have at a time, together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_visitors: Option<u32>,

    /// What its tunnels move, together, in each direction, such as 10mbit
    #[arg(long, value_name = "RATE")]
    rate: Option<Bandwidth>,

    /// What its tunnels move in a day or a month, together, such as 100GB/month
    #[arg(long, value_name = "QUOTA")]
    quota: Option<Quota>,

    /// How long it is good, such as 2h or 30d
    #[arg(long, value_name = "TIME", value_parser = args::positive_duration)]
    expires: Option<Duration>,

    /// A network that visitors may come from, such as 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "CIDR")]
    allow: Vec<Networks>,

    /// What it is good for at the API of the relay: `own` for what is its user's, `admin` for
    /// everything, `metrics` for those alone; may be repeated [default: nothing]
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', hide_possible_values = true)]
    scope: Vec<Scope>,
}

impl GrantArgs {
    /// The grant that begins now.
    pub fn into_grant(self, now: SystemTime) -> Grant {
        let ends = |time| now.checked_add(time)?.duration_since(SystemTime::UNIX_EPOCH).ok();
        Grant {
            tunnels: self.tunnel,
            ports: self.ports,
            hosts: self.hosts,
            max_tunnels: self.max_tunnels,
            max_visitors: self.max_visitors,
            rate: self.rate,
            quota: self.quota,
            expires: self.expires.and_then(ends).map(|end| end.as_secs()),
            allow: Networks::joined(self.allow),
            scopes: self.scope,
        }
    }
}
