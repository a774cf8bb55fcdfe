//! A folder of the operator's own certificates, which is followed.
//!
//! Certificates are pairs: `NAME.crt` with `NAME.key`, or `fullchain.pem` with `privkey.pem` in a
//! folder of their own, as certbot leaves them. What each is for stands in it; the names of files
//! mean nothing. A pair that is not good leaves in place what was there before.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use shared::kit::watch::{MOST_ENTRIES, WatchTree};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::from_files;
use super::served::Served;
use super::table::Table;

/// The endings of a pair beside each other: the certificate's and the key's.
const BESIDE: [&str; 2] = ["crt", "key"];

/// The names of a pair in a folder of its own, as certbot calls them.
const WITHIN: [&str; 2] = ["fullchain.pem", "privkey.pem"];

/// A folder of certificates.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    table: Table,
    /// What is shown, by the file of the certificate.
    pairs: BTreeMap<PathBuf, Arc<Served>>,
    /// What was wrong when it was last read, so that it is said once.
    wrong: BTreeMap<PathBuf, String>,
    /// Why it could not be read at all the last time, for the same.
    unread: Option<String>,
}

/// What a folder holds.
type Found = BTreeMap<PathBuf, Result<Arc<Served>, String>>;

impl Folder {
    /// The folder at `path`, whose certificates have been read into `table`.
    ///
    /// # Errors
    ///
    /// There is no such folder, or it cannot be read.
    pub(super) async fn new(path: PathBuf, table: Table) -> anyhow::Result<Self> {
        let (pairs, wrong) = (BTreeMap::new(), BTreeMap::new());
        let mut folder = Self { path, table, pairs, wrong, unread: None };
        folder.load().await?;
        Ok(folder)
    }

    /// Follows the folder, and reads it whenever `look` wants it to be.
    pub(super) async fn follow(mut self, look: &Notify) -> Infallible {
        let mut watch = match WatchTree::new(&self.path) {
            Ok(watch) => Some(watch),
            Err(err) => {
                let shown = self.path.display();
                warn!("changes of {shown} are only noticed at SIGHUP: {err}");
                None
            }
        };
        loop {
            if let Some(watch) = &mut watch {
                watch.look().await;
            }
            let unread = self.load().await.err().map(|err| format!("{err:#}"));
            if let Some(why) = &unread
                && unread != self.unread
            {
                error!("the certificates stay as they are: {why}");
            }
            self.unread = unread;
            let changed = async {
                match &mut watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => (),
                () = look.notified() => (),
            }
        }
    }

    /// Reads all of it. What is not good stays as it was.
    async fn load(&mut self) -> anyhow::Result<()> {
        let path = self.path.clone();
        // Not on a thread that moves data.
        let found = tokio::task::spawn_blocking(move || read(&path)).await;
        let found = found.context("the folder cannot be read")??;
        self.take(found);
        Ok(())
    }

    fn take(&mut self, found: Found) {
        let mut pairs = BTreeMap::new();
        let before = std::mem::take(&mut self.wrong);
        for (path, result) in found {
            let old = self.pairs.get(&path);
            match result {
                Ok(served) => {
                    let is_new = old.is_none_or(|old| old.key.cert != served.key.cert);
                    if is_new {
                        let names: Vec<_> = served.names.iter().map(ToString::to_string).collect();
                        info!("{} is shown for {}", path.display(), names.join(", "));
                    }
                    pairs.insert(path, served);
                }
                Err(what) => {
                    if before.get(&path) != Some(&what) {
                        let stays = match old {
                            Some(_) => "what was there before stays",
                            None => "it is left out",
                        };
                        error!("a certificate is not good, and {stays}: {what}");
                    }
                    if let Some(old) = old {
                        pairs.insert(path.clone(), Arc::clone(old));
                    }
                    self.wrong.insert(path, what);
                }
            }
        }
        for gone in self.pairs.keys().filter(|path| !pairs.contains_key(*path)) {
            info!("{} is gone, and is not shown any more", gone.display());
        }
        self.pairs = pairs;
        self.table.set_folder(self.pairs.values().cloned());
    }
}

/// What the folder at `path` holds.
fn read(path: &Path) -> anyhow::Result<Found> {
    let shown = path.display();
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {shown}"))?;
    let mut pairs = BTreeSet::new();
    for entry in entries.take(MOST_ENTRIES) {
        let entry = entry.with_context(|| format!("cannot read {shown}"))?;
        // Such as the folders between which Kubernetes swaps a link.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            let [certificate, key] = WITHIN.map(|name| path.join(name));
            if certificate.exists() || key.exists() {
                pairs.insert((certificate, key));
            }
        } else if BESIDE.iter().any(|ending| path.extension().is_some_and(|is| is == *ending)) {
            let [certificate, key] = BESIDE.map(|ending| path.with_extension(ending));
            pairs.insert((certificate, key));
        }
    }
    let read = pairs.into_iter().map(|(certificate, key)| {
        let served = from_files(&certificate, &key, Served::new)
            .map(Arc::new)
            .map_err(|err| err.to_string());
        (certificate, served)
    });
    Ok(read.collect())
}
