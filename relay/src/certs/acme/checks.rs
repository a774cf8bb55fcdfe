//! What is looked at before an order, so that neither the authority nor the store hears of one that
//! could only come to nothing. Pure: times are handed in.
//!
//! A look may take as long as a name server is silent. So looks are no orders, those for one owner
//! are few at a time, and whatever had to wait comes after all that has not been looked at yet.
//!
//! What had to wait is not kept: a relay that starts again looks once more, which costs nobody
//! anything but a question to a name server.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use shared::kit::backoff::Backoff;

use super::super::CertName;
use crate::access::Owner;

/// So many names are looked at, or have been and wait for a place, at a time: each look is two
/// questions to a name server, and what was seen is to be fresh when a name gets its place.
const AT_ONCE: usize = 16;

/// So many of them may be for one owner, whose name servers may all be silent, or whose names may be
/// many.
const AT_ONCE_OF_OWNER: usize = 4;

/// How long what was seen is good: proofs go.
const FRESH: Duration = Duration::from_secs(60);

/// The waits for a name that is not to be ordered, such as one whose proof is gone: somebody may
/// mend it.
const NAME_AGAIN: Backoff = Backoff::new(Duration::from_secs(60), Duration::from_secs(3600));

/// The waits for name servers that say nothing: they come back soon, and it is not looked there for
/// a certificate alone.
const SERVERS_AGAIN: Backoff = Backoff::new(Duration::from_secs(120), Duration::from_secs(120));

/// So many names are remembered that had to wait and are not wanted at this time. Clients that come
/// and go name them.
const MOST_UNWANTED: usize = 4096;

/// Why a name is not ordered, before the authority has heard of it.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The name's own, and what an operator can do.
    Name(String, &'static str),
    /// Name servers are silent, so nobody can say.
    NameServers(String),
}

/// How far it has been looked at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not yet, or not lately.
    Unseen,
    /// Somebody looks.
    UnderWay,
    /// Nothing stands in its way.
    Ready,
    /// It is not looked at before then.
    Waits(SystemTime),
}

/// How far it has been looked at names.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// For whom it is being looked at each.
    under_way: HashMap<CertName, Option<Owner>>,
    ready: HashMap<CertName, Ready>,
    waits: HashMap<CertName, Wait>,
}

#[derive(Debug)]
struct Ready {
    seen: SystemTime,
    owner: Option<Owner>,
}

#[derive(Debug)]
struct Wait {
    until: SystemTime,
    /// Apart for the two, so that a name server that was silent is not held against a name.
    name_again: Backoff,
}

impl Checks {
    /// How far it has been looked at this one.
    pub(super) fn of(&self, name: &CertName, now: SystemTime) -> Standing {
        if self.under_way.contains_key(name) {
            return Standing::UnderWay;
        }
        if self.ready.contains_key(name) {
            return Standing::Ready;
        }
        match self.waits.get(name) {
            Some(wait) if wait.until > now => Standing::Waits(wait.until),
            Some(_) | None => Standing::Unseen,
        }
    }

    /// Before when it was not looked at this one. What has not had to wait comes first.
    pub(super) fn turn(&self, name: &CertName) -> Option<SystemTime> {
        self.waits.get(name).map(|wait| wait.until)
    }

    /// Whether there is room for one more look, at a name of this owner. One that is under way may
    /// make its name ready.
    pub(super) fn has_room(&self, owner: Option<&Owner>) -> bool {
        let ready = self.ready.values().map(|ready| &ready.owner);
        let all = || self.under_way.values().chain(ready.clone());
        let of_owner = || all().flatten().filter(|whose| Some(*whose) == owner);
        all().count() < AT_ONCE && of_owner().count() < AT_ONCE_OF_OWNER
    }

    /// A look begins. It has to end.
    pub(super) fn begin(&mut self, name: CertName, owner: Option<Owner>) {
        self.under_way.insert(name, owner);
    }

