//! Sources that are kept out for a while because they have been refused again and again.
//!
//! Pure: the time is given. Both tables are bounded, and the oldest makes room: whoever has a great
//! many addresses wins forgetting, not memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::policy::BanRule;
use super::source::Source;

/// The most sources that are watched, and the most that are banned: about a megabyte each.
const MOST_SOURCES: usize = 16 * 1024;

/// Who is banned, and who is about to be. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Bans(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    tables: Mutex<Tables>,
    /// Whether anybody is banned. Asked for each connection.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Tables {
    suspects: Recent<Strikes>,
    /// Until when.
    banned: Recent<Instant>,
}

/// How often a source has been refused in a while that began with the first time.
#[derive(Debug)]
struct Strikes {
    since: Instant,
    count: u32,
}

/// A ban as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct BanNow {
    /// An address, or a network of IPv6.
    pub(crate) source: String,
    /// How long it lasts, in seconds.
    seconds_left: u64,
}

impl Bans {
    /// Whether anybody is banned, perhaps.
    pub(super) fn are_any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    pub(super) fn is_banned(&self, source: Source, now: Instant) -> bool {
        let mut tables = self.0.tables.lock();
        self.settle(&mut tables, now);
        tables.banned.find(&source).is_some_and(|until| *until > now)
    }

    /// The source has been refused. Returns whether it is banned for it.
    pub(super) fn strike(&self, source: Source, rule: &BanRule, now: Instant) -> bool {
        let mut tables = self.0.tables.lock();
        self.settle(&mut tables, now);
        if tables.banned.find(&source).is_some_and(|until| *until > now) {
            // Something that had begun before.
            return false;
        }
        let fresh = |strikes: &Strikes| now.saturating_duration_since(strikes.since) < rule.within;
        let count = match tables.suspects.find(&source) {
            Some(strikes) if fresh(strikes) => {
                strikes.count += 1;
                strikes.count
            }
            _ => {
                tables.suspects.put(source, Strikes { since: now, count: 1 });
                1
            }
        };
        if count < rule.count {
            return false;
        }
        tables.suspects.remove(&source);
        tables.banned.put(source, now + rule.time);
        self.0.any.store(true, Ordering::Relaxed);
        true
    }

    /// Whether there was a ban to lift.
    pub(super) fn lift(&self, source: Source) -> bool {
        let mut tables = self.0.tables.lock();
        let lifted = tables.banned.remove(&source);
        self.0.any.store(!tables.banned.map.is_empty(), Ordering::Relaxed);
        lifted
    }

    /// All that are banned, those that were first in front.
    pub(super) fn look(&self, now: Instant) -> Vec<BanNow> {
        let mut tables = self.0.tables.lock();
        self.settle(&mut tables, now);
        let banned = &tables.banned;
        let left = |until: Instant| until.saturating_duration_since(now);
        let all = banned.in_order().filter(|(_, until)| left(**until) > Duration::ZERO);
        all.map(|(source, until)| BanNow {
            source: source.to_string(),
            // One that lasts is never shown as over.
            seconds_left: left(*until).as_secs() + 1,
        })
        .collect()
    }

    /// How many are banned.
    pub(super) fn count(&self, now: Instant) -> u64 {
        let mut tables = self.0.tables.lock();
        self.settle(&mut tables, now);
        tables.banned.map.values().filter(|(_, until)| *until > now).count() as u64
    }

    /// Forgets bans that are over. They are over in about the order in which they began: a
    /// configuration that has changed since may leave some for a while.
    fn settle(&self, tables: &mut Tables, now: Instant) {
        if tables.banned.forget_oldest_while(|until| *until <= now) {
            self.0.any.store(!tables.banned.map.is_empty(), Ordering::Relaxed);
        }
    }
}

/// What was last said of sources, of so many at most.
#[derive(Debug)]
struct Recent<V> {
    map: HashMap<Source, (u64, V)>,
    /// Oldest first. Those that have gone are left out of the map, or stand there with another
    /// number.
    order: VecDeque<(u64, Source)>,
    next: u64,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { map: HashMap::new(), order: VecDeque::new(), next: 0 }
    }
}

impl<V> Recent<V> {
    fn find(&mut self, source: &Source) -> Option<&mut V> {
        self.map.get_mut(source).map(|(_, value)| value)
    }

    fn put(&mut self, source: Source, value: V) {
        let number = self.next;
        self.next += 1;
        self.map.insert(source, (number, value));
        self.order.push_back((number, source));
        while self.order.len() > MOST_SOURCES {
            self.forget_oldest();
        }
    }

    fn remove(&mut self, source: &Source) -> bool {
        self.map.remove(source).is_some()
    }

    fn in_order(&self) -> impl Iterator<Item = (&Source, &V)> {
        self.order.iter().filter_map(|(number, source)| {
            let (current, value) = self.map.get(source)?;
            (current == number).then_some((source, value))
        })
    }

    fn forget_oldest(&mut self) {
        if let Some((number, source)) = self.order.pop_front()
            && self.map.get(&source).is_some_and(|(current, _)| *current == number)
        {
            self.map.remove(&source);
        }
    }

