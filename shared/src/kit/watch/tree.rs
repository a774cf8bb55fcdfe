//! A folder of files that may change while the process runs, such as one of certificates.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Stir;

/// The most entries of one folder that are looked at: whatever is in there, looking ends.
pub const MOST_ENTRIES: usize = 10_000;

/// Tells when something may have changed in a folder, in the folders in it, or where links in either
/// lead. What has changed whoever asks finds out by reading.
#[derive(Debug)]
pub struct WatchTree(Stir);

impl WatchTree {
    /// Watches the folder at `path`, whether it is there or not, from the first
    /// [`look`](Self::look) on.
    ///
    /// # Errors
    ///
    /// `path` is empty, or the process is in a folder that is gone.
    pub fn new(path: &Path) -> io::Result<Self> {
        Stir::new(path).map(Self)
    }

    /// Waits until something has happened, and nothing more happens for a moment. Has to be called
    /// within a tokio runtime.
    ///
    /// Cancel-safe: what has happened is not forgotten.
    pub async fn changed(&mut self) {
        self.0.settled().await;
        self.0.stirred = None;
    }

    /// Looks where what is in the folder comes from now. What happens there from then on is noticed,
    /// so whoever reads does so afterwards. Has to be called within a tokio runtime.
    pub async fn look(&mut self) {
        let (path, folders) = (self.0.path.clone(), Arc::clone(&self.0.folders));
        // Not on the thread that moves data: the folder may be far away. A panic has been logged.
        let look = move || folders.lock().follow_all(&path, || entries(&path));
        drop(tokio::task::spawn_blocking(look).await);
    }
}

/// What is in the folder at `path`, and in the folders in it.
fn entries(path: &Path) -> BTreeSet<PathBuf> {
    // Not there itself, it stands for whatever may come into the folder.
    let mut all = BTreeSet::from([path.join("new")]);
    for entry in in_folder(path) {
        if entry.is_dir() {
            all.insert(entry.join("new"));
            all.extend(in_folder(&entry));
        }
        all.insert(entry);
    }
    all
}

fn in_folder(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().take(MOST_ENTRIES);
    entries.flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::tests::new_path;
    use super::*;

    async fn changes(watch: &mut WatchTree, how: &str) {
        timeout(Duration::from_secs(10), watch.changed()).await.expect(how);
        watch.look().await;
    }

    /// As certbot does it: `live/app` has links into `archive/app`.
    #[tokio::test]
    async fn whatever_happens_in_the_folder_below_it_and_behind_links_is_noticed() {
        let root = new_path();
        let (live, archive) = (root.join("live"), root.join("archive"));
        fs::create_dir_all(&archive).unwrap();
        fs::create_dir_all(&live).unwrap();
        let mut watch = WatchTree::new(&live).unwrap();
        watch.look().await;

        fs::write(live.join("a.crt"), "one").unwrap();
        changes(&mut watch, "a new file").await;
        fs::create_dir(live.join("app")).unwrap();
        changes(&mut watch, "a new folder").await;
        fs::write(archive.join("chain1"), "one").unwrap();
        symlink(archive.join("chain1"), live.join("app/chain")).unwrap();
        changes(&mut watch, "a new link in it").await;
        fs::write(archive.join("chain1"), "two").unwrap();
        changes(&mut watch, "another text behind the link").await;
        fs::remove_file(live.join("a.crt")).unwrap();
        changes(&mut watch, "a file that goes").await;
        fs::remove_dir_all(&root).unwrap();
    }
}
