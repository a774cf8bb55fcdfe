//! From the arguments of a process to its settings, once at the start and again at every reload.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Command;

use super::file::File;
use super::merge::{Merged, NotMerged, merge};
use crate::kit::logging;

/// What a program accepts.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// The arguments. Among them has to be [`CONFIG`], which names the file.
    pub command: fn() -> Command,
    /// The groups of sections that the file may have.
    pub groups: &'static [&'static str],
    /// The flags, without dashes, that are no keys of the file; [`CONFIG`] is none anyway.
    pub not_in_files: &'static [&'static str],
}

/// The flag, without dashes, that names the file.
pub const CONFIG: &str = "config";

/// The key of the filter of the log.
const LOG: &str = "log";

/// Loads the settings of a process, as often as one likes.
#[derive(Clone, Debug)]
pub struct Loader {
    accepted: Accepted,
    args: Vec<OsString>,
    path: Option<PathBuf>,
}

impl Loader {
    /// For a process that was started with `args`, its name among them. Without a file in the
    /// arguments or the environment it is the one at `otherwise`, if there is one now.
    ///
    /// # Errors
    ///
    /// What is wrong with the arguments or the environment; also that help or the version is
    /// wanted.
    pub fn new(
        accepted: Accepted,
        args: Vec<OsString>,
        otherwise: Option<PathBuf>,
    ) -> Result<Self, clap::Error> {
        let matches = (accepted.command)().try_get_matches_from(&args)?;
        let named = matches.get_one::<PathBuf>(CONFIG).cloned();
        let path = named.or_else(|| otherwise.filter(|path| path.exists()));
        Ok(Self { accepted, args, path })
    }

    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// For the same process with another file.
    #[must_use]
    pub fn with_path(self, path: PathBuf) -> Self {
        Self { path: Some(path), ..self }
    }

    /// The settings as they are now, and the file that they come from.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, the arguments or the environment.
    pub fn load(&self) -> Result<(Merged, Option<File>), NotMerged> {
        let Accepted { command, groups, not_in_files } = self.accepted;
        let file = self.path.as_deref().map(|path| File::read(path, groups)).transpose();
        let file = file.map_err(NotMerged::File)?;
        let not_in_files = [not_in_files, &[CONFIG]].concat();
        let mut merged = merge(command(), &self.args, file.as_ref(), &not_in_files)?;
        if logging::rust_log().is_some() {
            merged.default_from(LOG, logging::RUST_LOG);
        }
        Ok((merged, file))
    }
}
