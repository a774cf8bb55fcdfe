//! What happens, for those who watch: once a second, as long as anybody does.
//!
//! The relay's parts know nothing of it. A look at all of them is compared with the look before, so
//! that whoever watches costs visitors nothing, and whatever cannot be told in time is dropped: the
//! next look is as good.
//!
//! - `look`: what is seen, and what is different from the time before
//! - `tick`: what is told of that, and to whom
//! - `follower`: one who watches

mod follower;
mod look;
mod tick;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, broadcast};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub(super) use self::follower::{Follower, News};
use self::look::Look;
use self::tick::Tick;
pub(super) use self::tick::{Audience, Told};
use crate::registry::Registry;

/// The time between two looks: a person sees things move, and counts along.
const BETWEEN: Duration = Duration::from_secs(1);

/// Looking takes no more than this part of the time of the admin port's thread, however many tunnels
/// there are.
const PART: u32 = 10;

/// So many ticks are kept for those who are slow. Whoever is slower has to look at everything anew.
const KEPT: usize = 8;

/// So many may watch at a time.
const MOST_FOLLOWERS: usize = 512;

/// What happens, for those who watch. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ticks: broadcast::Sender<Arc<Tick>>,
    /// Somebody begins to watch.
    begun: Notify,
    places: Arc<Semaphore>,
    stopping: CancellationToken,
}

/// As many watch as may.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowded;

impl Live {
    /// Nobody watches yet. All have to go when `stopping` fires.
    pub(super) fn new(stopping: CancellationToken) -> Self {
        let (ticks, _) = broadcast::channel(KEPT);
        let places = Arc::new(Semaphore::new(MOST_FOLLOWERS));
        Self(Arc::new(Shared { ticks, begun: Notify::new(), places, stopping }))
    }

    /// One more who watches, and is told what is for this audience.
    ///
    /// # Errors
    ///
    /// There are as many as may be.
    pub(super) fn follow(&self, audience: Audience) -> Result<Follower, Crowded> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| Crowded)?;
        let ticks = self.0.ticks.subscribe();
        self.0.begun.notify_one();
        Ok(Follower::new(audience, ticks, self.0.stopping.clone(), place))
    }

    /// Looks at what there is in `registry`, as long as anybody watches. Never returns: whoever polls
    /// it drops it in the end.
    pub(super) async fn watch(&self, registry: &Registry) -> Infallible {
        loop {
            while self.0.ticks.receiver_count() == 0 {
                self.0.begun.notified().await;
            }
            let mut before = Look::at(registry.snapshot());
            let mut number = 0;
            let mut pause = BETWEEN;
            loop {
                sleep(pause).await;
                if self.0.ticks.receiver_count() == 0 {
                    break;
                }
                let began = Instant::now();
                let now = Look::at(registry.snapshot());
                number += 1;
                // Those who were there may have gone meanwhile.
                drop(self.0.ticks.send(Arc::new(now.since(&before, number))));
                before = now;
                pause = BETWEEN.max(began.elapsed() * PART);
            }
        }
    }
}
