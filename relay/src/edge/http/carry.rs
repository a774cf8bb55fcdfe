//! Bytes both ways between a visitor and a local service that have changed to another protocol.
//!
//! They are waited for as long as those of a [bridge](shared::visit::bridge), by the same clocks: data
//! that wait to be taken, however much moves the other way, and an end that is missing when the other
//! has come.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use shared::visit::patience::{Moved, Owed, Passed, Patience, Waiting, Watch, poll_passed};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::account::{Account, UsedUp};
use super::activity::Activity;
use super::body::Stopped;
use super::turns::Turns;
use crate::impatient::is_stall;
use crate::visit::Listed;

/// So much is read at a time.
const CHUNK: usize = 16 * 1024;

/// How many steps one direction makes before the other tasks get their turn.
const TURN: usize = 16;

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Both directions have.
    Completed,
    /// One of them broke off.
    BrokeOff(io::Error),
    /// One end took nothing, or did not come, for too long.
    TimedOut(Passed),
}

/// Copies both ways until both directions have ended, or one has broken off.
pub(super) struct Carry<'a> {
    visitor: TokioIo<Upgraded>,
    local: TokioIo<Upgraded>,
    account: &'a Account,
    listed: &'a Listed,
    inward: Direction,
    outward: Direction,
    patience: Patience,
    /// Set while there is something to wait for.
    watch: Option<Box<Watch>>,
    /// What has moved since the last look.
    moved: Moved,
    /// Whose turn it is on the visitor's connection, if there are others on it.
    turns: Option<Turns>,
}

/// One way.
#[derive(Debug, Default)]
struct Direction {
    /// What has been read, and may not go on yet.
    read: Bytes,
    /// What may go on, and has not been taken yet.
    chunk: Bytes,
    /// What has been taken may be kept back.
    is_unflushed: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Copying,
    Ending,
    Ended,
}

/// Why a direction does not go on for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// Nothing to copy, or nothing that may be copied yet.
    Idle,
    /// The taker takes no more.
    Blocked,
}

impl<'a> Carry<'a> {
    /// Between these two. Of a visitor whose connection carries others too it is told what goes there.
    pub(super) fn new(
        (visitor, local): (Upgraded, Upgraded),
        (account, listed): (&'a Account, &'a Listed),
        patience: Patience,
        others: Option<Arc<Activity>>,
    ) -> Self {
        Self {
            visitor: TokioIo::new(visitor),
            local: TokioIo::new(local),
            account,
            listed,
            inward: Direction::default(),
            outward: Direction::default(),
            patience,
            watch: None,
            moved: Moved::default(),
            turns: others.map(Turns::new),
        }
    }

    /// Runs to the end. The two are there until this is dropped.
    pub(super) async fn run(&mut self) -> Ended {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let broke_off = |err| Poll::Ready(Ended::BrokeOff(err));
        let (account, listed) = (self.account, self.listed);
        let inward = self.inward.copy(
            (&mut self.visitor, &mut self.local),
            cx,
            |cx, read| {
                let passed = account.poll_inward(cx, read);
                passed.map_ok(|chunk| {
                    listed.moved_in(chunk.len());
                    chunk
                })
            },
            &mut self.moved.up,
        );
        let inward = match inward {
            Ok(pause) => pause,
            Err(err) => return broke_off(err),
        };
        let outward = self.outward.copy(
            (&mut self.local, &mut self.visitor),
            cx,
            |cx, read| {
                let passed = account.poll_outward(cx, read);
                passed.map_ok(|chunk| {
                    listed.moved_out(chunk.len());
                    chunk
                })
            },
            &mut self.moved.down,
        );
        let outward = match outward {
            Ok(pause) => pause,
            Err(err) => return broke_off(err),
        };
        let owed = match (self.inward.state, self.outward.state) {
            (State::Ended, State::Ended) => return Poll::Ready(Ended::Completed),
            (State::Ended, _) => Some(Owed::ByStream),
            (_, State::Ended) => Some(Owed::BySocket),
            _ => None,
        };
        let (up, down) = (inward == Pause::Blocked, outward == Pause::Blocked);
        self.poll_passed(cx, Waiting { up, down, owed, unwatched: false }).map(Ended::TimedOut)
    }

    fn poll_passed(&mut self, cx: &mut Context<'_>, waiting: Waiting) -> Poll<Passed> {
        let Self { watch, patience, moved, turns, .. } = self;
        if watch.is_none() {
            *moved = Moved::default();
        }
        // What others get is no excuse for an end that does not come.
        match turns {
            Some(turns) if waiting.down => turns.wait(),
            Some(turns) => turns.rest(),
            None => (),
        }
        poll_passed(watch, cx, *patience, waiting, || {
            let mut moved = std::mem::take(moved);
            if let Some(turns) = turns {
                moved.down = turns.look(moved.down, patience.stall);
            }
            moved
        })
    }
}

impl Direction {
    /// Copies until one of the two makes it wait, or `pass`, which takes of what has been read as much
    /// as may go on. `moved` learns whether any of it has been taken.
    fn copy(
        &mut self,
        (from, to): (&mut TokioIo<Upgraded>, &mut TokioIo<Upgraded>),
        cx: &mut Context<'_>,
        pass: impl Fn(&mut Context<'_>, &mut Bytes) -> Poll<Result<Bytes, UsedUp>>,
        moved: &mut bool,
    ) -> io::Result<Pause> {
        for _ in 0..TURN {
            if self.state == State::Ended {
                return Ok(Pause::Idle);
            }
            let Poll::Ready(taken) = self.poll_give(to, cx, moved) else {
                return Ok(Pause::Blocked);
            };
            taken?;
            if self.state != State::Copying {
                continue;
            }
            if self.read.is_empty() {
                let Poll::Ready(read) = poll_chunk(from, cx) else { return Ok(Pause::Idle) };
                self.read = read?;
                if self.read.is_empty() {
                    self.state = State::Ending;
                    continue;
                }
            }
            let Poll::Ready(chunk) = pass(cx, &mut self.read) else { return Ok(Pause::Idle) };
            self.chunk = chunk.map_err(|used_up| io::Error::other(Stopped::from(used_up)))?;
        }
        cx.waker().wake_by_ref();
        Ok(Pause::Idle)
    }

    /// Gives what there is to whoever takes it, the end included.
    fn poll_give(
        &mut self,
        to: &mut TokioIo<Upgraded>,
        cx: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        let mut to = Pin::new(to);
        while !self.chunk.is_empty() {
            let taken = ready!(to.as_mut().poll_write(cx, &self.chunk))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.chunk.advance(taken);
            (self.is_unflushed, *moved) = (true, true);
        }
        if self.is_unflushed {
            ready!(to.as_mut().poll_flush(cx))?;
            self.is_unflushed = false;
        }
        if self.state == State::Ending {
            ready!(to.poll_shutdown(cx))?;
            self.state = State::Ended;
        }
        Poll::Ready(Ok(()))
    }
}

impl Ended {
    /// Whether it ended because something took too long.
    pub(super) fn is_of_time(&self) -> bool {
        match self {
            Self::Completed => false,
            // The visitor's socket has a clock of its own.
            Self::BrokeOff(err) => is_stall(err),
            Self::TimedOut(_) => true,
        }
    }
}

/// Reads what there is. Nothing is kept while there is nothing: thousands wait for the next message.
fn poll_chunk(from: &mut TokioIo<Upgraded>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut space = [const { MaybeUninit::uninit() }; CHUNK];
    let mut chunk = ReadBuf::uninit(&mut space);
    ready!(Pin::new(from).poll_read(cx, &mut chunk))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(chunk.filled())))
}
