//! Where exchanges and captures are kept: in memory, for all tunnels together no more than a bound,
//! and for a while.
//!
//! What is going on has its place from its beginning, and grows there. When there is no room, the
//! oldest of the tunnel that has the most, of the owner that has the most, is let go, so that nobody
//! who is inspected much pushes out what others have. A little more than is needed is let go at a time,
//! so that a full shelf is not searched for each piece of each body.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shared::control::protocol::TunnelName;
use tokio::time::sleep;

use super::capture::Capture;
use super::exchange::Exchange;
use crate::access::Owner;
use crate::config::CurrentConfig;

/// How often it is looked for what has been kept for long enough.
const SWEEP: Duration = Duration::from_secs(10);

/// What an entry takes beside what is in it: its places in the tables, and its handles.
const ENTRY: usize = 256;

/// Whose an exchange or a capture is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Whose {
    pub(crate) owner: Owner,
    pub(crate) tunnel: TunnelName,
}

/// What is kept of all tunnels. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    config: CurrentConfig,
    table: Arc<Mutex<Table>>,
}

/// What is kept.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Exchange(Arc<Exchange>),
    Capture(Arc<Capture>),
}

#[derive(Debug, Default)]
struct Table {
    rows: HashMap<Whose, Row>,
    /// Of all of them, in bytes.
    bytes: usize,
    last: u64,
    pushed_out: u64,
}

/// What is kept of one tunnel.
#[derive(Debug, Default)]
struct Row {
    /// Oldest first: numbers grow.
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    bytes: usize,
    /// When it has been kept for long enough.
    until: Instant,
}

/// The place of what is going on, of which it is told how much it takes.
#[derive(Debug)]
pub(super) struct Placed {
    shelf: Shelf,
    whose: Whose,
    number: u64,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) bytes: usize,
    pub(crate) entries: usize,
    /// How many have made room for others, ever.
    pub(crate) pushed_out: u64,
}

impl Shelf {
    pub(crate) fn new(config: CurrentConfig) -> Self {
        Self { config, table: Arc::default() }
    }

    /// Places what is about to begin, which `kept` makes of its number and which goes on until `over`
    /// at the latest.
    pub(super) fn place(
        &self,
        whose: &Whose,
        over: Instant,
        kept: impl FnOnce(u64) -> Kept,
    ) -> Placed {
        let until = over + self.config.now().inspect.keep;
        let mut table = self.table.lock();
        table.last += 1;
        let number = table.last;
        let entry = Entry { kept: kept(number), bytes: 0, until };
        match table.rows.get_mut(whose) {
            Some(row) => drop(row.entries.insert(number, entry)),
            None => {
                let entries = BTreeMap::from([(number, entry)]);
                table.rows.insert(whose.clone(), Row { entries, bytes: 0 });
            }
        }
        drop(table);
        Placed { shelf: self.clone(), whose: whose.clone(), number }
    }

    /// The exchanges of a tunnel, the last one first.
    pub(crate) fn exchanges(&self, whose: &Whose) -> Vec<Arc<Exchange>> {
        self.of(whose, |kept| match kept {
            Kept::Exchange(exchange) => Some(Arc::clone(exchange)),
            Kept::Capture(_) => None,
        })
    }

    /// The captures of a tunnel, the last one first.
    pub(crate) fn captures(&self, whose: &Whose) -> Vec<Arc<Capture>> {
        self.of(whose, |kept| match kept {
            Kept::Capture(capture) => Some(Arc::clone(capture)),
            Kept::Exchange(_) => None,
        })
    }

    /// One exchange of a tunnel.
    pub(crate) fn exchange(&self, whose: &Whose, number: u64) -> Option<Arc<Exchange>> {
        match self.table.lock().rows.get(whose)?.entries.get(&number)?.kept {
            Kept::Exchange(ref exchange) => Some(Arc::clone(exchange)),
            Kept::Capture(_) => None,
        }
    }

    /// One capture of a tunnel.
    pub(crate) fn capture(&self, whose: &Whose, number: u64) -> Option<Arc<Capture>> {
        match self.table.lock().rows.get(whose)?.entries.get(&number)?.kept {
            Kept::Capture(ref capture) => Some(Arc::clone(capture)),
            Kept::Exchange(_) => None,
        }
    }

    fn of<T>(&self, whose: &Whose, pick: impl Fn(&Kept) -> Option<T>) -> Vec<T> {
        let table = self.table.lock();
        let row = table.rows.get(whose);
        let newest_first = row.into_iter().flat_map(|row| row.entries.values().rev());
        newest_first.filter_map(|entry| pick(&entry.kept)).collect()
    }

