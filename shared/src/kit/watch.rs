//! A file that may change while the process runs.
//!
//! What is watched is the folder and not the file: an editor replaces a file by another one of its
//! name, and Kubernetes swaps a link to the folder that holds it. Either way the old file, and with
//! it a watch of it, is gone. Where the system cannot watch, SIGHUP is what is left.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::kit::signals::Hangup;

/// A file counts as written when its folder has been quiet for this long: whoever writes in place
/// does so in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// A folder that is never quiet is looked at this long after its first event.
const LONGEST: Duration = Duration::from_secs(2);

/// Tells when a file may have changed.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    hangup: Hangup,
    events: Arc<Notify>,
    /// `None` where the system cannot watch.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    /// What the file held when somebody was last told, `None` if it could not be read.
    seen: Option<Vec<u8>>,
    /// Something has happened in its folder, and nobody has looked yet.
    stirred: Option<Stirred>,
    /// SIGHUP has come, and nobody has been told yet.
    hung_up: bool,
}

/// When something has happened in a folder.
#[derive(Clone, Copy, Debug)]
struct Stirred {
    first: Instant,
    last: Instant,
}

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP: whatever has changed, also what the file refers to.
    Hangup,
    /// The file holds something else than before, is there again, or is gone.
    File,
}

impl Watch {
    /// Watches the file at `path`, whether it is there or not. From this call on SIGHUP does not
    /// end the process.
    ///
    /// # Errors
    ///
    /// The system does not let the process handle signals.
    pub fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let hangup = Hangup::take_over()?;
        let stir = Arc::new(Notify::new());
        let events = Arc::clone(&stir);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                stir.notify_one();
            }
        });
        let watcher = watcher.inspect_err(|err| warn_of(&path, err)).ok();
        let seen = fs::read(&path).ok();
        let mut watch = Self {
            path,
            hangup,
            events,
            watcher,
            folders: BTreeSet::new(),
            seen,
            stirred: None,
            hung_up: false,
        };
        watch.follow();
        Ok(watch)
    }

    /// Waits until the file has changed, or SIGHUP has come. Has to be called within a tokio
    /// runtime.
    ///
    /// Cancel-safe: what has happened is not forgotten.
    pub async fn changed(&mut self) -> Cause {
        loop {
            if self.hung_up {
                self.look().await;
                self.hung_up = false;
                return Cause::Hangup;
            }
            let quiet = quiet(self.stirred);
            tokio::select! {
                biased;
                () = self.hangup.next() => self.hung_up = true,
                () = self.events.notified() => {
                    let now = Instant::now();
                    let first = self.stirred.map_or(now, |stirred| stirred.first);
                    self.stirred = Some(Stirred { first, last: now });
                }
                () = quiet => {
                    if self.look().await {
                        return Cause::File;
                    }
                }
            }
        }
    }

    /// Whether the file holds something else than it did.
    async fn look(&mut self) -> bool {
        self.follow();
        let path = self.path.clone();
        // Not on the thread that moves data: the file may be far away.
        let read = tokio::task::spawn_blocking(move || fs::read(path).ok());
        let held = read.await.ok().flatten();
        self.stirred = None;
        std::mem::replace(&mut self.seen, held) != self.seen
    }

    /// Watches the folders that matter now: the file's own, and where links lead.
    fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let folders = folders(&self.path);
        for gone in self.folders.difference(&folders) {
            // It may be gone altogether, and its watch with it.
            drop(watcher.unwatch(gone));
        }
        for folder in &folders {
            // Again also where it is watched already: it may be another folder of the same name.
            if let Err(err) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                warn_of(&self.path, &err);
            }
        }
        self.folders = folders;
    }
}

/// Waits until the folder has been quiet for long enough. Without anything that has happened it
/// waits for ever.
async fn quiet(stirred: Option<Stirred>) {
    match stirred {
        Some(Stirred { first, last }) => sleep_until((last + QUIET).min(first + LONGEST)).await,
        None => std::future::pending().await,
    }
}

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

fn warn_of(path: &Path, err: &notify::Error) {
    warn!("changes of {} are only noticed at SIGHUP: {err}", path.display());
}

