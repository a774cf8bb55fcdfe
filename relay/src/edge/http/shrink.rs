//! Answers that are compressed on their way to the visitor.

use std::sync::Arc;

use hyper::body::Body;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method};

use super::body::{Relayed, ToVisitor};
use crate::limits::{Share, Shares, Source};
use crate::web::policy::{Coding, Compressed, announce, choose};

/// So many answers are compressed at a time. An encoder takes 2 MB at most (brotli), so this is 256 MB
/// when all of them are there, and one source has half of them at most; answers beyond that go as they
/// are.
const MOST_AT_A_TIME: usize = 128;

/// Room for answers that are compressed. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Shares>);

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
    _place: Share,
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    fn place(&self, source: Option<Source>) -> Option<Share> {
        let place = match source {
            Some(source) => self.0.take_from(source, MOST_AT_A_TIME),
            None => self.0.take(MOST_AT_A_TIME),
        };
        place.ok()
    }
}

impl Wish {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        Self { coding: Coding::wished(headers), is_head: method == Method::HEAD }
    }

    /// Compresses a body if its visitor, who comes from `source`, wants it so, it is worth it, and there
    /// is room.
    pub(super) fn grant(
        self,
        room: &Room,
        source: Option<Source>,
        head: &mut Parts,
        body: Relayed,
    ) -> ToVisitor {
        let is_over = body.is_end_stream() && !self.is_head;
        let coding = choose(head, self.coding).filter(|_| !is_over);
        let placed = coding.and_then(|coding| Some((coding, room.place(source)?)));
        let Some((coding, place)) = placed else {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_half_of_the_room_at_most() {
        let room = Room::new();
        let [greedy, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|ip| Source::from((ip, 1)));
        let taken: Vec<_> = std::iter::from_fn(|| room.place(Some(greedy))).collect();
        assert_eq!(taken.len(), MOST_AT_A_TIME / 2);
        assert!(room.place(Some(other)).is_some() && room.place(None).is_some());
        drop(taken);
        assert!(room.place(Some(greedy)).is_some());
    }
}
