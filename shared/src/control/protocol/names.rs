//! Names and numbers: of a tunnel, of a client process, and of where something is reached.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::kit::backoff::random;

/// A random number that tells one client process from all others. It is a capability to replace
/// that client's session, so it is never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(u128);

impl InstanceId {
    /// A new random id.
    pub fn random() -> Self {
        Self(u128::from(random()) << 64 | u128::from(random()))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstanceId(***)")
    }
}

impl TryFrom<String> for InstanceId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("an instance is 32 hexadecimal digits");
        }
        u128::from_str_radix(&text, 16)
            .map(Self)
            .map_err(|_| "an instance is 32 hexadecimal digits")
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        format!("{:032x}", id.0)
    }
}

/// The name of a tunnel: 1 to 63 of `a`-`z`, `0`-`9` and `-`, neither first nor last a `-`.
///
/// The rule is that of a DNS label (RFC 1035, section 2.3.1, with the digits of RFC 1123), so that
/// a name can become part of a host name. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TunnelName(Arc<str>);

/// The longest [`TunnelName`] in bytes.
pub const MAX_TUNNEL_NAME: usize = 63;

impl TunnelName {
    /// The tunnel that `--local` exposes and the relay's `--public` port leads to: `default`.
    pub fn default_tunnel() -> Self {
        Self("default".into())
    }

    /// Whether this is the tunnel `default`.
    pub fn is_default(&self) -> bool {
        &*self.0 == "default"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TunnelName {
    type Err = BadTunnelName;

    fn from_str(text: &str) -> Result<Self, BadTunnelName> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let good = (1..=MAX_TUNNEL_NAME).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if good { Ok(Self(text.into())) } else { Err(BadTunnelName) }
    }
}

impl TryFrom<String> for TunnelName {
    type Error = BadTunnelName;

    fn try_from(text: String) -> Result<Self, BadTunnelName> {
        text.parse()
    }
}

impl From<TunnelName> for String {
    fn from(name: TunnelName) -> Self {
        name.as_str().into()
    }
}

impl fmt::Display for TunnelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no [`TunnelName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTunnelName;

impl fmt::Display for BadTunnelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a tunnel's name is 1 to 63 characters of a-z, 0-9 and -, and does not begin or end with -",
        )
    }
}

impl std::error::Error for BadTunnelName {}

/// The name or address of a host, such as `relay.example`, `10.0.0.5` or `::1`, without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Box<str>);

/// The longest [`HostName`] in bytes (RFC 1035, section 2.3.4).
const MAX_HOST_NAME: usize = 253;

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = BadHostName;

    fn from_str(text: &str) -> Result<Self, BadHostName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_name = (1..=MAX_HOST_NAME).contains(&text.len()) && text.bytes().all(allowed);
        if is_name || text.parse::<Ipv6Addr>().is_ok() {
            Ok(Self(text.into()))
        } else {
            Err(BadHostName)
        }
    }
}

impl TryFrom<String> for HostName {
    type Error = BadHostName;

    fn try_from(text: String) -> Result<Self, BadHostName> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0.into()
    }
}

impl From<IpAddr> for HostName {
    fn from(ip: IpAddr) -> Self {
        Self(ip.to_string().into())
    }
}

/// As it stands in a URL: IPv6 in brackets (RFC 3986, section 3.2.2).
impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(&self.0) }
    }
}

/// The text is no [`HostName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHostName;

impl fmt::Display for BadHostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host is a name such as relay.example, or an address")
    }
}

impl std::error::Error for BadHostName {}

/// Where visitors reach a tunnel, such as `tcp://relay.example:8080`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicAddress(Box<str>);

/// The longest [`PublicAddress`] in bytes.
const MAX_PUBLIC_ADDRESS: usize = 512;

impl PublicAddress {
    /// A TCP port of `host`.
    pub fn tcp(host: &HostName, port: u16) -> Self {
        Self(format!("tcp://{host}:{port}").into())
    }

    /// A port for TLS connections to `host`.
    pub fn tls(host: &str, port: u16) -> Self {
        Self(format!("tls://{host}:{port}").into())
    }

    /// What a browser is given: `port` is left out where it is that of the scheme.
    pub fn web(tls: bool, host: &str, port: u16, path: &str) -> Self {
        let (scheme, usual) = if tls { ("https", 443) } else { ("http", 80) };
        let port = if port == usual { String::new() } else { format!(":{port}") };
        Self(format!("{scheme}://{host}{port}{path}").into())
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The port, if the address ends with one.
    pub fn port(&self) -> Option<u16> {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
    }
}

impl FromStr for PublicAddress {
    type Err = BadPublicAddress;

    fn from_str(text: &str) -> Result<Self, BadPublicAddress> {
        let good = text.len() <= MAX_PUBLIC_ADDRESS
            && text.contains("://")
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(Self(text.into())) } else { Err(BadPublicAddress) }
    }
}

impl TryFrom<String> for PublicAddress {
    type Error = BadPublicAddress;

    fn try_from(text: String) -> Result<Self, BadPublicAddress> {
        text.parse()
    }
}

impl From<PublicAddress> for String {
    fn from(address: PublicAddress) -> Self {
        address.0.into()
    }
}

impl fmt::Display for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no [`PublicAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPublicAddress;

impl fmt::Display for BadPublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public address is a URL such as tcp://relay.example:8080")
    }
}

impl std::error::Error for BadPublicAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnel_names_are_dns_labels() {
        for good in ["a", "default", "my-app-2", &"x".repeat(63)] {
            assert_eq!(good.parse::<TunnelName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "ä", &"x".repeat(64)] {
            assert_eq!(bad.parse::<TunnelName>(), Err(BadTunnelName), "{bad:?}");
        }
    }

    #[test]
    fn an_instance_survives_the_wire_and_is_never_printed() {
        let id = InstanceId::random();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<InstanceId>(&json).unwrap(), id);
        assert!(!format!("{id:?}").contains(&json[1..9]));
        assert!(
            serde_json::from_str::<InstanceId>("\"+0000000000000000000000000000001\"").is_err()
        );
    }

    #[test]
    fn a_public_address_is_a_url_and_cannot_forge_a_line() {
        let host: HostName = "2001:db8::1".parse().unwrap();
        let address = PublicAddress::tcp(&host, 8080);
        assert_eq!(address.as_str(), "tcp://[2001:db8::1]:8080");
        assert_eq!(address.port(), Some(8080));
        assert_eq!(address.as_str().parse(), Ok(address));
        for bad in
            ["", "relay:80", "tcp://a b:1", "tcp://a:1\n", &format!("tcp://{}", "x".repeat(600))]
        {
            assert_eq!(bad.parse::<PublicAddress>(), Err(BadPublicAddress), "{bad:?}");
        }
        for bad in ["", "a b", "a/b", "[::1]", &"x".repeat(254)] {
            assert_eq!(bad.parse::<HostName>(), Err(BadHostName), "{bad:?}");
        }
    }
}
