//! `client apply` on a system without Unix sockets: a running client cannot be asked.

use std::io;
use std::path::{Path, PathBuf};

/// What a running client would answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What would change, a line each.
    Differences(String),
    /// What is wrong with its file.
    Bad(String),
}

/// Where a running client would be asked: there is no such place.
#[derive(Debug)]
pub(super) enum Socket {}

/// Somebody who would wait for an answer.
#[derive(Debug)]
pub(super) enum Question {}

impl Socket {
    /// There is none.
    pub(super) fn bind(_: &Path) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Nobody asks.
    pub(super) async fn asked(&self) -> Question {
        match *self {}
    }
}

impl Question {
    /// Nobody asks.
    pub(super) async fn file(&mut self) -> io::Result<PathBuf> {
        match *self {}
    }

    /// Nobody is answered.
    pub(super) async fn answer(self, _: &Answer) {
        match self {}
    }
}

/// # Errors
///
/// Always: it cannot be asked.
pub fn ask(_: &Path, _: &Path) -> io::Result<Answer> {
    Err(io::ErrorKind::Unsupported.into())
}