    /// A look has ended, and nothing stands in the way.
    pub(super) fn passed(&mut self, name: CertName, now: SystemTime) {
        let owner = self.under_way.remove(&name).flatten();
        self.waits.remove(&name);
        self.ready.insert(name, Ready { seen: now, owner });
    }

    /// A look has ended. Returns before when there is none at this name again.
    pub(super) fn failed(
        &mut self,
        name: CertName,
        obstacle: &Obstacle,
        now: SystemTime,
    ) -> SystemTime {
        self.under_way.remove(&name);
        let new = Wait { until: now, name_again: NAME_AGAIN };
        let wait = self.waits.entry(name).or_insert(new);
        wait.until = now
            + match obstacle {
                Obstacle::Name(..) => wait.name_again.next_delay(),
                Obstacle::NameServers(_) => SERVERS_AGAIN.clone().next_delay(),
            };
        wait.until
    }

    /// All looks have ended, whatever they were at.
    pub(super) fn broken_off(&mut self) {
        self.under_way.clear();
    }

    /// This one is ordered, or cannot be for another reason: the next time it is looked at anew.
    pub(super) fn forget(&mut self, name: &CertName) {
        self.ready.remove(name);
    }

    /// Forgets what is not fresh any more, and what is not `due`.
    pub(super) fn tidy(&mut self, due: &HashSet<&CertName>, now: SystemTime) {
        let is_fresh = |seen: SystemTime| now.duration_since(seen).is_ok_and(|age| age < FRESH);
        self.ready.retain(|name, ready| due.contains(name) && is_fresh(ready.seen));
        // A client that comes again before the time has come has not shortened it.
        self.waits.retain(|name, wait| due.contains(name) || wait.until > now);
        if self.waits.len() > due.len() + MOST_UNWANTED {
            self.waits.retain(|name, _| due.contains(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> CertName {
        format!("n{n}.example.com").parse().unwrap()
    }

    fn proof_is_gone() -> Obstacle {
        Obstacle::Name("nothing proves it".into(), "do something")
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_name_that_is_not_to_be_ordered_waits_longer_each_time_until_it_is() {
        let (mut checks, mut now) = (Checks::default(), at(1_000_000));
        for bound in [60, 120, 240, 480, 960, 1920, 3600, 3600].map(Duration::from_secs) {
            checks.begin(name(1), None);
            let until = checks.failed(name(1), &proof_is_gone(), now);
            let wait = until.duration_since(now).unwrap();
            assert!(wait >= bound / 2 && wait <= bound, "{wait:?} of {bound:?}");
            assert_eq!(checks.of(&name(1), now), Standing::Waits(until));
            // Its client goes, and comes again.
            checks.tidy(&HashSet::new(), now);
            assert_eq!(checks.of(&name(1), now), Standing::Waits(until));
            now = until;
            assert_eq!(checks.of(&name(1), now), Standing::Unseen);
        }
        checks.passed(name(1), now);
        assert_eq!(checks.of(&name(1), now), Standing::Ready);
        checks.forget(&name(1));
        let until = checks.failed(name(1), &proof_is_gone(), now);
        assert!(until <= now + Duration::from_secs(60), "it has been mended meanwhile");
    }

    #[test]
    fn silent_name_servers_are_not_held_against_a_name() {
        let (mut checks, now) = (Checks::default(), at(1_000_000));
        for _ in 0..10 {
            let until = checks.failed(name(1), &Obstacle::NameServers("silent".into()), now);
            assert!(until >= now + Duration::from_secs(60));
            assert!(until <= now + Duration::from_secs(120));
        }
        assert!(checks.failed(name(1), &proof_is_gone(), now) <= now + Duration::from_secs(60));
    }

    #[test]
    fn one_owner_leaves_room_for_others_and_what_has_waited_comes_last() {
        let (mut checks, now) = (Checks::default(), at(1_000_000));
        let [ann, bob] = ["ann", "bob"].map(|user| Owner::User(user.into()));
        let mut begun = 0;
        while checks.has_room(Some(&ann)) {
            checks.begin(name(begun), Some(ann.clone()));
            begun += 1;
        }
        assert_eq!(begun, AT_ONCE_OF_OWNER);
        assert!(checks.has_room(Some(&bob)));
        while checks.has_room(None) {
            checks.begin(name(begun), None);
            begun += 1;
        }
        assert_eq!(begun, AT_ONCE, "those that are nobody's in particular are no owner's");
        assert!(!checks.has_room(Some(&bob)));
        let until = checks.failed(name(0), &proof_is_gone(), now);
        assert!(checks.has_room(Some(&bob)));
        let mut turns = [name(0), name(99)];
        turns.sort_by_key(|name| checks.turn(name));
        assert_eq!(turns, [name(99), name(0)]);
        assert_eq!(checks.turn(&name(0)), Some(until));
        checks.broken_off();
        assert_eq!(checks.of(&name(1), now), Standing::Unseen);
    }

    #[test]
    fn names_that_wait_for_a_place_and_looks_that_may_add_to_them_share_the_room() {
        let (mut checks, now) = (Checks::default(), at(1_000_000));
        let [ann, bob] = ["ann", "bob"].map(|user| Owner::User(user.into()));
        let mut begun = 0;
        let mut begin = |checks: &mut Checks, owner: Option<&Owner>| {
            let has_room = checks.has_room(owner);
            if has_room {
                checks.begin(name(begun), owner.cloned());
                begun += 1;
            }
            has_room
        };
        for n in 0..2 {
            assert!(begin(&mut checks, Some(&ann)));
            checks.passed(name(n), now);
        }
        while begin(&mut checks, Some(&ann)) {}
        assert_eq!((checks.ready.len(), checks.under_way.len()), (2, AT_ONCE_OF_OWNER - 2));
        assert!(begin(&mut checks, Some(&bob)), "she leaves room for others");
        while begin(&mut checks, None) {}
        assert_eq!((checks.ready.len(), checks.under_way.len()), (2, AT_ONCE - 2));
        (2..AT_ONCE).for_each(|n| checks.passed(name(n), now));
        assert!(!begin(&mut checks, None), "as many wait for a place as may");
        checks.forget(&name(0));
        assert!(begin(&mut checks, Some(&ann)), "there is a place for one");
    }

    #[test]
    fn what_was_seen_is_looked_at_again_when_it_is_old_or_was_not_wanted_meanwhile() {
        let (mut checks, now) = (Checks::default(), at(1_000_000));
        (0..AT_ONCE).for_each(|n| checks.passed(name(n), now));
        assert!(!checks.has_room(None), "there are enough that wait for a place");
        let [zero, one] = [0, 1].map(name);
        checks.tidy(&HashSet::from([&zero, &one]), now);
        assert_eq!(checks.of(&name(2), now), Standing::Unseen);
        assert_eq!(checks.of(&zero, now), Standing::Ready);
        checks.tidy(&HashSet::from([&zero]), now + FRESH);
        assert_eq!(checks.of(&zero, now + FRESH), Standing::Unseen);
    }

    #[test]
    fn names_that_come_and_go_are_not_remembered_without_end() {
        let (mut checks, now) = (Checks::default(), at(1_000_000));
        for n in 0..=MOST_UNWANTED {
            checks.failed(name(n), &proof_is_gone(), now);
        }
        let wanted = name(7);
        checks.tidy(&HashSet::from([&wanted]), now);
        assert_eq!(checks.waits.len(), MOST_UNWANTED + 1);
        checks.failed(name(MOST_UNWANTED + 1), &proof_is_gone(), now);
        checks.tidy(&HashSet::from([&wanted]), now);
        assert_eq!(checks.waits.keys().collect::<Vec<_>>(), [&wanted]);
    }
}
