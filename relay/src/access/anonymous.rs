//! Who may come without a token.

use std::fmt;
use std::net::IpAddr;

use clap::ValueEnum;
use shared::control::protocol::Refusal;

use super::unauthorized;

/// Who may come without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Anonymous {
    /// Nobody.
    Never,
    /// Whoever comes from this machine or a private network.
    Private,
    /// Everybody.
    Any,
}

impl Anonymous {
    /// Whether somebody at `ip` may.
    pub(super) fn check(self, ip: IpAddr) -> Result<(), Refusal> {
        match self {
            Self::Any => Ok(()),
            Self::Private if is_private(ip.to_canonical()) => Ok(()),
            Self::Private => Err(unauthorized(
                "without a token the relay lets in clients of its own network only: ask its \
                 operator for a token (`relay token create`, or `relay --anonymous any` to do \
                 without)",
            )),
            Self::Never => Err(unauthorized(
                "the relay wants a token: ask its operator for one (`relay token create`), then \
                 run `client login`, or set CLIENT_TOKEN or --token-file",
            )),
        }
    }
}

/// This machine, or a network that the internet does not lead to (RFC 1918, RFC 6598 for carriers'
/// customers is none of them; RFC 3927, RFC 4193, RFC 4291 section 2.5.6).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

impl fmt::Display for Anonymous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::Private => "private",
            Self::Any => "any",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_are_addresses_that_the_internet_does_not_lead_to() {
        let may = |text: &str| Anonymous::Private.check(text.parse().unwrap()).is_ok();
        for near in
            ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.1.1", "::1", "fd00::1"]
        {
            assert!(may(near), "{near}");
        }
        for far in ["8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "0.0.0.0"] {
            assert!(!may(far), "{far}");
        }
        assert!(may("::ffff:10.0.0.1") && !may("::ffff:8.8.8.8") && may("fe80::1"));
        assert!(Anonymous::Never.check("127.0.0.1".parse().unwrap()).is_err());
        assert!(Anonymous::Any.check("8.8.8.8".parse().unwrap()).is_ok());
    }
}
