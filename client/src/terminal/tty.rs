//! What a system says of its terminals.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::fstat;
use rustix::process::{Pid, Signal, getpgrp, getpid, getsid, kill_process};
use rustix::termios::{tcgetpgrp, tcgetwinsize};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use super::lines::Size;

/// Stdout, if it is a terminal.
pub(super) fn stdout() -> Option<File> {
    let stdout = io::stdout();
    let fd = stdout.is_terminal().then(|| stdout.as_fd().try_clone_to_owned())?;
    fd.ok().map(File::from)
}

/// Whether stderr is this terminal too.
pub(super) fn is_stderr(tty: &File) -> bool {
    let device = |fd: BorrowedFd<'_>| fstat(fd).ok().map(|stat| stat.st_rdev);
    let stderr = io::stderr();
    stderr.is_terminal() && device(stderr.as_fd()) == device(tty.as_fd())
}

pub(super) fn size(tty: &File) -> Size {
    let (columns, rows) = tcgetwinsize(tty).map_or((0, 0), |size| (size.ws_col, size.ws_row));
    Size::new(columns, rows)
}

/// Whether this program runs in front, as far as its terminal has such a thing.
pub(super) fn is_in_front(tty: &File) -> bool {
    tcgetpgrp(tty).map_or(true, |front| front == getpgrp())
}

/// What a terminal wants of whoever draws on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Draw anew: it is of another size, or back from another program.
    Draw,
    /// Erase, and [`suspend`].
    Suspend,
}

/// Signals of a terminal.
#[derive(Debug)]
pub(super) struct Wishes {
    resized: tokio::signal::unix::Signal,
    continued: tokio::signal::unix::Signal,
    /// Taken over only where there is a shell that can let the program go on. Elsewhere the system
    /// ignores it.
    suspended: Option<tokio::signal::unix::Signal>,
}

impl Wishes {
    /// Takes the signals over.
    pub(super) fn new() -> io::Result<Self> {
        let of = |which: Signal| signal(SignalKind::from_raw(which.as_raw()));
        // A group that has its session's leader in it was not made by a shell for a job.
        let is_job = getsid(None).is_ok_and(|session: Pid| session != getpgrp());
        Ok(Self {
            resized: of(Signal::WINCH)?,
            continued: of(Signal::CONT)?,
            suspended: is_job.then(|| of(Signal::TSTP)).transpose()?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Wish {
        let Self { resized, continued, suspended } = self;
        let suspended = async {
            match suspended {
                Some(suspended) => suspended.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = resized.recv() => Wish::Draw,
            _ = continued.recv() => Wish::Draw,
            _ = suspended => Wish::Suspend,
        }
    }
}

/// Stops this process until a shell lets it go on.
pub(super) fn suspend() {
    if let Err(err) = kill_process(getpid(), Signal::STOP) {
        warn!("cannot be suspended: {err}");
    }
}
