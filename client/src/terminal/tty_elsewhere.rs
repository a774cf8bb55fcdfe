//! Where terminals are none of Unix, nothing is drawn.

use std::convert::Infallible;
use std::fs::File;
use std::future::pending;
use std::io;

use super::lines::Size;

/// None that could be drawn on.
pub(super) fn stdout() -> Option<File> {
    None
}

pub(super) fn is_stderr(_tty: &File) -> bool {
    false
}

pub(super) fn size(_tty: &File) -> Size {
    Size::new(0, 0)
}

pub(super) fn is_in_front(_tty: &File) -> bool {
    false
}

/// What a terminal wants of whoever draws on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Draw anew.
    Draw,
    /// Erase, and [`suspend`].
    Suspend,
}

/// There are none.
#[derive(Debug)]
pub(super) struct Wishes;

impl Wishes {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for ever.
    pub(super) async fn next(&mut self) -> Wish {
        match pending::<Infallible>().await {}
    }
}

/// There is nothing to wait for.
pub(super) fn suspend() {}
