//! Networks as people write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// The most networks of one list: each is looked at for each connection.
pub const MAX_NETWORKS: usize = 64;

/// The bits before the IPv4 address in an IPv6 address that stands for one.
const MAPPED: u8 = 96;

/// Networks, written with commas between them: `10.0.0.0/8,2001:db8::/32`. An address alone is a
/// network of one. None by default; but whoever writes a list and leaves it empty, as with a variable
/// that is not set, hardly means that everybody may come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<IpNet>")]
pub struct Networks(Box<[IpNet]>);

/// The text is no list of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadNetworks(String);

impl Networks {
    /// The networks of all `lists` as one.
    pub fn joined(lists: impl IntoIterator<Item = Self>) -> Self {
        Self(lists.into_iter().flat_map(|list| list.0).collect())
    }

    /// Whether the address is in one of them. An IPv6 address that stands for one of IPv4 is that.
    pub fn contain(&self, ip: IpAddr) -> bool {
        !self.0.is_empty() && {
            let ip = ip.to_canonical();
            self.0.iter().any(|network| network.contains(&ip))
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<Vec<IpNet>> for Networks {
    fn from(networks: Vec<IpNet>) -> Self {
        Self(networks.into_iter().map(canonical).collect())
    }
}

impl FromStr for Networks {
    type Err = BadNetworks;

    fn from_str(text: &str) -> Result<Self, BadNetworks> {
        if text.trim().is_empty() {
            return Err(BadNetworks(String::new()));
        }
        let network = |text: &str| {
            let text = text.trim();
            let alone = || text.parse::<IpAddr>().map(IpNet::from).ok();
            let network = text.parse().ok().or_else(alone);
            network.map(canonical).ok_or_else(|| BadNetworks(text.to_owned()))
        };
        text.split(',').map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// The network without the bits of a host, and that of IPv4 if it stands for one.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(ip) = v6.addr().to_ipv4_mapped()
        && let Some(length) = v6.prefix_len().checked_sub(MAPPED)
        && let Ok(v4) = Ipv4Net::new(ip, length)
    {
        return IpNet::V4(v4.trunc());
    }
    network.trunc()
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

impl fmt::Display for BadNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("an empty list: leave it out where there is no limit");
        }
        let longest = self.0.split_once('/').and_then(|(ip, _)| ip.parse::<IpAddr>().ok());
        match longest.map(IpNet::from) {
            Some(alone) => write!(
                f,
                "'{}' is no network: its length is a number from 0 to {}",
                self.0,
                alone.max_prefix_len()
            ),
            None => write!(
                f,
                "'{}' is no network: use an address, or one with a length as in 10.0.0.0/8",
                self.0
            ),
        }
    }
}

impl std::error::Error for BadNetworks {}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Networks {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_shown_without_what_does_not_count() {
        for (written, shown) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("127.0.0.1, ::1", "127.0.0.1/32,::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("0.0.0.0/0,::/0", "0.0.0.0/0,::/0"),
        ] {
            assert_eq!(networks(written).to_string(), shown, "{written}");
        }
        for bad in ["10.0.0.0/33", "localhost", "10.0.0.0/8,", "a", "10.0.0.0/-1", "", " ", ","] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_network_is_said() {
        for (bad, says) in [
            ("10.0.0.0/33", "'10.0.0.0/33' is no network: its length is a number from 0 to 32"),
            ("::/129", "'::/129' is no network: its length is a number from 0 to 128"),
            (" ", "an empty list: leave it out where there is no limit"),
            ("a/8", "'a/8' is no network: use an address, or one with a length as in 10.0.0.0/8"),
        ] {
            assert_eq!(bad.parse::<Networks>().unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn an_address_is_found_however_it_is_written() {
        let some = networks("10.0.0.0/8,2001:db8::/32");
        for inside in ["10.255.0.1", "::ffff:10.0.0.1", "2001:db8:1::1"] {
            assert!(some.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "::ffff:11.0.0.1", "2001:db9::1", "::10.0.0.1"] {
            assert!(!some.contain(outside.parse().unwrap()), "{outside}");
        }
        assert!(!Networks::default().contain("10.0.0.1".parse().unwrap()));
    }
}
