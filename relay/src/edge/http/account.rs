//! The account of one request: whose, what became of it, what moved, and its line in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use parking_lot::Mutex;
use tracing::debug;

use crate::limits::Allowance;
use crate::tunnel::{Present, Tunnel};

/// A request that is going on. It is counted and logged when dropped, so none is forgotten.
#[derive(Debug)]
pub(super) struct Account {
    method: Method,
    arrived: Instant,
    tunnel: Option<Counted>,
    status: AtomicU16,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// When something of it moved last, in milliseconds after its arrival.
    moved: AtomicU64,
    /// What it may move, if that is limited.
    allowance: Option<Mutex<Allowance>>,
}

/// The tunnel that it goes to, where it takes up a place.
#[derive(Debug)]
struct Counted {
    tunnel: Arc<Tunnel>,
    _present: Option<Present>,
}

/// It may move nothing more.
#[derive(Clone, Copy, Debug)]
pub(super) struct UsedUp;

impl Account {
    pub(super) fn begin(method: Method) -> Self {
        Self {
            method,
            arrived: Instant::now(),
            tunnel: None,
            status: AtomicU16::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            allowance: None,
        }
    }

    /// It goes to this tunnel.
    pub(super) fn goes_to(&mut self, tunnel: &Arc<Tunnel>, present: Option<Present>) {
        self.tunnel = Some(Counted { tunnel: Arc::clone(tunnel), _present: present });
    }

    /// What it may move.
    pub(super) fn limit(&mut self, allowance: Option<Allowance>) {
        self.allowance = allowance.map(Mutex::new);
    }

    /// It is answered with this status.
    pub(super) fn answered(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
        self.touch();
    }

    /// How long nothing of it has moved.
    pub(super) fn idle(&self) -> Duration {
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        self.arrived.elapsed().saturating_sub(moved)
    }

    fn touch(&self) {
        let now = u64::try_from(self.arrived.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    /// Ready when something may come from the visitor.
    pub(super) fn poll_inward(&self, cx: &mut Context<'_>) -> Poll<Result<(), UsedUp>> {
        match &self.allowance {
            None => Poll::Ready(Ok(())),
            Some(allowance) => Poll::Ready(match ready!(allowance.lock().poll_inward(cx)) {
                0 => Err(UsedUp),
                _ => Ok(()),
            }),
        }
    }

    /// Ready when something may go to the visitor.
    pub(super) fn poll_outward(&self, cx: &mut Context<'_>) -> Poll<Result<(), UsedUp>> {
        match &self.allowance {
            None => Poll::Ready(Ok(())),
            Some(allowance) => Poll::Ready(match ready!(allowance.lock().poll_outward(cx)) {
                0 => Err(UsedUp),
                _ => Ok(()),
            }),
        }
    }

    /// Payload has come from the visitor.
    pub(super) fn moved_inward(&self, bytes: usize) {
        if let Some(allowance) = &self.allowance {
            let mut allowance = allowance.lock();
            allowance.moved_inward(bytes);
            allowance.pause_inward();
        }
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(Counted { tunnel, .. }) = &self.tunnel {
            tunnel.metrics().bytes_in(bytes);
        }
        self.touch();
    }

    /// Payload goes to the visitor.
    pub(super) fn moved_outward(&self, bytes: usize) {
        if let Some(allowance) = &self.allowance {
            let mut allowance = allowance.lock();
            allowance.moved_outward(bytes);
            allowance.pause_outward();
        }
        let before = self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(Counted { tunnel, .. }) = &self.tunnel {
            if before == 0 {
                tunnel.metrics().first_byte(self.arrived.elapsed());
            }
            tunnel.metrics().bytes_out(bytes);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        debug!(
            method = %self.method,
            tunnel = self.tunnel.as_ref().map(|counted| counted.tunnel.name().as_str()),
            status = self.status.load(Ordering::Relaxed),
            bytes_in = self.bytes_in.load(Ordering::Relaxed),
            bytes_out = self.bytes_out.load(Ordering::Relaxed),
            seconds = self.arrived.elapsed().as_secs_f64(),
            "request over",
        );
    }
}
