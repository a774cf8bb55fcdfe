//! Whether the far end is still there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When something came, and how much went over the wire. Written by the driver's task alone.
#[derive(Debug)]
pub(super) struct Life {
    start: Instant,
    /// Milliseconds after `start` at which anything last arrived.
    heard: AtomicU64,
    /// Milliseconds after `start`, and one, of the first question after which nothing has arrived.
    asked: AtomicU64,
    /// Bytes both ways together.
    traffic: AtomicU64,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            heard: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            traffic: AtomicU64::new(0),
        }
    }

    /// How long nothing at all has arrived.
    pub(super) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(heard)
    }

    /// How long a question has been on its way and nothing has come.
    pub(super) fn unanswered(&self) -> Duration {
        match self.asked.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            asked => self.start.elapsed().saturating_sub(Duration::from_millis(asked - 1)),
        }
    }

    pub(super) fn traffic(&self) -> u64 {
        self.traffic.load(Ordering::Relaxed)
    }

    /// The socket took so many bytes.
    pub(super) fn sent(&self, bytes: usize) {
        self.moved(bytes);
    }

    /// A frame is about to be sent that the peer answers at once.
    pub(super) fn asked(&self) {
        if self.asked.load(Ordering::Relaxed) == 0 {
            self.asked.store(self.millis(Instant::now()).saturating_add(1), Ordering::Relaxed);
        }
    }

    /// So many bytes came at `now`.
    pub(super) fn heard(&self, bytes: usize, now: Instant) {
        self.moved(bytes);
        self.asked.store(0, Ordering::Relaxed);
        self.heard.store(self.millis(now), Ordering::Relaxed);
    }

    fn moved(&self, bytes: usize) {
        let traffic = self.traffic.load(Ordering::Relaxed);
        self.traffic.store(traffic + bytes as u64, Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start);
        since.as_millis().try_into().unwrap_or(u64::MAX)
    }
}
