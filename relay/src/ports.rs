//! Which public port a tunnel gets. Pure: binding it is the edge's.

use shared::control::protocol::{Refusal, RefusalCode, TunnelName};

use crate::access::{Owner, Rights};
use crate::config::PortRange;

/// What a client says about the port of a new tunnel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// The port that it must be.
    pub(crate) exactly: Option<u16>,
    /// The port that it had before.
    pub(crate) before: Option<u16>,
}

/// The ports to try for a new tunnel, in order: the one that it had, then one that follows from its
/// name, then those behind. Zero stands for the kernel's choice.
///
/// Since the port follows from the name, visitors of a tunnel do not land on another one when
/// clients come back to a restarted relay in another order, unless two names fall on one port.
///
/// # Errors
///
/// The client insists on a port that the relay does not give out.
pub(crate) fn candidates(
    range: PortRange,
    rights: &Rights,
    owner: &Owner,
    name: &TunnelName,
    wish: Wish,
) -> Result<Box<dyn Iterator<Item = u16> + Send>, Refusal> {
    if let Some(port) = wish.exactly {
        if !range.allows(port) {
            let given = match range {
                PortRange::ANY => "from 1024 on".to_owned(),
                range => format!("of {range}"),
            };
            let message =
                format!("the relay does not give out port {port}: ask for one {given} or for none");
            return Err(Refusal::new(RefusalCode::PortNotAllowed, message));
        }
        rights.check_port(port)?;
        return Ok(Box::new(std::iter::once(port)));
    }
    let allowed: Vec<u16> = match rights.ports().next() {
        // The kernel's choice would be none of these.
        Some(ports) if range == PortRange::ANY => {
            ports.iter().filter(|port| range.allows(*port) && rights.may_have(*port)).collect()
        }
        _ => range.iter().filter(|port| *port == 0 || rights.may_have(*port)).collect(),
    };
    let before = wish.before.filter(|port| range.allows(*port) && rights.may_have(*port));
    let start = (place(owner, name) % allowed.len().max(1) as u64) as usize;
    let others = (0..allowed.len()).map(move |i| allowed[(start + i) % allowed.len()]);
    Ok(Box::new(before.into_iter().chain(others.filter(move |port| Some(*port) != before))))
}

/// A number that depends on nothing but the name and its owner, the same on every relay and in
/// every version: 64 bits of FNV-1a.
fn place(owner: &Owner, name: &TunnelName) -> u64 {
    let text = match owner {
        // As it has always been. It says where to begin, so a user may be called the same.
        Owner::Anybody => format!("anybody/{name}"),
        owner => format!("{owner}/{name}"),
    };
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(range: &str, name: &str, wish: Wish) -> Vec<u16> {
        let (range, name) = (range.parse().unwrap(), name.parse().unwrap());
        candidates(range, &Rights::unlimited(), &Owner::Anybody, &name, wish).unwrap().collect()
    }

    #[test]
    fn every_port_of_the_range_is_tried_once_beginning_where_the_name_says() {
        let mut web = ports("20000-20999", "web", Wish::default());
        let mut db = ports("20000-20999", "db", Wish::default());
        assert_eq!(web, ports("20000-20999", "web", Wish::default()));
        assert_ne!(web[0], db[0]);
        web.sort_unstable();
        db.sort_unstable();
        assert_eq!(web, (20000..=20999).collect::<Vec<_>>());
        assert_eq!(web, db);
    }

    #[test]
    fn the_port_of_a_name_is_the_same_in_every_version() {
        assert_eq!(ports("20000-20999", "web", Wish::default())[0], 20136);
        assert_eq!(ports("20000-20999", "ssh", Wish::default())[0], 20188);
    }

    #[test]
    fn the_port_before_comes_first_and_an_exact_one_stands_alone() {
        let before = Wish { before: Some(20005), ..Wish::default() };
        let tried = ports("20000-20009", "web", before);
        assert_eq!((tried[0], tried.len()), (20005, 10));
        let elsewhere = Wish { before: Some(30000), ..Wish::default() };
        assert!(!ports("20000-20009", "web", elsewhere).contains(&30000));
        let exactly = Wish { exactly: Some(20007), ..Wish::default() };
        assert_eq!(ports("20000-20009", "web", exactly), [20007]);
        assert_eq!(ports("0", "web", Wish::default()), [0]);

        let name = "web".parse().unwrap();
        let outside = Wish { exactly: Some(22), ..Wish::default() };
        let refused =
            candidates("0".parse().unwrap(), &Rights::unlimited(), &Owner::Anybody, &name, outside)
                .err();
        assert_eq!(refused.unwrap().code, RefusalCode::PortNotAllowed);
    }
}
