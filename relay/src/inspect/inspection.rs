//! Whether a tunnel is inspected.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use shared::visit::id::VisitId;

use super::capture::{Capture, CaptureTap};
use super::exchange::{Arrived, Exchange, Tap};
use super::names::Names;
use super::shelf::{Amount, Kept, Shelf, Whose};
use crate::config::CurrentConfig;

/// How long a tunnel is inspected unless its owner says otherwise, and how long at most: nobody is to
/// forget that it is.
const USUAL: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// All that is inspected by a relay. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Inspector {
    shelf: Shelf,
    config: CurrentConfig,
    /// Whether it may be kept where visitors are.
    with_addresses: bool,
}

/// Whether a tunnel is inspected. As by default it is not.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    /// May be true although it has gone off by itself.
    is_on: AtomicBool,
    on: Mutex<Option<Arc<On>>>,
}

/// What an owner has turned on.
#[derive(Debug)]
pub(crate) struct On {
    inspector: Inspector,
    whose: Whose,
    options: Options,
    names: Arc<Names>,
    until: Instant,
    /// The same for people.
    until_time: SystemTime,
    is_off: AtomicBool,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Bodies, messages and events, and not heads alone.
    pub(crate) bodies: bool,
    /// Raw visits, in whose bytes nothing can be masked.
    pub(crate) raw: bool,
}

impl Inspector {
    /// One that keeps nothing yet. `with_addresses`: it may be kept where visitors are.
    pub(crate) fn new(config: CurrentConfig, with_addresses: bool) -> Self {
        Self { shelf: Shelf::new(config.clone()), config, with_addresses }
    }

    #[cfg(test)]
    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Whether anything can be inspected.
    pub(crate) fn is_possible(&self) -> bool {
        self.config.now().inspect.memory.0 > 0
    }

    /// What an owner turns on, for so long.
    pub(crate) fn on(&self, whose: Whose, length: Option<Duration>, options: Options) -> Arc<On> {
        let length = length.unwrap_or(USUAL).min(LONGEST);
        let names = Names::new(self.config.now().inspect.mask.clone(), !self.with_addresses);
        Arc::new(On {
            inspector: self.clone(),
            whose,
            options,
            names: Arc::new(names),
            until: Instant::now() + length,
            until_time: SystemTime::now() + length,
            is_off: AtomicBool::new(false),
        })
    }

    /// Lets go of what has been kept for long enough, again and again.
    pub(crate) async fn sweep(&self) -> std::convert::Infallible {
        self.shelf.sweep().await
    }

    /// How much is kept.
    pub(crate) fn amount(&self) -> Amount {
        self.shelf.amount()
    }

    /// The exchanges of a tunnel, the last one first.
    pub(crate) fn exchanges(&self, whose: &Whose) -> Vec<Arc<Exchange>> {
        self.shelf.exchanges(whose)
    }

    /// One exchange of a tunnel.
    pub(crate) fn exchange(&self, whose: &Whose, number: u64) -> Option<Arc<Exchange>> {
        self.shelf.exchange(whose, number)
    }

    /// The captures of a tunnel, the last one first.
    pub(crate) fn captures(&self, whose: &Whose) -> Vec<Arc<Capture>> {
        self.shelf.captures(whose)
    }

    /// One capture of a tunnel.
    pub(crate) fn capture(&self, whose: &Whose, number: u64) -> Option<Arc<Capture>> {
        self.shelf.capture(whose, number)
    }

    /// Lets go of all that is kept of a tunnel.
    pub(crate) fn forget(&self, whose: &Whose) {
        self.shelf.forget(whose);
    }
}

impl Inspection {
    /// What is turned on at this moment, if anything is.
    #[inline]
    pub(crate) fn now(&self) -> Option<Arc<On>> {
        // All that it costs a tunnel that is not inspected.
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        self.look()
    }

    #[cold]
    fn look(&self) -> Option<Arc<On>> {
        let mut on = self.on.lock();
        if on.as_ref().is_some_and(|on| on.is_over()) {
            *on = None;
            self.is_on.store(false, Ordering::Relaxed);
        }
        on.clone()
    }

    /// Turns it on, instead of what was on.
    pub(crate) fn turn_on(&self, on: Arc<On>) {
        let before = self.on.lock().replace(on);
        self.is_on.store(true, Ordering::Relaxed);
        before.iter().for_each(|before| before.end());
    }

    /// Turns it off. What is going on is kept as far as it has come.
    pub(crate) fn turn_off(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        let before = self.on.lock().take();
        before.iter().for_each(|before| before.end());
    }
}

impl On {
    /// Until when.
    pub(crate) fn until(&self) -> SystemTime {
        self.until_time
    }

    pub(crate) fn options(&self) -> Options {
        self.options
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.is_off.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    fn end(&self) {
        self.is_off.store(true, Ordering::Relaxed);
    }

    /// A request has arrived.
    pub(crate) fn exchange(self: &Arc<Self>, arrived: &Arrived<'_>) -> Tap {
        let visitor = arrived.visitor.filter(|_| self.inspector.with_addresses);
        let mut made = None;
        let placed = self.inspector.shelf.place(&self.whose, self.until, |number| {
            let most = self.options.bodies.then(|| self.most());
            let exchange = Exchange::new(number, arrived, visitor, &self.names, most);
            Kept::Exchange(Arc::clone(made.insert(exchange)))
        });
        let exchange = made.expect("a place is made of what it is for");
        Tap::new(exchange, placed, Arc::clone(self))
    }

    /// A raw visit begins, if they are to be kept.
    pub(crate) fn capture(
        self: &Arc<Self>,
        visit: VisitId,
        visitor: SocketAddr,
    ) -> Option<CaptureTap> {
        self.options.raw.then(|| {
            let visitor = Some(visitor).filter(|_| self.inspector.with_addresses);
            let mut made = None;
            let placed = self.inspector.shelf.place(&self.whose, self.until, |number| {
                let capture = Capture::new(number, visit.to_string(), visitor, self.most());
                Kept::Capture(Arc::clone(made.insert(capture)))
            });
            let capture = made.expect("a place is made of what it is for");
            CaptureTap::new(capture, placed, Arc::clone(self))
        })
    }

    /// The visitor's address as it may be kept.
    pub(super) fn kept(&self, visitor: IpAddr) -> Option<IpAddr> {
        Some(visitor).filter(|_| self.inspector.with_addresses)
    }

    /// So much is kept of a body.
    fn most(&self) -> usize {
        let body = self.inspector.config.now().inspect.body.bytes();
        usize::try_from(body).unwrap_or(usize::MAX)
    }
}
