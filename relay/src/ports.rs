//! Which public port a tunnel gets. Pure: binding it is the edge's.

use std::ops::RangeInclusive;

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
    let before = wish.before.filter(|port| range.allows(*port) && rights.may_have(*port));
    let others = Spans::allowed(range, rights).beginning_at(place(owner, name));
    Ok(Box::new(before.into_iter().chain(others.filter(move |port| Some(*port) != before))))
}

/// Ports in order, each once. There are far fewer spans than ports: to name those of a token is not
/// to look at all ports of the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spans(Vec<RangeInclusive<u16>>);

impl Spans {
    /// Those that the relay gives out and that the token is for.
    fn allowed(range: PortRange, rights: &Rights) -> Self {
        let mut tokens = rights.ports().map(|ports| Self::of(ports.ranges())).peekable();
        if range == PortRange::ANY && tokens.peek().is_none() {
            return Self(vec![0..=0]);
        }
        // The kernel's choice would be none of a token's.
        tokens.fold(Self(vec![range.ports()]), |all, of_token| all.both(&of_token))
    }

    /// All ports of these ranges.
    fn of(ranges: &[RangeInclusive<u16>]) -> Self {
        let mut ranges = ranges.to_vec();
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut spans: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match spans.last_mut() {
                Some(last) if range.start() <= last.end() => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => spans.push(range),
            }
        }
        Self(spans)
    }

    /// Those that are in the others too.
    fn both(&self, others: &Self) -> Self {
        let each = |a: &RangeInclusive<u16>, b: &RangeInclusive<u16>| {
            *a.start().max(b.start())..=*a.end().min(b.end())
        };
        let pairs = self.0.iter().flat_map(|a| others.0.iter().map(move |b| each(a, b)));
        Self(pairs.filter(|span| !span.is_empty()).collect())
    }

    /// All of them, beginning at the one with this number, as often as it takes to get there.
    fn beginning_at(self, number: u64) -> impl Iterator<Item = u16> + Send {
        let total: usize = self.0.iter().map(ExactSizeIterator::len).sum();
        let mut ahead = (number % total.max(1) as u64) as usize;
        let (mut behind, mut before) = (Vec::new(), Vec::new());
        for span in self.0 {
            let len = span.len();
            match span.clone().nth(ahead) {
                Some(start) => {
                    before.extend((ahead > 0).then(|| *span.start()..=start - 1));
                    behind.push(start..=*span.end());
                }
                None => before.push(span),
            }
            ahead = ahead.saturating_sub(len);
        }
        behind.into_iter().chain(before).flatten()
    }
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
    fn a_token_is_tried_with_its_own_ports_and_no_other_is_looked_at() {
        let rights = |lists: &[&str]| {
            let grant = |ports: &&str| format!(r#"{{"ports":"{ports}"}}"#);
            Rights::of(&lists.iter().map(grant).collect::<Vec<_>>())
        };
        let allowed =
            |range: &str, lists: &[&str]| Spans::allowed(range.parse().unwrap(), &rights(lists)).0;
        assert_eq!(
            allowed("20000-60000", &["30000,80,59999-60005"]),
            [30000..=30000, 59999..=60000]
        );
        assert_eq!(allowed("0", &["2000-2002,1000-1025,2001-2004"]), [1024..=1025, 2000..=2004]);
        assert_eq!(allowed("0", &["2000-2010,3000", "2009,2002-2003"]), [2002..=2003, 2009..=2009]);
        assert_eq!(allowed("20000-20999", &["80"]), []);

        let name = "web".parse().unwrap();
        let rights = rights(&["20100-20109,20005,20300-20304"]);
        let range = "20000-20999".parse().unwrap();
        let tried = candidates(range, &rights, &Owner::Anybody, &name, Wish::default()).unwrap();
        let mut tried: Vec<_> = tried.collect();
        let start = place(&Owner::Anybody, &name) % 16;
        tried.rotate_right(start as usize);
        let own = [20005].into_iter().chain(20100..=20109).chain(20300..=20304);
        assert_eq!(tried, own.collect::<Vec<_>>(), "begun at the {start}th");
    }

    #[test]
    fn ports_are_tried_in_a_circle_wherever_they_begin() {
        let spans = Spans::of(&[10..=12, 20..=20, 30..=31]);
        let order = [10, 11, 12, 20, 30, 31];
        for start in 0..13 {
            let tried: Vec<u16> = spans.clone().beginning_at(start).collect();
            let circle = order.iter().cycle().skip(start as usize).take(6).copied();
            assert_eq!(tried, circle.collect::<Vec<_>>(), "from {start}");
        }
        assert_eq!(Spans(Vec::new()).beginning_at(5).count(), 0);
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
