//! A capture: the bytes of a raw visit, both ways, with their times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::Speaker;
use super::cost;
use super::inspection::On;
use super::shelf::Placed;

/// What passed at once and is kept counts as so much at least, in bytes, so that a drip of single bytes
/// is bounded as well.
const LEAST: usize = 32;

/// A raw visit, which may be going on.
#[derive(Debug)]
pub(crate) struct Capture {
    /// Unlike that of any other exchange or capture of the relay, and larger than of those before.
    pub(crate) number: u64,
    pub(crate) began: SystemTime,
    start: Instant,
    /// So much of each direction is kept, in bytes.
    most: usize,
    /// `None`: it had to make room.
    captured: Mutex<Option<Box<Captured>>>,
}

/// What is known of a raw visit.
#[derive(Debug)]
pub(crate) struct Captured {
    /// The number of the visit, as in the log.
    pub(crate) visit: Box<str>,
    /// Where the visitor is, if that may be kept.
    pub(crate) visitor: Option<SocketAddr>,
    /// When the local service was reached.
    pub(crate) connected: Option<Duration>,
    /// What passed, in the order of time.
    pub(crate) chunks: Vec<Chunk>,
    /// How many bytes passed from the visitor, and to it.
    pub(crate) whole: [u64; 2],
    /// Not all of them are kept.
    pub(crate) is_cut: bool,
    /// How it ended, and when. `None`: it has not.
    pub(crate) ended: Option<(Duration, Ending)>,
    bytes: Vec<u8>,
    /// How much of each direction is kept.
    kept: [usize; 2],
}

/// Bytes that passed at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub(crate) at: Duration,
    pub(crate) from: Speaker,
    start: usize,
    length: usize,
}

/// How a raw visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Both ends have said that nothing more comes.
    Ended,
    ResetByVisitor,
    ResetByService,
    /// The way between them broke off, or the relay did.
    CutOff,
}

/// Takes down a raw visit while it goes on. Nobody waits for it.
#[derive(Debug)]
pub(crate) struct CaptureTap {
    capture: Arc<Capture>,
    placed: Placed,
    on: Arc<On>,
}

impl Capture {
    pub(super) fn new(
        number: u64,
        visit: String,
        visitor: Option<SocketAddr>,
        most: usize,
    ) -> Arc<Self> {
        let captured = Captured {
            visit: visit.into(),
            visitor,
            connected: None,
            chunks: Vec::new(),
            whole: [0; 2],
            is_cut: false,
            ended: None,
            bytes: Vec::new(),
            kept: [0; 2],
        };
        Arc::new(Self {
            number,
            began: SystemTime::now(),
            start: Instant::now(),
            most,
            captured: Mutex::new(Some(Box::new(captured))),
        })
    }

    /// What `look` makes of it. `None`: it had to make room.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Captured) -> T) -> Option<T> {
        self.captured.lock().as_deref().map(look)
    }

    /// Lets go of what is in it.
    pub(super) fn let_go(&self) {
        let captured = self.captured.lock().take();
        drop(captured);
    }
}

impl Captured {
    /// The bytes of a chunk.
    pub(crate) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        &self.bytes[chunk.start..chunk.start + chunk.length]
    }

    /// What one end said, one after the other, as far as it is kept and not longer than `most`.
    pub(crate) fn said(&self, by: Speaker, most: usize) -> Vec<u8> {
        let theirs = self.chunks.iter().filter(|chunk| chunk.from == by);
        theirs.flat_map(|chunk| self.bytes(chunk)).copied().take(most).collect()
    }

    fn push(&mut self, from: Speaker, data: &[u8], most: usize, at: Duration) {
        let direction = usize::from(from == Speaker::Service);
        self.whole[direction] += data.len() as u64;
        let room = most.saturating_sub(self.kept[direction]);
        self.is_cut |= data.len() > room;
        let data = &data[..data.len().min(room)];
        if data.is_empty() {
            return;
        }
        self.kept[direction] += data.len().max(LEAST);
        let start = self.bytes.len();
        cost::room(&mut self.bytes, data.len(), 2 * most);
        self.bytes.extend_from_slice(data);
        match self.chunks.last_mut() {
            // At the same moment: it is one to whoever looks.
            Some(last) if last.from == from && last.at == at => last.length += data.len(),
            _ => self.chunks.push(Chunk { at, from, start, length: data.len() }),
        }
    }

    fn cost(&self) -> usize {
        size_of::<Capture>()
            + cost::of(size_of::<Self>())
            + cost::of(self.visit.len())
            + cost::of(self.bytes.capacity())
            + cost::of(self.chunks.capacity() * size_of::<Chunk>())
    }
}

impl CaptureTap {
    pub(super) fn new(capture: Arc<Capture>, placed: Placed, on: Arc<On>) -> Self {
        let tap = Self { capture, placed, on };
        tap.note(|_, _| ());
        tap
    }

    /// Somebody who is believed says where the visitor is.
    pub(crate) fn comes_from(&self, visitor: SocketAddr) {
        let kept = self.on.kept(visitor.ip()).map(|_| visitor);
        self.note(|captured, _| captured.visitor = kept);
    }

    /// The local service is reached.
    pub(crate) fn connected(&self) {
        self.note(|captured, at| captured.connected = Some(at));
    }

    /// One end has said something.
    pub(crate) fn passes(&self, from: Speaker, data: &[u8]) {
        let most = self.capture.most;
        self.note(|captured, at| captured.push(from, data, most, at));
    }

    /// It is over, and this is how.
    pub(crate) fn over(&self, ending: Ending) {
        let at = self.capture.start.elapsed();
        self.change(|captured| captured.ended = Some((at, ending)));
        self.placed.is_over();
    }

    fn note(&self, note: impl FnOnce(&mut Captured, Duration)) {
        if !self.on.is_over() {
            let at = self.capture.start.elapsed();
            self.change(|captured| note(captured, at));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Captured)) {
        let taken = {
            let mut captured = self.capture.captured.lock();
            // Nothing of what had to make room comes back.
            let Some(captured) = captured.as_deref_mut() else { return };
            change(captured);
            captured.cost()
        };
        if !self.placed.takes(taken) {
            self.capture.let_go();
        }
    }
}
