//! The visits that are going on, for whoever looks from outside, or ends one of them.
//!
//! One that begins or ends takes a short lock. What it moves is counted by its own task alone, and
//! read without a lock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use shared::visit::id::{VisitId, VisitIds};

use super::cut::Cut;
use crate::snapshot::{Kind, VisitNow};
use crate::tunnel::Tunnel;

/// The visits that have reached a client. Cheap to clone.
///
/// Requests of HTTP are none; a connection that has changed to another protocol is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visits(Arc<List>);

#[derive(Debug, Default)]
struct List {
    ids: VisitIds,
    open: Mutex<HashMap<VisitId, Arc<Entry>>>,
}

/// Who visits what.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) id: VisitId,
    pub(crate) kind: Kind,
    pub(crate) tunnel: Arc<Tunnel>,
    pub(crate) visitor: SocketAddr,
    /// The relay's number for the session that serves it.
    pub(crate) session: u64,
}

#[derive(Debug)]
struct Entry {
    visit: Placed,
    since: Instant,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    cut: Cut,
}

/// A visit's place in the list. Dropping it takes the visit off.
#[derive(Debug)]
pub(crate) struct Listed {
    visits: Visits,
    entry: Arc<Entry>,
}

/// How others end a visit.
#[derive(Debug)]
#[must_use = "a visit that nobody can end goes on"]
pub(crate) struct Ending(Arc<Entry>);

impl Visits {
    /// The number of the next visit. Takes no lock.
    pub(crate) fn next(&self) -> VisitId {
        self.0.ids.next()
    }

    /// Lists a visit that has reached a client.
    pub(crate) fn list(&self, visit: Placed) -> Listed {
        let entry = Arc::new(Entry {
            visit,
            since: Instant::now(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            cut: Cut::default(),
        });
        self.0.open.lock().insert(entry.visit.id, Arc::clone(&entry));
        Listed { visits: self.clone(), entry }
    }

    /// All of them, in the order in which they came. The list is locked for as long as copies of its
    /// handles take.
    pub(crate) fn look(&self) -> Vec<VisitNow> {
        let mut open: Vec<_> = self.0.open.lock().values().cloned().collect();
        open.sort_unstable_by_key(|entry| entry.visit.id);
        open.iter().map(|entry| entry.look()).collect()
    }

    /// Ends a visit: both its ends are reset. Whether there is such a one.
    pub(crate) fn cut(&self, id: VisitId) -> bool {
        let entry = self.0.open.lock().get(&id).cloned();
        entry.is_some_and(|entry| {
            entry.cut.cut();
            true
        })
    }
}

impl Entry {
    fn look(&self) -> VisitNow {
        let Placed { id, kind, tunnel, visitor, session } = &self.visit;
        VisitNow {
            id: id.to_string(),
            kind: *kind,
            tunnel: tunnel.name().clone(),
            owner: tunnel.id().owner.to_string(),
            visitor: *visitor,
            session: *session,
            age_seconds: self.since.elapsed().as_secs_f64(),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

impl Listed {
    /// So many more bytes have come from the visitor.
    pub(crate) fn moved_in(&self, bytes: usize) {
        add(&self.entry.bytes_in, bytes);
    }

    /// So many more have gone to the visitor.
    pub(crate) fn moved_out(&self, bytes: usize) {
        add(&self.entry.bytes_out, bytes);
    }

    /// How others end the visit.
    pub(crate) fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.entry))
    }
}

impl Ending {
    /// What `carrying` comes to, unless somebody ends the visit. `None`: somebody has.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, if `carrying` is.
    pub(crate) fn unless_cut<F: Future + Unpin>(self, carrying: F) -> UnlessCut<F> {
        UnlessCut { entry: self.0, known: None, carrying }
    }
}

/// Nobody else adds to it, so that it need not be locked for others.
fn add(total: &AtomicU64, bytes: usize) {
    total.store(total.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.visits.0.open.lock().remove(&self.entry.visit.id);
    }
}

/// See [`Ending::unless_cut`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub(crate) struct UnlessCut<F> {
    entry: Arc<Entry>,
    known: Option<Waker>,
    carrying: F,
}

impl<F: Future + Unpin> Future for UnlessCut<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { entry, known, carrying } = self.get_mut();
        if entry.cut.is_cut(cx, known) {
            return Poll::Ready(None);
        }
        Pin::new(carrying).poll(cx).map(Some)
    }
}
