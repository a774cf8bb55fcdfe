//! When the foot is drawn, and what is in it then.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use shared::control::protocol::TunnelName;
use shared::kit::output::{Output, Progress};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::lines::{Figures, Look, State};
use super::rates::Rates;
use super::screen::Screen;
use super::tty::{Wish, Wishes, suspend};
use crate::status::{Event, Status};
use crate::tally::{Tally, Totals};

/// The foot is drawn so often while nothing happens.
const EACH: Duration = Duration::from_secs(1);

/// The shortest time between two drawings, whatever happens: nobody reads faster.
const APART: Duration = Duration::from_millis(50);

/// How long a terminal may take to erase the foot before the program is suspended. One that is held by
/// Ctrl-S does not.
const ERASED_WITHIN: Duration = Duration::from_millis(200);

/// What the foot is about.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What the client is doing.
    pub status: watch::Receiver<Status>,
    /// What comes through it.
    pub tally: Tally,
    /// Cancelled when it is to end.
    pub stopping: CancellationToken,
}

/// The foot of a terminal, on the thread that writes to it.
#[derive(Debug)]
pub struct Foot {
    screen: Screen,
    watched: Watched,
    shared: Arc<Shared>,
    rates: Rates,
    /// The tunnels as they were last seen open.
    tunnels: Vec<TunnelName>,
    drawn: Option<Instant>,
}

/// What is known to whoever waits for events and signals.
#[derive(Debug)]
pub(crate) struct Attendant {
    shared: Arc<Shared>,
    stopping: CancellationToken,
}

/// Between the two.
#[derive(Debug, Default)]
struct Shared {
    /// When the client connects again.
    again: Mutex<Option<Instant>>,
    /// The program is about to be suspended.
    is_hidden: AtomicBool,
    /// The terminal is not as it was.
    is_disturbed: AtomicBool,
    /// The foot has been erased because it is hidden.
    erased: Notify,
}

impl Foot {
    /// A foot that is drawn on `screen` from the first call of `progress` on.
    pub fn new(screen: Screen, mut watched: Watched) -> Self {
        watched.status.mark_changed();
        let rates = Rates::new(Instant::now(), watched.tally.read());
        let (shared, tunnels) = (Arc::default(), Vec::new());
        Self { screen, watched, shared, rates, tunnels, drawn: None }
    }

    pub(crate) fn screen(&self) -> &Screen {
        &self.screen
    }

    pub(crate) fn attendant(&self) -> Attendant {
        let stopping = self.watched.stopping.clone();
        Attendant { shared: Arc::clone(&self.shared), stopping }
    }

    /// Draws what there is to be seen now, if it is time for that. Returns when it is the next time.
    pub(crate) fn progress(&mut self, progress: Progress) -> Option<Instant> {
        let now = Instant::now();
        if progress.closing {
            let last = self.look(now).last();
            self.screen.end(last.as_deref());
            return None;
        }
        if self.shared.is_hidden.load(Ordering::Acquire) {
            self.screen.erase();
            self.shared.erased.notify_one();
            return None;
        }
        if let Some(drawn) = self.drawn.filter(|drawn| now - *drawn < APART) {
            return Some(drawn + APART);
        }
        if self.screen.is_in_front() {
            let anew = self.shared.is_disturbed.swap(false, Ordering::Acquire);
            let lines = self.look(now).lines(self.screen.size());
            self.screen.draw(&lines, anew);
        } else {
            self.screen.leave();
        }
        self.drawn = Some(now);
        Some(now + EACH)
    }

    fn look(&mut self, now: Instant) -> Look {
        let is_live = {
            let is_new = self.watched.status.has_changed().unwrap_or(true);
            let status = self.watched.status.borrow_and_update();
            if status.is_live() && is_new {
                self.tunnels = status.tunnels().iter().map(|tunnel| tunnel.name.clone()).collect();
            }
            status.is_live()
        };
        let again = self.shared.again.lock().and_then(|at| at.checked_duration_since(now));
        let state = match again {
            _ if self.watched.stopping.is_cancelled() => State::Draining,
            _ if is_live => State::Connected,
            Some(delay) => State::Waiting(delay),
            None => State::Connecting,
        };
        let totals = self.watched.tally.read();
        self.rates.note(now, &totals);
        let Totals { all, of_tunnels, round_trip } = totals;
        let tunnels = self.tunnels.iter().map(|name| {
            let counts = of_tunnels.get(name).copied().unwrap_or_default();
            (name.to_string(), Figures { counts, rate: self.rates.of(name) })
        });
        let tunnels = tunnels.collect();
        Look { state, all: Figures { counts: all, rate: self.rates.all() }, tunnels, round_trip }
    }
}

impl Attendant {
    /// Something has happened to the client.
    pub(crate) fn hear(&self, event: &Event) {
        if let Event::Reconnecting(delay) = event {
            *self.shared.again.lock() = Some(Instant::now() + *delay);
        }
    }

    /// Has the foot follow the terminal, and the program be suspended without it. `output` is the one
    /// whose thread draws.
    pub(crate) async fn attend(&self, output: &Output) -> io::Result<Infallible> {
        let mut wishes = Wishes::new()?;
        let mut is_stopping = false;
        loop {
            let wish = tokio::select! {
                wish = wishes.next() => wish,
                () = self.stopping.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    Wish::Draw
                }
            };
            if wish == Wish::Suspend {
                self.shared.is_hidden.store(true, Ordering::Release);
                output.nudge();
                // A terminal that takes nothing keeps what it shows.
                drop(timeout(ERASED_WITHIN, self.shared.erased.notified()).await);
                suspend();
                self.shared.is_hidden.store(false, Ordering::Release);
            }
            self.shared.is_disturbed.store(true, Ordering::Release);
            output.nudge();
        }
    }
}
