//! Addresses as people write them, and sockets with the options that this product needs.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// How many connections the kernel holds for an accept loop that is busy. More than the usual 128:
/// a burst of a thousand visitors is ordinary. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Bytes that the kernel takes from us beyond what the network can carry. What is in the kernel
/// cannot be overtaken any more: this bounds how long a small request waits behind bulk, and what
/// a stalled reader holds.
pub(crate) const NOT_SENT_LOW_WATER: u32 = 128 * 1024;

/// A silent connection is probed after this long, so that a peer that vanished is noticed.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);

/// Time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// On a control connection, data that is not acknowledged for this long ends it (RFC 5482).
const CONTROL_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// `PORT` or `HOST:PORT`, as a flag takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The host as written: a name or an address, IPv6 without brackets. `None`: only a port.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
}

/// The text is neither `PORT` nor `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHostPort(String);

impl FromStr for HostPort {
    type Err = BadHostPort;

    fn from_str(text: &str) -> Result<Self, BadHostPort> {
        let bad = || BadHostPort(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            None => (None, text),
            Some((host, port)) => (Some(host), port),
        };
        // `u16` would also take `+80`.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let port = port.parse().map_err(|_| bad())?;
        let host = match host {
            None => None,
            Some(host) => Some(parse_host(host).ok_or_else(bad)?),
        };
        Ok(Self { host, port })
    }
}

/// A host name or address, IPv6 in brackets.
fn parse_host(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!text.is_empty() && text.chars().all(allowed)).then(|| text.to_owned())
}

impl HostPort {
    /// The address with `host` in the place of a missing one, ready to be resolved.
    pub fn or_host<'a>(&'a self, host: &'a str) -> (&'a str, u16) {
        (self.host.as_deref().unwrap_or(host), self.port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, "{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Display for BadHostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is neither PORT (0 to 65535) nor HOST:PORT", self.0)
    }
}

impl std::error::Error for BadHostPort {}

/// Who connects to a listener, which decides the options of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Clients: connections that carry sessions.
    Clients,
    /// Visitors, or whoever asks the admin port.
    Visitors,
}

/// Listens on `host` and `port`; without a host, on every interface, IPv6 and IPv4. Port 0 lets
/// the kernel choose.
///
/// The options are set on the listener, from which Linux copies them to every connection: they
/// cost nothing for each.
///
/// # Errors
///
/// Whatever the system says to resolving, binding or listening.
pub async fn listen(addr: &HostPort, peers: Peers) -> io::Result<TcpListener> {
    let Some(host) = &addr.host else {
        return listen_everywhere(addr.port, peers);
    };
    let mut last = None;
    for addr in tokio::net::lookup_host((host.as_str(), addr.port)).await? {
        match listen_on(addr, peers) {
            Ok(listener) => return Ok(listener),
            Err(err) => last = Some(err),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other(format!("{host} has no address"))))
}

/// Listens on an address of this machine. See [`listen`].
///
/// # Errors
///
/// Whatever the system says to binding or listening.
pub fn listen_on(addr: SocketAddr, peers: Peers) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // After a restart, connections of the last run must not keep the port.
    socket.set_reuse_address(true)?;
    set_options(&socket, peers)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn listen_everywhere(port: u16, peers: Peers) -> io::Result<TcpListener> {
    match listen_on((Ipv6Addr::UNSPECIFIED, port).into(), peers) {
        // A kernel without IPv6.
        Err(err) if err.raw_os_error() == Some(EAFNOSUPPORT) => {
            listen_on((Ipv4Addr::UNSPECIFIED, port).into(), peers)
        }
        result => result,
    }
}

/// Linux's number for "address family not supported".
const EAFNOSUPPORT: i32 = 97;

/// Connects a client to a relay: all addresses of the name in turn. Callers set a deadline.
///
/// # Errors
///
/// Whatever the system says to resolving or connecting.
pub async fn dial_relay(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    set_options(&SockRef::from(&stream), Peers::Clients)?;
    Ok(stream)
}

/// Connects to a local service. Callers set a deadline.
///
/// # Errors
///
/// Whatever the system says to resolving or connecting.
pub async fn dial_service(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    if stream.peer_addr()?.ip().is_loopback() {
        // No network between us that could lose the service without a word.
        stream.set_nodelay(true)?;
    } else {
        set_options(&SockRef::from(&stream), Peers::Visitors)?;
    }
    Ok(stream)
}

fn set_options(socket: &Socket, peers: Peers) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    if peers == Peers::Clients {
        socket.set_tcp_user_timeout(Some(CONTROL_USER_TIMEOUT))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_port_or_a_host_and_a_port() {
        let parse = |text: &str| text.parse::<HostPort>();
        let good = [
            ("4444", None, 4444),
            ("relay.example:4444", Some("relay.example"), 4444),
            ("10.0.0.5:80", Some("10.0.0.5"), 80),
            ("[::1]:80", Some("::1"), 80),
        ];
        for (text, host, port) in good {
            let addr = parse(text).unwrap();
            assert_eq!((addr.host.as_deref(), addr.port), (host, port), "{text}");
            assert_eq!(addr.to_string(), text);
        }
        for bad in
            ["", ":80", "a:", "a:b", "+80", "65536", "::1:80", "[::1]", "a b:80", "http://a:1"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_bare_port_listens_on_ipv4_and_ipv6() {
        let everywhere = HostPort { host: None, port: 0 };
        let listener = listen(&everywhere, Peers::Visitors).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
    }
}
