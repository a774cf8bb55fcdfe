//! Listening.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::HostPort;
use super::errors::is_family_missing;
use super::options::{Peers, set_options, share_with_the_past};

/// How many connections the kernel holds for an accept loop that is busy. More than the usual 128:
/// a burst of a thousand visitors is ordinary. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Listens on `host` and `port`; without a host, on every interface, IPv6 and IPv4. Port 0 lets
/// the kernel choose.
///
/// The options are set on the listener, from which the system copies them to every connection:
/// they cost nothing for each.
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
    share_with_the_past(&socket)?;
    set_options(&socket, peers)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn listen_everywhere(port: u16, peers: Peers) -> io::Result<TcpListener> {
    match listen_on((Ipv6Addr::UNSPECIFIED, port).into(), peers) {
        Err(err) if is_family_missing(&err) => {
            listen_on((Ipv4Addr::UNSPECIFIED, port).into(), peers)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

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