/// Whether the event can mean that a file holds something else. Our own reading is an event too.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::timeout;

    use super::*;

    /// A path in the folder for passing files that no other test has.
    fn new_path() -> PathBuf {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("sallyport-watch-{}-{number}", std::process::id()))
    }

    /// A folder that is removed with the test, and a watch of `client.toml` in it.
    struct Watched {
        folder: PathBuf,
        watch: Watch,
    }

    impl Watched {
        /// After `prepare` has put something into the folder.
        fn new(prepare: impl FnOnce(&Path)) -> Self {
            let folder = new_path();
            fs::create_dir(&folder).unwrap();
            prepare(&folder);
            let watch = Watch::new(&folder.join("client.toml")).unwrap();
            Self { folder, watch }
        }

        fn file(&self, name: &str) -> PathBuf {
            self.folder.join(name)
        }

        async fn changes(&mut self, how: &str) {
            let changed = timeout(Duration::from_secs(10), self.watch.changed());
            assert_eq!(changed.await.expect(how), Cause::File, "{how}");
        }

        /// That nothing has happened so far: a change that comes now is the next one.
        async fn next_change_is(&mut self, text: &str) {
            fs::write(self.file("client.toml"), text).unwrap();
            self.changes(text).await;
            assert_eq!(self.watch.seen.as_deref(), Some(text.as_bytes()));
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.folder));
        }
    }

    fn one(folder: &Path) {
        fs::write(folder.join("client.toml"), "one").unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_written_again_is_noticed() {
        let mut watched = Watched::new(one);
        watched.next_change_is("two").await;
        watched.next_change_is("three").await;
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_noticed_each_time() {
        let mut watched = Watched::new(one);
        for text in ["two", "three", "four"] {
            fs::write(watched.file("new"), text).unwrap();
            fs::rename(watched.file("new"), watched.file("client.toml")).unwrap();
            watched.changes(text).await;
        }
    }

    #[tokio::test]
    async fn a_file_that_goes_and_comes_back_is_noticed() {
        let mut watched = Watched::new(one);
        fs::remove_file(watched.file("client.toml")).unwrap();
        watched.changes("gone").await;
        watched.next_change_is("two").await;
    }

    #[tokio::test]
    async fn a_file_that_was_never_there_is_noticed_when_it_comes() {
        let mut watched = Watched::new(|_| ());
        watched.next_change_is("one").await;
    }

    #[tokio::test]
    async fn a_folder_that_goes_and_comes_back_is_noticed() {
        let mut watched = Watched::new(one);
        fs::remove_dir_all(&watched.folder).unwrap();
        watched.changes("gone").await;
        fs::create_dir(&watched.folder).unwrap();
        watched.next_change_is("two").await;
        watched.next_change_is("three").await;
    }

    /// As Kubernetes does it: `client.toml` leads through `..data`, which leads to a folder.
    #[tokio::test]
    async fn a_link_that_is_swapped_is_noticed_each_time() {
        let version = |folder: &Path, name: &str| {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("client.toml"), name).unwrap();
        };
        let mut watched = Watched::new(|folder| {
            version(folder, "..1");
            symlink("..1", folder.join("..data")).unwrap();
            symlink("..data/client.toml", folder.join("client.toml")).unwrap();
        });
        for (before, name) in [("..1", "..2"), ("..2", "..3")] {
            version(&watched.folder, name);
            symlink(name, watched.file("..new")).unwrap();
            fs::rename(watched.file("..new"), watched.file("..data")).unwrap();
            watched.changes(name).await;
            fs::remove_dir_all(watched.file(before)).unwrap();
            assert_eq!(watched.watch.seen.as_deref(), Some(name.as_bytes()));
        }
    }

    #[tokio::test]
    async fn a_link_to_another_folder_is_followed_there() {
        let mut watched = Watched::new(|folder| {
            fs::create_dir(folder.join("elsewhere")).unwrap();
            fs::write(folder.join("elsewhere/real.toml"), "one").unwrap();
            symlink("elsewhere/real.toml", folder.join("client.toml")).unwrap();
        });
        fs::write(watched.file("elsewhere/real.toml"), "two").unwrap();
        watched.changes("two").await;
    }

    #[tokio::test]
    async fn nothing_is_told_when_nothing_has_changed() {
        let mut watched = Watched::new(one);
        fs::write(watched.file("client.toml"), "one").unwrap();
        fs::write(watched.file("neighbour.toml"), "two").unwrap();
        fs::read(watched.file("client.toml")).unwrap();
        let told = timeout(QUIET * 3, watched.watch.changed()).await;
        assert!(told.is_err(), "{told:?}");
        watched.next_change_is("two").await;
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