    /// Whether there was any to forget.
    fn forget_oldest_while(&mut self, is_over: impl Fn(&V) -> bool) -> bool {
        let before = self.order.len();
        while let Some((number, source)) = self.order.front() {
            match self.map.get(source) {
                Some((current, value)) if current == number && !is_over(value) => break,
                _ => self.forget_oldest(),
            }
        }
        self.order.len() < before
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn rule() -> BanRule {
        "3/1m for 10m".parse().unwrap()
    }

    fn source(ip: &str) -> Source {
        ip.parse::<IpAddr>().unwrap().into()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn whoever_is_refused_often_enough_is_banned_for_its_time() {
        let (bans, one, other) = (Bans::default(), source("1.2.3.4"), source("1.2.3.5"));
        let start = Instant::now();
        assert!(!bans.strike(one, &rule(), start) && !bans.strike(one, &rule(), start + SECOND));
        assert!(!bans.are_any() && !bans.is_banned(one, start));
        assert!(bans.strike(one, &rule(), start + 59 * SECOND));
        let banned = start + 59 * SECOND;
        assert!(bans.are_any() && bans.is_banned(one, banned) && !bans.is_banned(other, banned));
        assert!(!bans.strike(one, &rule(), banned), "it is already");
        assert!(bans.is_banned(one, banned + 599 * SECOND));
        assert!(!bans.is_banned(one, banned + 600 * SECOND) && !bans.are_any());
        assert!(!bans.strike(one, &rule(), banned + 600 * SECOND), "its count starts anew");
    }

    #[test]
    fn whoever_was_banned_can_be_banned_again_though_an_older_ban_lasts() {
        let (bans, start) = (Bans::default(), Instant::now());
        let long: BanRule = "1/1m for 1h".parse().unwrap();
        let short: BanRule = "1/1m for 2s".parse().unwrap();
        assert!(bans.strike(source("1.1.1.1"), &long, start));
        let other = source("2.2.2.2");
        assert!(bans.strike(other, &short, start));
        let later = start + 3 * SECOND;
        assert!(!bans.is_banned(other, later) && bans.strike(other, &short, later));
        assert!(bans.is_banned(other, later));
    }

    #[test]
    fn whoever_is_refused_now_and_then_is_not() {
        let (bans, one, start) = (Bans::default(), source("1.2.3.4"), Instant::now());
        for minute in 0..100 {
            let now = start + minute * 61 * SECOND;
            assert!(!bans.strike(one, &rule(), now) && !bans.strike(one, &rule(), now));
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_ipv4_is_itself_however_it_is_written() {
        let (bans, now) = (Bans::default(), Instant::now());
        for ip in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:1"] {
            bans.strike(source(ip), &rule(), now);
        }
        assert!(bans.is_banned(source("2001:db8::7"), now));
        assert!(!bans.is_banned(source("2001:db8:0:1::7"), now));
        assert_eq!(bans.look(now)[0].source, "2001:db8::/64");
        assert_eq!(source("::ffff:1.2.3.4"), source("1.2.3.4"));
    }

    #[test]
    fn bans_are_seen_and_lifted() {
        let (bans, now) = (Bans::default(), Instant::now());
        let all = [source("1.1.1.1"), source("2.2.2.2")];
        for source in all.into_iter().flat_map(|source| [source; 3]) {
            bans.strike(source, &rule(), now);
        }
        let seen = bans.look(now + 300 * SECOND);
        let seen: Vec<_> = seen.iter().map(|ban| (&*ban.source, ban.seconds_left)).collect();
        assert_eq!(seen, [("1.1.1.1", 301), ("2.2.2.2", 301)]);
        assert!(bans.lift(all[0]) && !bans.lift(all[0]));
        assert!(!bans.is_banned(all[0], now) && bans.is_banned(all[1], now));
        assert_eq!(bans.count(now), 1);
        assert!(bans.lift(all[1]) && !bans.are_any());
    }

    #[test]
    fn the_tables_are_bounded_and_the_oldest_makes_room() {
        let (bans, now) = (Bans::default(), Instant::now());
        let once: BanRule = "1/1m for 10m".parse().unwrap();
        let ip = |n: usize| Source::from(IpAddr::from((n as u32).to_be_bytes()));
        for n in 0..=MOST_SOURCES {
            assert!(bans.strike(ip(n), &once, now));
            // Lifted and banned again, it is a new one.
            if n == 0 {
                bans.lift(ip(n));
                bans.strike(ip(n), &once, now);
            }
        }
        assert!(!bans.is_banned(ip(0), now) && bans.is_banned(ip(MOST_SOURCES), now));
        for n in 0..3 * MOST_SOURCES {
            bans.strike(ip(n + 2 * MOST_SOURCES), &rule(), now);
        }
        let tables = bans.0.tables.lock();
        assert!(tables.suspects.map.len() <= MOST_SOURCES);
        assert!(tables.suspects.order.len() <= MOST_SOURCES);
        assert!(tables.banned.order.len() <= MOST_SOURCES);
    }
}