    /// Lets go of all that is kept of a tunnel.
    pub(crate) fn forget(&self, whose: &Whose) {
        let mut table = self.table.lock();
        let Some(row) = table.rows.remove(whose) else { return };
        table.bytes -= row.bytes;
        drop(table);
        row.entries.into_values().for_each(|entry| entry.kept.let_go());
    }

    /// How much there is.
    pub(crate) fn amount(&self) -> Amount {
        let table = self.table.lock();
        Amount {
            bytes: table.bytes,
            entries: table.rows.values().map(|row| row.entries.len()).sum(),
            pushed_out: table.pushed_out,
        }
    }

    /// Lets go of what has been kept for long enough, and of what there is no room for any more, again
    /// and again.
    pub(crate) async fn sweep(&self) -> std::convert::Infallible {
        loop {
            sleep(SWEEP).await;
            let most = self.most();
            let mut table = self.table.lock();
            let mut gone = table.take_expired(Instant::now());
            gone.extend(table.fit(most));
            drop(table);
            gone.into_iter().for_each(Kept::let_go);
        }
    }

    fn most(&self) -> usize {
        usize::try_from(self.config.now().inspect.memory.0).unwrap_or(usize::MAX)
    }
}

impl Table {
    /// Takes out what there is no room for.
    fn fit(&mut self, most: usize) -> Vec<Kept> {
        let mut gone = Vec::new();
        if self.bytes <= most {
            return gone;
        }
        let enough = most - most / 16;
        while self.bytes > enough {
            let Some(whose) = self.greediest() else { return gone };
            let Some(row) = self.rows.get_mut(&whose) else { return gone };
            // All that it has more than the second, or a little of it.
            let least = (row.bytes - row.bytes / 16).min(row.bytes.saturating_sub(1));
            while self.bytes > enough
                && row.bytes > least
                && let Some((_, entry)) = row.entries.pop_first()
            {
                row.bytes -= entry.bytes;
                self.bytes -= entry.bytes;
                self.pushed_out += 1;
                gone.push(entry.kept);
            }
            if row.entries.is_empty() {
                self.rows.remove(&whose);
            }
        }
        gone
    }

    /// The tunnel that has the most, of the owner that has.
    fn greediest(&self) -> Option<Whose> {
        let mut owners: HashMap<&Owner, usize> = HashMap::new();
        for (whose, row) in &self.rows {
            *owners.entry(&whose.owner).or_default() += row.bytes;
        }
        let (owner, _) = owners.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let theirs = self.rows.iter().filter(|(whose, _)| whose.owner == *owner);
        theirs.max_by_key(|(_, row)| row.bytes).map(|(whose, _)| whose.clone())
    }

    fn take_expired(&mut self, now: Instant) -> Vec<Kept> {
        let mut gone = Vec::new();
        let Self { rows, bytes, .. } = self;
        rows.retain(|_, row| {
            let expired = row.entries.extract_if(.., |_, entry| entry.until <= now);
            for (_, entry) in expired {
                row.bytes -= entry.bytes;
                *bytes -= entry.bytes;
                gone.push(entry.kept);
            }
            !row.entries.is_empty()
        });
        gone
    }
}

impl Kept {
    /// Lets go of what is in it, whoever still looks at it.
    fn let_go(self) {
        match self {
            Self::Exchange(exchange) => exchange.let_go(),
            Self::Capture(capture) => capture.let_go(),
        }
    }
}

