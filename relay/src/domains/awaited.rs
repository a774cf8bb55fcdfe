//! The proofs that clients wait for, and when each is to be looked for. Pure: times are handed in.
//!
//! Whoever may ask could have the relay ask name servers all day, at names of its choice. So each
//! proof is looked for less and less often, those of one owner one at a time, and of all of them
//! only so many in a second.

use std::collections::HashMap;
use std::time::Duration;

use shared::control::protocol::DomainName;
use shared::kit::backoff::Backoff;
use tokio::time::Instant;

use crate::store::Name;

/// A name, and who is to prove it.
pub(super) type Awaiting = (DomainName, Name);

/// So many proofs are waited for: each takes up some hundred bytes, and with that many it takes
/// less than two minutes to look for all of them.
const MOST: usize = 1024;

/// So many of them may be one owner's: more than its clients can ask for without an operator,
/// little enough that a few owners do not leave the others without.
const MOST_OF_OWNER: usize = 64;

/// The pauses between two looks at one proof: people look soon whether it works, and others'
/// servers take minutes.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// So long after a client has asked for it, a proof is looked for. A client asks twice a minute.
const ASKED_FOR: Duration = Duration::from_secs(120);

/// How long an owner rests between two looks, however many names it waits for.
const OWNER_RESTS: Duration = Duration::from_millis(500);

/// The least time between two looks at whatever: ten a second, of two questions each.
const EACH: Duration = Duration::from_millis(100);

/// So many looks are under way at a time: each may take as long as a name server is silent.
const AT_ONCE: usize = 8;

/// The proofs that clients wait for.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    proofs: HashMap<Awaiting, Proof>,
    /// Owners that were looked for, and before when they are not again. `None`: as long as the look
    /// takes.
    resting: HashMap<Name, Option<Instant>>,
    /// Before then nothing is looked for.
    not_before: Option<Instant>,
}

/// Why one proof more is not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// There are as many as there may be.
    OfAll,
    /// There are as many of this owner's.
    OfOwner,
}

#[derive(Debug)]
struct Proof {
    asked: Instant,
    next: Instant,
    pauses: Backoff,
}

impl Awaited {
    /// A client asks for a name, which is not looked for before `rest` is over.
    ///
    /// # Errors
    ///
    /// There is no room for one more.
    pub(super) fn ask(
        &mut self,
        name: &DomainName,
        owner: &Name,
        now: Instant,
        rest: Duration,
    ) -> Result<(), Full> {
        let key = (name.clone(), owner.clone());
        if !self.proofs.contains_key(&key) && self.check_room(owner).is_err() {
            self.forget(now);
            self.check_room(owner)?;
        }
        let new = Proof { asked: now, next: now + rest, pauses: PAUSES };
        self.proofs.entry(key).or_insert(new).asked = now;
        Ok(())
    }

    fn check_room(&self, owner: &Name) -> Result<(), Full> {
        if self.proofs.len() >= MOST {
            return Err(Full::OfAll);
        }
        let of_owner = self.proofs.keys().filter(|(_, whose)| whose == owner).count();
        if of_owner < MOST_OF_OWNER { Ok(()) } else { Err(Full::OfOwner) }
    }

    /// What is to be looked for now, if anything is. It has to [end](Self::ended).
    pub(super) fn begin(&mut self, now: Instant) -> Option<Awaiting> {
        self.forget(now);
        let (key, at) = self.next_of_all()?;
        if at > now {
            return None;
        }
        let key = key.clone();
        self.resting.insert(key.1.clone(), None);
        self.not_before = Some(now + EACH);
        Some(key)
    }

