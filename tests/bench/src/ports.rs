//! Ports: which are free, and which somebody listens at.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result, ensure};

/// An address that was free a moment ago, chosen by the kernel.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(loopback(0)).context("looking for a free port")?;
    listener.local_addr().context("asking for a free port")
}

/// That many ports in a row which were free a moment ago. The kernel gives none of them to anybody
/// who asks for any port, so that whoever listens or connects meanwhile does not take one.
pub(crate) fn free_stretch(length: usize) -> Result<Range<u16>> {
    let range = fs::read_to_string(KERNELS_RANGE).context("asking for the kernel's own ports")?;
    let first = range.split_whitespace().next().and_then(|first| first.parse().ok());
    let first = first.with_context(|| format!("no port in {KERNELS_RANGE}"))?;
    let is_free = |port| TcpListener::bind(loopback(port)).is_ok();
    stretch(LOWEST..first, length, is_free)
}

/// On how many ports of the range somebody listens.
pub(crate) fn listening(ports: &Range<u16>) -> Result<usize> {
    let table = File::open(SOCKETS).with_context(|| format!("opening {SOCKETS}"))?;
    let lines = BufReader::new(table).lines().skip(1);
    // The kernel lists listeners before connections, of which there may be very many.
    let listeners = lines.map_while(|line| listener(&line.ok()?));
    let found: HashSet<u16> = listeners.filter(|port| ports.contains(port)).collect();
    Ok(found.len())
}

/// The port of a line of `/proc/net/tcp` that is about a listener; `None` for any other line.
fn listener(line: &str) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok()).flatten()
}

/// The first stretch of that length within the range of which every port is free.
fn stretch(within: Range<u16>, length: usize, is_free: impl Fn(u16) -> bool) -> Result<Range<u16>> {
    let mut start = within.start;
    for port in within {
        if !is_free(port) {
            start = port + 1;
        } else if usize::from(port - start) + 1 == length {
            return Ok(start..port + 1);
        }
    }
    ensure!(length == 0, "no {length} free ports in a row below those that the kernel gives out");
    Ok(start..start)
}

/// A port of this machine's.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Where the kernel says from which range it gives out ports.
const KERNELS_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The sockets of IPv4, on which everything here listens.
const SOCKETS: &str = "/proc/net/tcp";

/// How the kernel writes that a socket listens.
const LISTEN: &str = "0A";

/// Below are the ports of what machines usually run.
const LOWEST: u16 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_begins_after_the_last_port_that_was_in_the_way() {
        let taken = [3, 5];
        let is_free = |port| !taken.contains(&port);
        assert_eq!(stretch(1..20, 2, is_free).unwrap(), 1..3);
        assert_eq!(stretch(1..20, 4, is_free).unwrap(), 6..10);
        stretch(1..9, 4, is_free).unwrap_err();
    }

    #[test]
    fn a_listener_is_counted_and_a_connection_is_not() {
        let line = "  9: 0100007F:4E20 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0";
        assert_eq!(listener(line), Some(20_000));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);

        let socket = TcpListener::bind(loopback(0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listening(&(port..port + 1)).unwrap(), 1);
    }
}