impl Placed {
    /// It takes so many bytes from now on. Others make room for them, or it does itself. Whether it is
    /// still there.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        let most = self.shelf.most();
        let mut table = self.shelf.table.lock();
        let Table { rows, bytes: of_all, .. } = &mut *table;
        let Some(row) = rows.get_mut(&self.whose) else { return false };
        let Some(entry) = row.entries.get_mut(&self.number) else { return false };
        let before = std::mem::replace(&mut entry.bytes, bytes + ENTRY);
        row.bytes = row.bytes - before + bytes + ENTRY;
        *of_all = *of_all - before + bytes + ENTRY;
        let gone = table.fit(most);
        let row = table.rows.get(&self.whose);
        let is_here = row.is_some_and(|row| row.entries.contains_key(&self.number));
        drop(table);
        gone.into_iter().for_each(Kept::let_go);
        is_here
    }

    /// Nothing more comes: from now on the time counts for which it is kept.
    pub(super) fn is_over(&self) {
        let until = Instant::now() + self.shelf.config.now().inspect.keep;
        let mut table = self.shelf.table.lock();
        let row = table.rows.get_mut(&self.whose);
        if let Some(entry) = row.and_then(|row| row.entries.get_mut(&self.number)) {
            entry.until = until.min(entry.until);
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::super::inspection::{Inspector, Options};
    use super::*;
    use crate::config::{Config, Settings};
    use crate::inspect::{Arrived, Tap};

    struct Scene {
        inspector: Inspector,
        most: u64,
    }

    impl Scene {
        fn of(most: u64) -> Self {
            let mut settings = Settings::loopback();
            settings.inspect.memory = most.to_string().parse().unwrap();
            settings.inspect.body = "20kB".parse().unwrap();
            let config = CurrentConfig::new(Config::new(settings).unwrap());
            Self { inspector: Inspector::new(config, false), most }
        }

        fn whose(owner: &str, tunnel: &str) -> Whose {
            Whose { owner: Owner::User(owner.into()), tunnel: tunnel.parse().unwrap() }
        }

        fn exchange(&self, owner: &str, tunnel: &str, body: usize) -> Tap {
            let options = Options { bodies: true, raw: false };
            let on = self.inspector.on(Self::whose(owner, tunnel), None, options);
            let request = Request::post("/").header("content-type", "text/html");
            let (head, ()) = request.body(()).unwrap().into_parts();
            let tap = on.exchange(&Arrived {
                head: &head,
                request_id: "1",
                host: "a",
                target: "/",
                is_tls: false,
                visitor: None,
                replay_of: None,
            });
            (0..body / 100).for_each(|_| tap.inward(&[b'x'; 100]));
            assert!(self.inspector.amount().bytes as u64 <= self.most);
            tap
        }

        fn count(&self, owner: &str, tunnel: &str) -> usize {
            self.inspector.exchanges(&Self::whose(owner, tunnel)).len()
        }
    }

    #[test]
    fn who_is_inspected_much_pushes_out_their_own() {
        let scene = Scene::of(200_000);
        for _ in 0..3 {
            scene.exchange("bob", "app", 5000).over("complete");
        }
        for _ in 0..100 {
            for tunnel in ["one", "two", "three"] {
                scene.exchange("ann", tunnel, 10_000).over("complete");
            }
        }
        assert_eq!(scene.count("bob", "app"), 3);
        let anns = ["one", "two", "three"].map(|tunnel| scene.count("ann", tunnel));
        assert!(anns.iter().all(|count| (3..=7).contains(count)), "{anns:?}");
        let last = scene.inspector.exchanges(&Scene::whose("ann", "three"));
        assert!(last.is_sorted_by(|a, b| a.number > b.number), "the last one first");
        assert!(scene.inspector.amount().pushed_out > 200);
    }

    #[test]
    fn what_is_going_on_makes_room_as_well_and_does_not_come_back() {
        let scene = Scene::of(100_000);
        let first = scene.exchange("ann", "app", 10_000);
        let looked_at = scene.inspector.exchanges(&Scene::whose("ann", "app")).remove(0);
        assert!(looked_at.look(|record| record.request_body.kept.len()) == Some(10_000));
        let others: Vec<_> = (0..20).map(|_| scene.exchange("ann", "app", 10_000)).collect();
        first.inward(b"more");
        first.over("complete");
        assert_eq!(looked_at.look(|_| ()), None, "nothing of it is left");
        assert!(scene.count("ann", "app") < 10);
        drop(others);
        scene.inspector.forget(&Scene::whose("ann", "app"));
        assert_eq!(scene.inspector.amount().bytes, 0);
    }

    #[test]
    fn what_has_been_kept_for_its_time_goes() {
        let scene = Scene::of(100_000);
        let going_on = scene.exchange("ann", "app", 1000);
        scene.exchange("ann", "app", 1000).over("complete");
        let mut table = scene.inspector.shelf().table.lock();
        let hours = |hours: u64| Instant::now() + Duration::from_secs(hours * 3600 + 1);
        assert_eq!(table.take_expired(hours(0)).len(), 0);
        assert_eq!(table.take_expired(hours(1)).len(), 1, "that which is over");
        assert_eq!(table.take_expired(hours(2)).len(), 1, "it is not inspected any more");
        assert!(table.rows.is_empty() && table.bytes == 0);
        drop((table, going_on));
    }
}
