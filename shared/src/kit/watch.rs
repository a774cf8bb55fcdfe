//! A file that may change while the process runs.
//!
//! What is watched is the folder and not the file: an editor replaces a file by another one of its
//! name, and Kubernetes swaps a link to the folder that holds it. Either way the old file, and with
//! it a watch of it, is gone. A folder further up that is swapped is not noticed, unless a link
//! leads through it. Where the system cannot watch, looking is what is left.

mod folders;
mod tree;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::folders::{Folders, warn_of};
use super::small_file;

pub use self::tree::{MOST_ENTRIES, WatchTree};

/// A file counts as written when its folder has been quiet for this long: whoever writes in place
/// does so in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// A folder that is never quiet is looked at this long after its first event.
const LONGEST: Duration = Duration::from_secs(2);

/// So much of a file is compared: whoever reads files that are watched refuses larger ones.
const COMPARED: u64 = 1024 * 1024 + 1;

/// Tells when a file has changed.
#[derive(Debug)]
pub struct Watch {
    stir: Stir,
    /// What was there when somebody last looked.
    seen: Seen,
}

/// Tells when something happens around a path, and ceases to.
#[derive(Debug)]
struct Stir {
    path: PathBuf,
    events: Arc<Notify>,
    /// Locked only on threads that may wait for a disk.
    folders: Arc<Mutex<Folders>>,
    /// Something has happened, and nobody has looked yet.
    stirred: Option<Stirred>,
}

/// What has the name of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// Something that cannot be read, or is no file.
    NoFile,
    Held(Vec<u8>),
}

/// When something has happened in a folder.
#[derive(Clone, Copy, Debug)]
struct Stirred {
    first: Instant,
    last: Instant,
}

impl Watch {
    /// Watches the file at `path`, whether it is there or not, from the first
    /// [`look`](Self::look) on.
    ///
    /// # Errors
    ///
    /// `path` is empty, or the process is in a folder that is gone.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { stir: Stir::new(path)?, seen: Seen::Nothing })
    }

    /// Waits until the file holds something else than when somebody last looked, is there again, or
    /// is gone. Has to be called within a tokio runtime.
    ///
    /// Cancel-safe: what has happened is not forgotten.
    pub async fn changed(&mut self) {
        loop {
            self.stir.settled().await;
            if self.look().await {
                return;
            }
        }
    }

    /// Looks at the file now. Whether it holds something else than the last time. Has to be called
    /// within a tokio runtime.
    ///
    /// Cancel-safe: then nobody has looked.
    pub async fn look(&mut self) -> bool {
        let (path, folders) = (self.stir.path.clone(), Arc::clone(&self.stir.folders));
        // Not on the thread that moves data: the file may be far away.
        let looked = tokio::task::spawn_blocking(move || {
            folders.lock().follow(&path);
            Seen::at(&path)
        });
        let seen = looked.await.unwrap_or(Seen::NoFile);
        self.stir.stirred = None;
        std::mem::replace(&mut self.seen, seen) != self.seen
    }

    /// Whether something had the file's name when somebody last looked, be it a file or not.
    pub fn is_there(&self) -> bool {
        self.seen != Seen::Nothing
    }
}

impl Stir {
    fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let events = Arc::new(Notify::new());
        let stir = Arc::clone(&events);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                stir.notify_one();
            }
        });
        let watcher = watcher.inspect_err(|err| warn_of(&path, err)).ok();
        let folders = Arc::new(Mutex::new(Folders::new(watcher)));
        Ok(Self { path, events, folders, stirred: None })
    }

    /// Waits until something has happened, and nothing more happens for a moment. It counts as not
    /// looked at.
    ///
    /// Cancel-safe: what has happened is not forgotten.
    async fn settled(&mut self) {
        loop {
            let quiet = quiet(self.stirred);
            tokio::select! {
                biased;
                () = self.events.notified() => {
                    let now = Instant::now();
                    let first = self.stirred.map_or(now, |stirred| stirred.first);
                    self.stirred = Some(Stirred { first, last: now });
                }
                () = quiet => return,
            }
        }
    }
}

impl Seen {
    /// A pipe in the file's place is not read: what comes through it is for somebody else.
    fn at(path: &Path) -> Self {
        match small_file::look(path, COMPARED) {
            Ok(bytes) => Self::Held(bytes),
            Err(err) if err.kind() == ErrorKind::NotFound => Self::Nothing,
            Err(_) => Self::NoFile,
        }
    }
}

/// Waits until one of several files has changed, as [`Watch::changed`] does. Without any it waits for
/// ever.
///
/// Cancel-safe: what has happened is not forgotten.
pub async fn any_changed(watches: &mut [Watch]) {
    if watches.is_empty() {
        return std::future::pending().await;
    }
    select_all(watches.iter_mut().map(|watch| Box::pin(watch.changed()))).await;
}

