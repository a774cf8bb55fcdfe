//! Answers that are compressed on their way to the visitor.

use std::sync::Arc;

use hyper::body::Body;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::{Relayed, ToVisitor};
use crate::web::policy::{Coding, Compressed, announce, choose};

/// So many answers are compressed at a time. An encoder takes 2 MB at most (brotli), so this is 256 MB
/// when all of them are there; answers beyond that go as they are.
const MOST_AT_A_TIME: usize = 128;

/// Room for answers that are compressed. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// What a visitor wants of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    coding: Option<Coding>,
    /// The head alone, which is the same as that of the whole.
    is_head: bool,
}

/// An answer that is compressed, and takes up its part of the room.
pub(super) struct Shrunk {
    pub(super) body: Compressed<Relayed>,
    _place: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST_AT_A_TIME)))
    }
}

impl Wish {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        Self { coding: Coding::wished(headers), is_head: method == Method::HEAD }
    }

    /// Compresses a body if its visitor wants it so, it is worth it, and there is room.
    pub(super) fn grant(self, room: &Room, head: &mut Parts, body: Relayed) -> ToVisitor {
        let is_over = body.is_end_stream() && !self.is_head;
        let coding = choose(head, self.coding).filter(|_| !is_over);
        let place = || Arc::clone(&room.0).try_acquire_owned().ok();
        let Some((coding, place)) = coding.and_then(|coding| Some((coding, place()?))) else {
            return ToVisitor::Relayed(body);
        };
        announce(&mut head.headers, coding);
        if self.is_head {
            return ToVisitor::Relayed(body);
        }
        let body = Compressed::new(body, coding);
        ToVisitor::Compressed(Box::new(Shrunk { body, _place: place }))
    }
}
