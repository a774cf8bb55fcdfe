//! Dialling a name that may have several addresses, of which some may be dead (RFC 8305).
//!
//! An address that swallows packets answers nothing, and a name can have one in front: its IPv6
//! address behind a router that only pretends, a host of several that is down. So the addresses
//! are not tried one after the other until each has failed. The next one joins in after a moment,
//! the first that connects wins, and it is the first to be tried the next time.
//!
//! A literal address, or a name with one, is simply connected to.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::lookup::look_up;
use super::options::{Peers, set_options};

/// An address that has not answered by then gets company. RFC 8305 recommends it: longer than a
/// round trip over most lines, and short enough for whoever waits.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The most addresses of a name that are tried: the last of them starts within four seconds,
/// before the deadlines of those who dial.
const MOST_ADDRESSES: usize = 16;

/// The most names whose last address is remembered: more than the local services and probes of all
/// tunnels that a client can have.
const MOST_REMEMBERED: usize = 16 * 1024;

/// The address that worked last, of each name that has several.
static WORKED: Mutex<BTreeMap<(String, u16), SocketAddr>> = Mutex::new(BTreeMap::new());

/// Connects a client to a relay. Callers set a deadline.
///
/// # Cancel safety
///
/// Cancel safe: what has been begun is closed.
///
/// # Errors
///
/// Whatever the system says to resolving, or to connecting to the address of its first choice.
pub async fn dial_relay(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = dial(host, port).await?;
    set_options(&SockRef::from(&stream), Peers::Clients)?;
    Ok(stream)
}

/// Connects to a local service. Callers set a deadline.
///
/// # Cancel safety
///
/// Cancel safe: what has been begun is closed.
///
/// # Errors
///
/// Whatever the system says to resolving, or to connecting to the address of its first choice.
pub async fn dial_service(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = dial(host, port).await?;
    if stream.peer_addr()?.ip().is_loopback() {
        // No network between us that could lose the service without a word.
        stream.set_nodelay(true)?;
    } else {
        set_options(&SockRef::from(&stream), Peers::Visitors)?;
    }
    Ok(stream)
}

/// Connects to a server of somebody else's, far away. Callers set a deadline.
///
/// # Cancel safety
///
/// Cancel safe: what has been begun is closed.
///
/// # Errors
///
/// Whatever the system says to resolving, or to connecting to the address of its first choice.
pub async fn dial_server(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = dial(host, port).await?;
    set_options(&SockRef::from(&stream), Peers::Visitors)?;
    Ok(stream)
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return TcpStream::connect((ip, port)).await;
    }
    let found = look_up(host, port).await?;
    if let [only] = found[..] {
        return TcpStream::connect(only).await;
    }
    let name = (host.to_owned(), port);
    let worked = WORKED.lock().get(&name).copied();
    let stream = connect_any(&in_order(found, worked)).await?;
    let works = stream.peer_addr()?;
    if worked != Some(works) {
        remember(name, works);
    }
    Ok(stream)
}

fn remember(name: (String, u16), works: SocketAddr) {
    let mut worked = WORKED.lock();
    if worked.len() >= MOST_REMEMBERED {
        worked.pop_first();
    }
    worked.insert(name, works);
}

/// The addresses in the order of the attempts: first the one that worked, then those of the two
/// families in turn, each as the resolver has sorted them.
fn in_order(found: Vec<SocketAddr>, worked: Option<SocketAddr>) -> Vec<SocketAddr> {
    let worked = worked.filter(|worked| found.contains(worked));
    let first_family = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = found
        .into_iter()
        .filter(|addr| Some(*addr) != worked)
        .partition(|addr| addr.is_ipv6() == first_family);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let in_turn = std::iter::from_fn(|| {
        let pair = [first.next(), second.next()];
        (pair != [None, None]).then_some(pair)
    });
    worked.into_iter().chain(in_turn.flatten().flatten()).take(MOST_ADDRESSES).collect()
}

/// Connects to whichever address answers first. Each gets a head start over the next. If none does,
/// the first one tells why: the others may be of a kind that this host cannot use at all.
async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().enumerate();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None::<(usize, io::Error)>;
    loop {
        if let Some((at, addr)) = waiting.next() {
            attempts.push(async move { (at, TcpStream::connect(*addr).await) });
        }
        let next = attempts.next();
        let ended = match waiting.len() {
            0 => next.await,
            // Neither a success nor a failure by then: one more joins in.
            _ => match timeout(ATTEMPT_DELAY, next).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
        };
        match ended {
            Some((_, Ok(stream))) => return Ok(stream),
            Some((at, Err(err))) => {
                if failure.as_ref().is_none_or(|(first, _)| at < *first) {
                    failure = Some((at, err));
                }
            }
            None => {
                let failure = failure.map(|(_, err)| err);
                return Err(failure.unwrap_or_else(|| io::Error::other("it has no address")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// Time for everything that should happen at once.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A listener whose queue is full: it answers no connection, and refuses none.
    fn black_hole() -> (SocketAddr, Vec<Socket>) {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut held = vec![listener];
        for _ in 0..4 {
            let queued = socket();
            queued.set_nonblocking(true).unwrap();
            drop(queued.connect(&addr));
            held.push(queued);
        }
        (addr.as_socket().unwrap(), held)
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    #[tokio::test]
    async fn an_address_that_swallows_connections_holds_nobody_up() {
        let (dead, _held) = black_hole();
        let alive = listener().await;
        let alive = alive.local_addr().unwrap();
        let connected = timeout(PATIENCE, connect_any(&[dead, dead, alive])).await;
        assert_eq!(connected.unwrap().unwrap().peer_addr().unwrap(), alive);
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_way_and_the_first_choice_tells_why_none_answers() {
        let refuses = listener().await.local_addr().unwrap();
        let alive = listener().await;
        connect_any(&[refuses, refuses, refuses, alive.local_addr().unwrap()]).await.unwrap();
        // Nothing connects there.
        let broadcast = SocketAddr::from(([255, 255, 255, 255], 1));
        for addresses in [[refuses, broadcast], [broadcast, refuses]] {
            let err = connect_any(&addresses).await.unwrap_err();
            let is_refused = err.kind() == io::ErrorKind::ConnectionRefused;
            assert_eq!(is_refused, addresses[0] == refuses, "{err}");
        }
        assert!(connect_any(&[]).await.is_err());
    }

    #[test]
    fn families_take_turns_and_what_worked_comes_first() {
        let four = |n: u8| SocketAddr::from(([10, 0, 0, n], 1));
        let six = |n: u16| SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, n], 1));
        let found = vec![six(1), six(2), six(3), four(1), four(2)];
        let in_turn = [six(1), four(1), six(2), four(2), six(3)];
        assert_eq!(in_order(found.clone(), None), in_turn);
        assert_eq!(in_order(found.clone(), Some(four(9))), in_turn, "it is gone");
        let worked = in_order(found, Some(four(2)));
        assert_eq!(worked, [four(2), six(1), four(1), six(2), six(3)]);
        assert_eq!(in_order((1..=40).map(four).collect(), None).len(), MOST_ADDRESSES);
    }
}
