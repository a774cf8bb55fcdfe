//! From the arguments of a process to its settings, once at the start and again at every reload.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Command;

use super::file::File;
use super::merge::{Merged, NotMerged, merge};
use super::problems::Problems;
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
    /// Whether somebody has named the file: then it has to be there.
    is_named: bool,
    /// Whether a file was loaded that had something in it. If it is gone or empty later, that is
    /// hardly meant, and would close every tunnel. All clones know.
    has_held: Arc<AtomicBool>,
}

impl Loader {
    /// For a process that was started with `args`, its name among them. Without a file in the
    /// arguments or the environment it is the one at `otherwise`, whenever that is there.
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
        let is_named = named.is_some();
        let path = named.or(otherwise);
        Ok(Self { accepted, args, path, is_named, has_held: Arc::default() })
    }

    /// Where the file is, or would be looked for. `None` if there is no such place.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// For the same process as it is now, with another file.
    #[must_use]
    pub fn with_path(self, path: PathBuf) -> Self {
        let is_named = self.is_named || self.path.as_ref() != Some(&path);
        let has_held = Arc::new(AtomicBool::new(self.has_held()));
        Self { path: Some(path), is_named, has_held, ..self }
    }

    /// The settings as they are now, and the file that they come from.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, the arguments or the environment. It is also wrong if the file
    /// is gone or empty and had something in it when it was loaded before.
    pub fn load(&self) -> Result<(Merged, Option<File>), NotMerged> {
        let Accepted { command, groups: _, not_in_files } = self.accepted;
        let file = self.file().map_err(NotMerged::File)?;
        let not_in_files = [not_in_files, &[CONFIG]].concat();
        let mut merged = merge(command(), &self.args, file.as_ref(), &not_in_files)?;
        if logging::rust_log().is_some() {
            merged.default_from(LOG, logging::RUST_LOG);
        }
        if file.as_ref().is_some_and(|file| !file.is_blank) {
            self.has_held.store(true, Ordering::Relaxed);
        }
        Ok((merged, file))
    }

    /// Whether it is a mistake if the file is not there.
    pub(in crate::kit) fn needs_file(&self) -> bool {
        self.is_named || self.has_held()
    }

    fn file(&self) -> Result<Option<File>, Problems> {
        let there = self.path().filter(|path| self.needs_file() || path.exists());
        let Some(path) = there else { return Ok(None) };
        let file = File::read(path, self.accepted.groups)?;
        if file.is_blank && self.has_held() {
            return Err(Problems::whole(path, EMPTY));
        }
        Ok(Some(file))
    }

    fn has_held(&self) -> bool {
        self.has_held.load(Ordering::Relaxed)
    }
}

/// What is said to a file that has become empty.
const EMPTY: &str = "it is empty; with a comment in it, everything would be as by default";

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Arg;

    use super::*;

    fn command() -> Command {
        let setting = |name: &'static str| Arg::new(name).long(name).env("SALLYPORT_NOT_SET");
        let path = setting(CONFIG).value_parser(clap::value_parser!(PathBuf));
        Command::new("program").arg(path).arg(setting("count").default_value("1"))
    }

    /// A loader of a process with `args` that looks for its file at `otherwise`.
    fn loader(args: &[&str], otherwise: &Path) -> Loader {
        let accepted = Accepted { command, groups: &[], not_in_files: &[] };
        let args = [&["program"], args].concat().iter().map(Into::into).collect();
        Loader::new(accepted, args, Some(otherwise.to_owned())).unwrap()
    }

    /// What the setting is, or what is wrong with the file.
    fn count(loader: &Loader) -> Result<String, String> {
        let (merged, _) = loader.load().map_err(|err| err.to_string())?;
        Ok(merged.matches.get_one::<String>("count").unwrap().clone())
    }

    /// A path that no other test has.
    fn new_path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("sallyport-loader-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_file_in_its_usual_place_may_come_late_but_neither_go_nor_become_empty() {
        let path = new_path("usual");
        let loader = loader(&[], &path);
        assert_eq!(count(&loader).unwrap(), "1");
        fs::write(&path, "").unwrap();
        assert_eq!(count(&loader).unwrap(), "1");
        fs::write(&path, "count = 2\n").unwrap();
        assert_eq!(count(&loader).unwrap(), "2");
        fs::write(&path, " \n").unwrap();
        assert!(count(&loader).unwrap_err().contains("it is empty"));
        fs::write(&path, "# as by default\n").unwrap();
        assert_eq!(count(&loader).unwrap(), "1");
        fs::remove_file(&path).unwrap();
        assert!(count(&loader).unwrap_err().contains("cannot read it"));
    }

    #[test]
    fn a_file_that_was_named_has_to_be_there() {
        let path = new_path("named");
        let named = loader(&["--config", path.to_str().unwrap()], Path::new("/"));
        assert!(count(&named).unwrap_err().contains("cannot read it"));
        fs::write(&path, "").unwrap();
        assert_eq!(count(&named).unwrap(), "1");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn trying_another_file_changes_nothing_for_the_own_one() {
        let (usual, other) = (new_path("own"), new_path("other"));
        let own = loader(&[], &usual);
        let tried = own.clone().with_path(other.clone());
        assert!(count(&tried).unwrap_err().contains("cannot read it"));
        fs::write(&other, "count = 2\n").unwrap();
        assert_eq!(count(&tried).unwrap(), "2");
        fs::remove_file(&other).unwrap();
        assert_eq!(count(&own).unwrap(), "1");
        assert_eq!(count(&own.clone().with_path(usual)).unwrap(), "1");
    }
}