/// Waits until the folder has been quiet for long enough. Without anything that has happened it
/// waits for ever.
async fn quiet(stirred: Option<Stirred>) {
    match stirred {
        Some(Stirred { first, last }) => sleep_until((last + QUIET).min(first + LONGEST)).await,
        None => std::future::pending().await,
    }
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
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::timeout;

    use super::*;

    /// A path in the folder for passing files that no other test has.
    pub(super) fn new_path() -> PathBuf {
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
        async fn new(prepare: impl FnOnce(&Path)) -> Self {
            let folder = new_path();
            fs::create_dir(&folder).unwrap();
            prepare(&folder);
            let mut watch = Watch::new(&folder.join("client.toml")).unwrap();
            watch.look().await;
            Self { folder, watch }
        }

        fn file(&self, name: &str) -> PathBuf {
            self.folder.join(name)
        }

        async fn changes(&mut self, how: &str) {
            let changed = timeout(Duration::from_secs(10), self.watch.changed());
            changed.await.expect(how);
        }

        /// That nothing has happened so far: a change that comes now is the next one.
        async fn next_change_is(&mut self, text: &str) {
            fs::write(self.file("client.toml"), text).unwrap();
            self.changes(text).await;
            assert_eq!(self.watch.seen, Seen::Held(text.into()));
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
        let mut watched = Watched::new(one).await;
        watched.next_change_is("two").await;
        watched.next_change_is("three").await;
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_noticed_each_time() {
        let mut watched = Watched::new(one).await;
        for text in ["two", "three", "four"] {
            fs::write(watched.file("new"), text).unwrap();
            fs::rename(watched.file("new"), watched.file("client.toml")).unwrap();
            watched.changes(text).await;
        }
    }

    #[tokio::test]
    async fn a_file_that_goes_and_comes_back_is_noticed() {
        let mut watched = Watched::new(one).await;
        fs::remove_file(watched.file("client.toml")).unwrap();
        watched.changes("gone").await;
        watched.next_change_is("two").await;
    }

    #[tokio::test]
    async fn a_file_that_was_never_there_is_noticed_when_it_comes() {
        let mut watched = Watched::new(|_| ()).await;
        watched.next_change_is("one").await;
    }

    #[tokio::test]
    async fn a_folder_that_goes_and_comes_back_is_noticed() {
        let mut watched = Watched::new(one).await;
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
        })
        .await;
        for (before, name) in [("..1", "..2"), ("..2", "..3")] {
            version(&watched.folder, name);
            symlink(name, watched.file("..new")).unwrap();
            fs::rename(watched.file("..new"), watched.file("..data")).unwrap();
            watched.changes(name).await;
            fs::remove_dir_all(watched.file(before)).unwrap();
            assert_eq!(watched.watch.seen, Seen::Held(name.into()));
        }
    }

    #[tokio::test]
    async fn a_link_to_another_folder_is_followed_there() {
        let mut watched = Watched::new(|folder| {
            fs::create_dir(folder.join("elsewhere")).unwrap();
            fs::write(folder.join("elsewhere/real.toml"), "one").unwrap();
            symlink("elsewhere/real.toml", folder.join("client.toml")).unwrap();
        })
        .await;
        fs::write(watched.file("elsewhere/real.toml"), "two").unwrap();
        watched.changes("two").await;
    }

    #[tokio::test]
    async fn nothing_is_told_when_nothing_has_changed() {
        let mut watched = Watched::new(one).await;
        fs::write(watched.file("client.toml"), "one").unwrap();
        fs::write(watched.file("neighbour.toml"), "two").unwrap();
        fs::read(watched.file("client.toml")).unwrap();
        let told = timeout(QUIET * 3, watched.watch.changed()).await;
        assert!(told.is_err(), "{told:?}");
        watched.next_change_is("two").await;
    }

    #[tokio::test]
    async fn a_pipe_in_the_files_place_stops_nothing_and_is_noticed() {
        let mut watched = Watched::new(one).await;
        let (path, new) = (watched.file("client.toml"), watched.file("new"));
        assert!(Command::new("mkfifo").arg(&new).status().unwrap().success());
        fs::rename(&new, &path).unwrap();
        watched.changes("a pipe").await;
        assert!(watched.watch.is_there());
        fs::write(&new, "two").unwrap();
        fs::rename(&new, &path).unwrap();
        watched.changes("two").await;
        assert_eq!(watched.watch.seen, Seen::Held("two".into()));
    }

    #[tokio::test]
    async fn a_file_without_an_end_is_not_kept() {
        let mut watched = Watched::new(one).await;
        let (path, new) = (watched.file("client.toml"), watched.file("new"));
        symlink("/dev/zero", &new).unwrap();
        fs::rename(&new, &path).unwrap();
        watched.changes("endless").await;
        assert_eq!(watched.watch.seen, Seen::NoFile);
        fs::File::create(&new).unwrap().set_len(COMPARED * 4).unwrap();
        fs::rename(&new, &path).unwrap();
        watched.changes("large").await;
        assert_eq!(watched.watch.seen, Seen::Held(vec![0; COMPARED as usize]));
    }

    /// Whoever waits for a change goes on meanwhile, also after it has stopped waiting once.
    #[tokio::test]
    async fn a_folder_that_is_far_away_holds_nobody_up() {
        let mut watched = Watched::new(one).await;
        let (arrived, here) = std::sync::mpsc::channel::<()>();
        let folders = Arc::clone(&watched.watch.stir.folders);
        let (locked, is_locked) = tokio::sync::oneshot::channel();
        let far_away = std::thread::spawn(move || {
            let _far_away = folders.lock();
            locked.send(()).unwrap();
            here.recv().unwrap();
        });
        is_locked.await.unwrap();
        fs::write(watched.file("client.toml"), "two").unwrap();
        for _ in 0..2 {
            let looked = timeout(Duration::from_millis(10), watched.watch.look()).await;
            assert!(looked.is_err(), "{looked:?}");
        }
        arrived.send(()).unwrap();
        far_away.join().unwrap();
        watched.changes("two").await;
        watched.next_change_is("three").await;
    }
}
