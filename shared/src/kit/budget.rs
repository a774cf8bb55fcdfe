//! How much is forgiven of what nobody needs much of.

use std::time::{Duration, Instant};

/// So many at once, and one more each time a while has passed. It looks at no clock.
#[derive(Debug)]
pub struct Budget {
    most: u32,
    each: Duration,
    /// When all that was taken is forgiven.
    due: Instant,
}

impl Budget {
    /// A budget of which nothing has been taken `now`.
    pub fn new(most: u32, each: Duration, now: Instant) -> Self {
        Self { most, each, due: now }
    }

    /// Takes one. Returns whether there was one.
    pub fn takes(&mut self, now: Instant) -> bool {
        self.takes_many(1, now)
    }

    /// Takes so many at once. Returns whether there were as many.
    pub fn takes_many(&mut self, count: u32, now: Instant) -> bool {
        self.due = self.due.max(now) + self.each * count;
        self.due - now <= self.each * self.most
    }
}
