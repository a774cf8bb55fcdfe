//! The account of one request: whose, what became of it, what moved, and its line in the log.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::edge::EdgeShared;
use crate::inspect::Tap;
use crate::limits::{Allowance, Part, Supplied};
use crate::metrics::{FaultCode, RequestOver};
use crate::tunnel::{Present, Tunnel};
use crate::web::{Asked, Became, Fault, Outcome};

/// A request that is going on. It is counted and logged when dropped, so none is forgotten, not even
/// one whose visitor has left.
#[derive(Debug)]
pub(super) struct Account {
    edge: Arc<EdgeShared>,
    arrived: Instant,
    tunnel: OnceLock<Arc<Tunnel>>,
    /// Its place in the tunnel.
    present: OnceLock<Present>,
    /// What it takes up in the accounts of whoever serves it.
    parts: OnceLock<Box<[Part]>>,
    /// What its head takes up, if that counts.
    head: Mutex<Option<Box<Supplied>>>,
    /// Zero until it is answered.
    status: AtomicU16,
    /// Why the relay answered it itself, if it did.
    fault: OnceLock<FaultCode>,
    /// A local service answered it.
    served: AtomicBool,
    /// The answer has come to its end.
    is_complete: AtomicBool,
    /// Something broke off before its end.
    is_aborted: AtomicBool,
    /// Something of it waited for too long.
    has_timed_out: AtomicBool,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// When something of it moved last, in milliseconds after its arrival.
    moved: AtomicU64,
    /// The longest body that it may have, in bytes.
    max_body: AtomicU64,
    /// What is to come next is something of its body.
    awaits_body: AtomicBool,
    /// When it was answered, in microseconds after its arrival.
    first_byte: AtomicU64,
    /// What it may move, if that is limited.
    allowance: OnceLock<Mutex<Allowance>>,
    /// Takes it down for the tunnel's owner, if the tunnel is inspected.
    tap: OnceLock<Box<Tap>>,
    /// What the log is to tell, if it is to tell anything.
    asked: Option<Mutex<Box<Asked>>>,
}

/// It may move nothing more.
#[derive(Clone, Copy, Debug)]
pub(super) struct UsedUp;

impl Account {
    /// A request has come from `peer`, which gets the number `id`.
    pub(super) fn begin<B>(
        edge: &Arc<EdgeShared>,
        peer: IpAddr,
        request: &Request<B>,
        id: &HeaderValue,
    ) -> Arc<Self> {
        Arc::new(Self {
            asked: edge.access_log.note(request, peer, id, edge.history.is_on()).map(Mutex::new),
            edge: Arc::clone(edge),
            arrived: Instant::now(),
            tunnel: OnceLock::new(),
            present: OnceLock::new(),
            parts: OnceLock::new(),
            head: Mutex::new(None),
            status: AtomicU16::new(0),
            fault: OnceLock::new(),
            served: AtomicBool::new(false),
            is_complete: AtomicBool::new(false),
            is_aborted: AtomicBool::new(false),
            has_timed_out: AtomicBool::new(false),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            max_body: AtomicU64::new(u64::MAX),
            awaits_body: AtomicBool::new(false),
            first_byte: AtomicU64::new(0),
            allowance: OnceLock::new(),
            tap: OnceLock::new(),
        })
    }

    /// Somebody who is believed says who the visitor is.
    pub(super) fn comes_from(&self, visitor: IpAddr) {
        if let Some(asked) = &self.asked {
            asked.lock().comes_from(visitor);
        }
    }

    /// It is for this tunnel, whether it is let in or not.
    pub(super) fn goes_to(&self, tunnel: &Arc<Tunnel>) {
        if self.tunnel.set(Arc::clone(tunnel)).is_ok() {
            tunnel.metrics().request_begins();
        }
    }

