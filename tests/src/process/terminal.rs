//! A terminal with a program in it, as a person sees it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use vt100::Parser;

use crate::tasks::Tasks;
use crate::wait::within;

/// A pseudo terminal, read all the time by something that draws what a terminal would show.
pub struct Terminal {
    ours: File,
    shown: watch::Receiver<Parser>,
    _reader: Tasks,
}

/// A new pseudo terminal: our end, and that of a program.
pub(super) fn pair() -> (OwnedFd, File) {
    // Closed in the program, which would keep it open otherwise.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).expect("a terminal");
    unlockpt(&ours).expect("a terminal of ours");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let name = OsStr::from_bytes(name.as_bytes());
    // Not the terminal of this process.
    let theirs = rustix::fs::open(
        name,
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    (ours, File::from(theirs.expect("its other end")))
}

impl Terminal {
    /// A terminal of so many columns and rows, and its other end.
    pub(super) fn open(columns: u16, rows: u16) -> (Self, File) {
        let (ours, theirs) = pair();
        resize(&ours, columns, rows);
        rustix::io::ioctl_fionbio(&ours, true).expect("an end that does not wait");
        let ours = File::from(ours);
        let (sender, shown) = watch::channel(screen(columns, rows));
        let reading = ours.try_clone().expect("the same end once more");
        // Waited for as a pipe is, although it is none.
        let mut reading = Receiver::from_file_unchecked(reading).expect("a runtime");
        let mut reader = Tasks::new();
        reader.spawn(async move {
            let mut bytes = [0; 4096];
            // It fails when the last program has closed its end.
            while let Ok(n @ 1..) = reading.read(&mut bytes).await {
                sender.send_modify(|screen| screen.process(&bytes[..n]));
            }
        });
        (Self { ours, shown, _reader: reader }, theirs)
    }

    /// Types `text`: `\x03` is Ctrl-C.
    pub fn types(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).expect("room for what is typed");
    }

    /// Has another size from now on. What has been drawn stays where it is.
    pub fn resize(&self, columns: u16, rows: u16) {
        resize(&self.ours, columns, rows);
    }

    /// The rows that are to be seen, without those at the end that are empty.
    pub fn rows(&self) -> Vec<String> {
        rows(&self.shown.borrow())
    }

    /// The row that the cursor is in, and its column.
    pub fn cursor(&self) -> (usize, usize) {
        let (row, column) = self.shown.borrow().screen().cursor_position();
        (row.into(), column.into())
    }

    /// Waits until `holds` is true of the rows that are to be seen. Returns them.
    pub async fn shows(&self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut shown = self.shown.clone();
        let found = within(what, shown.wait_for(|screen| holds(&rows(screen))));
        let screen = found.await;
        let Ok(screen) = screen else {
            panic!("the program ended without {what}: {:#?}", self.rows())
        };
        rows(&screen)
    }
}

fn resize(tty: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(tty, size).expect("a size");
}

fn screen(columns: u16, rows: u16) -> Parser {
    let size = |size| NonZero::new(size).expect("a terminal that is not empty");
    Parser::new(size(rows), size(columns), 0)
}

fn rows(screen: &Parser) -> Vec<String> {
    let columns = screen.screen().size().1;
    let mut rows: Vec<_> =
        screen.screen().rows(0, columns.into()).map(|row| row.trim_end().to_owned()).collect();
    while rows.last().is_some_and(String::is_empty) {
        rows.pop();
    }
    rows
}