    /// When there is something to be looked for, as far as that is known.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next_of_all().map(|(_, at)| at)
    }

    /// A look has ended. `is_over`: nobody has to look again.
    pub(super) fn ended(&mut self, key: &Awaiting, is_over: bool, now: Instant) {
        self.resting.insert(key.1.clone(), Some(now + OWNER_RESTS));
        if is_over {
            self.proofs.remove(key);
        } else if let Some(proof) = self.proofs.get_mut(key) {
            proof.next = now + proof.pauses.next_delay();
        }
    }

    /// The proof that is to be looked for first, and when.
    fn next_of_all(&self) -> Option<(&Awaiting, Instant)> {
        let under_way = self.resting.values().filter(|until| until.is_none()).count();
        if under_way >= AT_ONCE {
            return None;
        }
        let when = |(key, proof): (_, &Proof)| {
            let (_, owner): &Awaiting = key;
            let rested = match self.resting.get(owner) {
                Some(until) => Some((*until)?),
                None => None,
            };
            let at = rested.into_iter().chain(self.not_before).chain([proof.next]).max()?;
            // Of those that could all be now, the one that was due first.
            Some((key, at, proof.next))
        };
        let all = self.proofs.iter().filter_map(when);
        all.min_by_key(|(_, at, next)| (*at, *next)).map(|(key, at, _)| (key, at))
    }

    /// Forgets what nobody asks for any more.
    fn forget(&mut self, now: Instant) {
        self.proofs.retain(|_, proof| now.duration_since(proof.asked) < ASKED_FOR);
        self.resting.retain(|_, until| until.is_none_or(|until| until > now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, owner: &str) -> Awaiting {
        (name.parse().unwrap(), owner.parse().unwrap())
    }

    fn ask(awaited: &mut Awaited, (name, owner): &Awaiting, now: Instant) -> Result<(), Full> {
        awaited.ask(name, owner, now, Duration::ZERO)
    }

    /// Lets time pass until `end`: each look takes no time and is in vain, and a client asks for
    /// all of `keys` all the time. Returns when each look was, as seconds from `begin`.
    fn looks(awaited: &mut Awaited, keys: &[Awaiting], begin: Instant, end: Instant) -> Vec<f64> {
        let (mut now, mut looks) = (begin, Vec::new());
        while now < end {
            keys.iter().for_each(|key| ask(awaited, key, now).unwrap());
            if let Some(key) = awaited.begin(now) {
                looks.push((now - begin).as_secs_f64());
                awaited.ended(&key, false, now);
            }
            now += Duration::from_millis(10);
        }
        looks
    }

    #[test]
    fn a_proof_is_looked_for_at_once_and_then_less_and_less_often() {
        let (mut awaited, begin) = (Awaited::default(), Instant::now());
        let keys = [key("app.example.test", "ann")];
        let looks = looks(&mut awaited, &keys, begin, begin + Duration::from_secs(600));
        assert!(looks[0] < 0.1 && looks[1] <= 1.1 && looks[2] <= 3.2, "{looks:?}");
        let last = looks.windows(2).last().unwrap();
        assert!(last[1] - last[0] >= 29.0, "{looks:?}");
        assert!((12..40).contains(&looks.len()), "{looks:?}");
    }

    #[test]
    fn a_proof_that_is_to_rest_is_looked_for_afterwards_whoever_asks_again() {
        let (mut awaited, begin) = (Awaited::default(), Instant::now());
        let (name, owner) = key("app.example.test", "ann");
        let rest = Duration::from_secs(30);
        awaited.ask(&name, &owner, begin, rest).unwrap();
        let later = begin + Duration::from_secs(20);
        awaited.ask(&name, &owner, later, rest).unwrap();
        assert_eq!((awaited.begin(later), awaited.next()), (None, Some(begin + rest)));
        assert_eq!(awaited.begin(begin + rest), Some((name, owner)));
    }

    #[test]
    fn however_much_is_asked_for_only_so_much_is_looked_for() {
        let (mut awaited, begin) = (Awaited::default(), Instant::now());
        // One owner rests after each look.
        let greedy: Vec<_> =
            (0..MOST_OF_OWNER).map(|n| key(&format!("n{n}.example.test"), "eve")).collect();
        let until = begin + Duration::from_secs(10);
        assert!(looks(&mut awaited, &greedy, begin, until).len() <= 21);
        // Many owners share what there is.
        let many: Vec<_> =
            (0..200).map(|n| key(&format!("a{n}.example.test"), &format!("u{n}"))).collect();
        let mut awaited = Awaited::default();
        let looks = looks(&mut awaited, &many, begin, until);
        assert!((90..=101).contains(&looks.len()), "{}", looks.len());
    }

    #[test]
    fn one_who_asks_for_a_lot_does_not_hold_up_another() {
        let (mut awaited, begin) = (Awaited::default(), Instant::now());
        for n in 0..MOST_OF_OWNER {
            ask(&mut awaited, &key(&format!("n{n}.example.test"), "eve"), begin).unwrap();
        }
        assert_eq!(awaited.begin(begin).unwrap().1.as_str(), "eve");
        let anns = key("app.example.test", "ann");
        ask(&mut awaited, &anns, begin).unwrap();
        // The look at what is eve's has not ended.
        assert_eq!(awaited.begin(begin), None, "not within the same moment");
        assert_eq!(awaited.begin(begin + EACH), Some(anns));
        assert_eq!((awaited.begin(begin + 2 * EACH), awaited.next()), (None, None));
    }

    #[test]
    fn there_are_only_so_many_looks_at_a_time_and_so_many_proofs_in_all() {
        let (mut awaited, begin) = (Awaited::default(), Instant::now());
        for n in 0..MOST {
            ask(&mut awaited, &key("app.example.test", &format!("u{n}")), begin).unwrap();
        }
        let full = ask(&mut awaited, &key("app.example.test", "ann"), begin);
        assert_eq!(full, Err(Full::OfAll));
        ask(&mut awaited, &key("app.example.test", "u0"), begin).expect("it is waited for");
        let mut now = begin;
        let mut begun = Vec::new();
        for _ in 0..2 * AT_ONCE {
            now += EACH;
            begun.extend(awaited.begin(now));
        }
        assert_eq!(begun.len(), AT_ONCE);
        // Whoever has it, or has gone, makes room.
        awaited.ended(&begun[0], true, now);
        ask(&mut awaited, &key("app.example.test", "ann"), now).unwrap();
        ask(&mut awaited, &key("app.example.test", "bob"), now + ASKED_FOR).unwrap();
    }

    #[test]
    fn no_owner_has_more_than_its_share() {
        let (mut awaited, begin) = (Awaited::default(), Instant::now());
        let eves = |n: usize| key(&format!("n{n}.example.test"), "eve");
        for n in 0..MOST_OF_OWNER {
            ask(&mut awaited, &eves(n), begin).unwrap();
        }
        assert_eq!(ask(&mut awaited, &eves(MOST_OF_OWNER), begin), Err(Full::OfOwner));
        ask(&mut awaited, &eves(0), begin).expect("it is waited for");
        ask(&mut awaited, &key("app.example.test", "ann"), begin).unwrap();
        ask(&mut awaited, &eves(MOST_OF_OWNER), begin + ASKED_FOR).expect("eve has gone");
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_not_looked_for() {
        let (mut awaited, begin) = (Awaited::default(), Instant::now());
        ask(&mut awaited, &key("app.example.test", "ann"), begin).unwrap();
        assert_eq!(awaited.begin(begin + ASKED_FOR), None);
        assert_eq!(awaited.next(), None);
    }
}