    /// The tunnel that it is for, if that is known.
    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.get().map(|tunnel| &**tunnel)
    }

    /// It is taken down from now on.
    pub(super) fn inspects(&self, tap: Tap) {
        // Each request is for one tunnel.
        self.tap.set(Box::new(tap)).err();
    }

    /// What takes it down, if anything does.
    pub(super) fn tap(&self) -> Option<&Tap> {
        self.tap.get().map(|tap| &**tap)
    }

    /// It is let in: where it takes up a place, and what it may move.
    pub(super) fn admitted(&self, present: Option<Present>, allowance: Option<Allowance>) {
        // Each request is admitted once.
        present.and_then(|present| self.present.set(present).err());
        allowance.and_then(|allowance| self.allowance.set(Mutex::new(allowance)).err());
    }

    /// It takes this up in the accounts of whoever serves it, until it is over.
    pub(super) fn holds(&self, parts: Box<[Part]>) {
        // Each request is served once.
        self.parts.set(parts).err();
    }

    /// Its head takes this up until it is over, or is let go.
    pub(super) fn holds_head(&self, head: Option<Box<Supplied>>) {
        // Most are small, and take no lock.
        if head.is_some() {
            *self.head.lock() = head;
        }
    }

    /// Nobody has its head any more, although it goes on.
    pub(super) fn lets_go_of_head(&self) {
        self.head.lock().take();
    }

    /// The relay answers it itself, for this reason.
    pub(super) fn failed(&self, fault: Fault) {
        self.fault.get_or_init(|| fault.counts_as());
    }

    /// Why the relay answers it itself, if it does, as programs know it.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault.get().map(|fault| fault.label())
    }

    /// A local service answers it.
    pub(super) fn served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    /// Whether a local service does.
    pub(super) fn is_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// It is answered with this status.
    pub(super) fn answered(&self, status: StatusCode) {
        let after = self.arrived.elapsed();
        self.status.store(status.as_u16(), Ordering::Relaxed);
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.first_byte.store(micros, Ordering::Relaxed);
        if let Some(tunnel) = self.tunnel.get() {
            tunnel.metrics().request_answered(status.as_u16(), after);
        }
    }

    /// The answer has come to its end: all of it is with the visitor's connection.
    pub(super) fn completed(&self) {
        self.is_complete.store(true, Ordering::Relaxed);
    }

    /// Something of it broke off.
    pub(super) fn aborted(&self) {
        self.is_aborted.store(true, Ordering::Relaxed);
    }

    /// Something of it waited for too long, and it was given up.
    pub(super) fn timed_out(&self) {
        self.has_timed_out.store(true, Ordering::Relaxed);
    }

    /// How long nothing of it has moved.
    pub(super) fn idle(&self) -> Duration {
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        self.arrived.elapsed().saturating_sub(moved)
    }

    /// Something of it moves.
    pub(super) fn touch(&self) {
        let now = u64::try_from(self.arrived.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    /// The longest body that it may have, in bytes: any, unless somebody has said so.
    pub(super) fn max_body(&self) -> u64 {
        self.max_body.load(Ordering::Relaxed)
    }

    /// Its body may be so long from now on.
    pub(super) fn set_max_body(&self, most: Option<u64>) {
        self.max_body.store(most.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether whoever takes its body waits for the visitor to send more of it.
    pub(super) fn awaits_body(&self) -> bool {
        self.awaits_body.load(Ordering::Relaxed)
    }

    /// Whoever takes its body waits for more of it, or does not any longer.
    pub(super) fn set_awaits_body(&self, awaits: bool) {
        self.awaits_body.store(awaits, Ordering::Relaxed);
    }

    /// Takes as much of what is `here` from the visitor as may go on now.
    pub(super) fn poll_inward(
        &self,
        cx: &mut Context<'_>,
        here: &mut Bytes,
    ) -> Poll<Result<Bytes, UsedUp>> {
        let mut most = here.len();
        if let Some(allowance) = self.allowance.get().filter(|_| most > 0) {
            let mut allowance = allowance.lock();
            most = most.min(ready!(allowance.poll_inward(cx)));
            if most == 0 {
                return Poll::Ready(Err(UsedUp));
            }
            allowance.moved_inward(most);
            // Nobody knows when there will be more.
            allowance.pause_inward();
        }
        self.bytes_in.fetch_add(most as u64, Ordering::Relaxed);
        if let Some(tunnel) = self.tunnel.get() {
            tunnel.metrics().bytes_in(most);
        }
        self.touch();
        let piece = here.split_to(most);
        if let Some(tap) = self.tap.get() {
            tap.inward(&piece);
        }
        Poll::Ready(Ok(piece))
    }

    /// Nothing comes from the visitor for now, or any more: others may have its turn.
    pub(super) fn pause_inward(&self) {
        if let Some(allowance) = self.allowance.get() {
            allowance.lock().pause_inward();
        }
    }

    /// Takes as much of what is `here` for the visitor as may go there now.
    pub(super) fn poll_outward(
        &self,
        cx: &mut Context<'_>,
        here: &mut Bytes,
    ) -> Poll<Result<Bytes, UsedUp>> {
        let mut most = here.len();
        if let Some(allowance) = self.allowance.get().filter(|_| most > 0) {
            let mut allowance = allowance.lock();
            most = most.min(ready!(allowance.poll_outward(cx)));
            if most == 0 {
                return Poll::Ready(Err(UsedUp));
            }
            allowance.moved_outward(most);
            allowance.pause_outward();
        }
        self.bytes_out.fetch_add(most as u64, Ordering::Relaxed);
        if let Some(tunnel) = self.tunnel.get() {
            tunnel.metrics().bytes_out(most);
        }
        let piece = here.split_to(most);
        if let Some(tap) = self.tap.get() {
            tap.outward(&piece);
        }
        Poll::Ready(Ok(piece))
    }

    /// Something of the relay's own goes to the visitor, which is no payload.
    pub(super) fn said(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let length = self.arrived.elapsed();
        let status = *self.status.get_mut();
        let fault = self.fault.get().copied();
        let is_whole = *self.is_complete.get_mut() && !*self.is_aborted.get_mut();
        let outcome = match (status, is_whole) {
            (0, _) => Outcome::VisitorLeft,
            // Although the last of it may have come as far as this.
            _ if *self.has_timed_out.get_mut() => Outcome::TimedOut,
            (_, true) => Outcome::Complete,
            (_, false) => Outcome::Aborted,
        };
        if let Some(tap) = self.tap.get() {
            tap.over(outcome.label());
        }
        let tunnel = self.tunnel.get();
        match (tunnel, fault) {
            (Some(tunnel), fault) => {
                let timed_out = outcome == Outcome::TimedOut;
                let aborted = timed_out || outcome == Outcome::Aborted;
                let over = RequestOver { status, fault, aborted, timed_out, length };
                tunnel.metrics().request_over(&over);
            }
            (None, Some(fault)) => self.edge.metrics.unrouted_request(fault),
            (None, None) => (),
        }
        let Some(asked) = &mut self.asked else { return };
        let owner = tunnel.and_then(|tunnel| tunnel.id().owner.label());
        let became = Became {
            tunnel: tunnel.map(|tunnel| (tunnel.name().as_str(), owner.as_deref())),
            status,
            fault,
            served: *self.served.get_mut(),
            outcome,
            bytes_in: *self.bytes_in.get_mut(),
            bytes_out: *self.bytes_out.get_mut(),
            length,
            first_byte: (status > 0).then(|| Duration::from_micros(*self.first_byte.get_mut())),
        };
        let asked = asked.get_mut();
        self.edge.access_log.write(asked, &became);
        if let Some(tunnel) = tunnel {
            self.edge.history.request(tunnel.metrics(), asked, &became);
        }
    }
}
