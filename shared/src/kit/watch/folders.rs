//! The folders that decide what a file holds.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tracing::warn;

/// The folders that are watched.
#[derive(Debug)]
pub(super) struct Folders {
    /// `None` where the system cannot watch.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    /// None so far.
    pub(super) fn new(watcher: Option<RecommendedWatcher>) -> Self {
        Self { watcher, watched: BTreeSet::new() }
    }

    /// Watches the folders that matter now: that of the file at `path`, and where links lead.
    pub(super) fn follow(&mut self, path: &Path) {
        self.follow_where(path, || folders(path));
    }

    /// The same for several files, of which the folder at `path` is what people know.
    pub(super) fn follow_all(&mut self, path: &Path, files: impl Fn() -> BTreeSet<PathBuf>) {
        self.follow_where(path, || files().iter().flat_map(|file| folders(file)).collect());
    }

    fn follow_where(&mut self, path: &Path, find: impl Fn() -> BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let watched = &mut self.watched;
        settle(find, |folders| {
            for gone in watched.difference(folders) {
                // It may be gone altogether, and its watch with it.
                drop(watcher.unwatch(gone));
            }
            for folder in folders {
                // Also where it is watched already: it may be another folder of the same name.
                if let Err(err) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                    warn_of(path, &err);
                }
            }
            watched.clone_from(folders);
        });
    }
}

/// Has the folders watched that `find` finds, until they are the same afterwards as before: what has
/// changed in between was seen by nobody.
fn settle(find: impl Fn() -> BTreeSet<PathBuf>, mut watch: impl FnMut(&BTreeSet<PathBuf>)) {
    let mut now = find();
    for _ in 0..MOST_ROUNDS {
        watch(&now);
        let before = std::mem::replace(&mut now, find());
        if before == now {
            break;
        }
    }
}

/// Folders that are still not the same after so many looks change all the time, and the next change
/// is noticed.
const MOST_ROUNDS: usize = 8;

/// The folders in which something decides what the file at `path`, which is absolute, holds: the
/// file itself, and each link on the way to it. Where one is not there, the next one above it.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut here = PathBuf::new();
    // The next part of the way is the last one.
    let mut ahead = parts(path);
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        here.push(&part);
        let Ok(link) = fs::read_link(&here) else { continue };
        links += 1;
        if links > MOST_LINKS {
            break;
        }
        here.pop();
        folders.insert(here.clone());
        ahead.extend(parts(&link));
    }
    let above = here.ancestors().skip(1);
    folders.extend(above.map(Path::to_owned).find(|folder| folder.is_dir()));
    folders
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// As the kernel: who has followed more links than this runs in circles.
const MOST_LINKS: usize = 40;

/// Says that the system cannot watch.
pub(super) fn warn_of(path: &Path, err: &notify::Error) {
    warn!("changes of {} are only noticed at SIGHUP: {err}", path.display());
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::tests::new_path;
    use super::*;

    #[test]
    fn what_changes_while_folders_are_being_watched_is_watched_too() {
        let watched = new_path();
        let path = watched.join("sub/client.toml");
        let mut steps = [watched.clone(), watched.join("sub")].into_iter();
        let mut seen = Vec::new();
        let find = || folders(&path);
        settle(find, |folders| {
            seen.push(folders.clone());
            if let Some(step) = steps.next() {
                fs::create_dir(step).unwrap();
            }
        });
        fs::remove_dir_all(&watched).unwrap();
        let folders = [std::env::temp_dir(), watched.clone(), watched.join("sub")];
        assert_eq!(seen, folders.map(|folder| BTreeSet::from([folder])));
    }

    #[test]
    fn folders_that_never_settle_are_left_alone() {
        let mut rounds = 0;
        let watched = new_path();
        let path = watched.join("client.toml");
        let find = || folders(&path);
        settle(find, |_| {
            rounds += 1;
            match rounds % 2 {
                1 => fs::create_dir(&watched).unwrap(),
                _ => fs::remove_dir(&watched).unwrap(),
            }
        });
        assert_eq!(rounds, MOST_ROUNDS);
    }

    #[test]
    fn links_in_a_circle_are_left_alone() {
        let watched = new_path();
        symlink(&watched, &watched).unwrap();
        let folders = folders(&watched);
        fs::remove_file(&watched).unwrap();
        assert!(folders.contains(&std::env::temp_dir()), "{folders:?}");
    }
}
