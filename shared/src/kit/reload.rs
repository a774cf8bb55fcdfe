//! Settings that follow their file while the process runs.
//!
//! The file is read again when it changes, and at SIGHUP. A process that was started without one
//! looks for it at SIGHUP only: it does not take what may be meant for the next one. What is no
//! regular file, such as a pipe, can be read once and is not followed. SIGHUP does not end the
//! process in any case: whoever sends it wants it to go on.

use std::fs;
use std::io;
use std::path::Path;

use tracing::info;

use crate::kit::settings::{Loader, NotMerged, Problems};
use crate::kit::signals::Hangup;
use crate::kit::watch::Watch;

/// Loads settings again whenever their file may have changed.
#[derive(Debug)]
pub struct Reloads<T> {
    loader: Loader,
    load: fn(&Loader) -> Result<T, NotMerged>,
    hangup: Hangup,
    /// `None` if there is no file.
    watch: Option<Watch>,
    /// There was one that cannot be read again.
    is_read: bool,
    /// Why the settings are to be loaded, if nobody has been given the outcome yet.
    due: Option<Cause>,
}

/// Why settings are loaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// SIGHUP: whatever has changed, also what the file refers to.
    Hangup,
    /// The file holds something else than before, is there again, or is gone.
    File,
}

impl<T: Send + 'static> Reloads<T> {
    /// Watches the file of `loader`, if it is there. From this call on SIGHUP does not end the
    /// process. Has to be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The system does not let the process handle signals.
    pub fn new(loader: Loader, load: fn(&Loader) -> Result<T, NotMerged>) -> io::Result<Self> {
        let hangup = Hangup::take_over()?;
        let (mut watch, mut is_read) = (None, false);
        if let Some(path) = loader.path()
            && let Ok(file) = fs::metadata(path)
        {
            if file.is_file() {
                watch = Some(Watch::new(path)?);
            } else {
                info!("{} is read only once: it is no regular file", path.display());
                is_read = true;
            }
        }
        // What has changed between the first load and now was seen by nobody.
        let due = watch.is_some().then_some(Cause::File);
        Ok(Self { loader, load, hangup, watch, is_read, due })
    }

    /// Waits for the next change, and loads the settings. They may be as they were: the first time
    /// it does not wait, and a file can be written differently and mean the same.
    ///
    /// Cancel-safe: what has changed is not forgotten.
    ///
    /// # Errors
    ///
    /// The settings are not good. Whoever asks keeps those that it has.
    pub async fn next(&mut self) -> Result<T, NotMerged> {
        while !self.is_due().await {}
        let (loader, load) = (self.loader.clone(), self.load);
        // Not on the thread that moves data: thousands of tunnels take a while.
        let loaded = tokio::task::spawn_blocking(move || load(&loader)).await;
        self.due = None;
        loaded.unwrap_or_else(|err| {
            let path = self.loader.path().unwrap_or_else(|| Path::new(""));
            Err(NotMerged::File(Problems::whole(path, format!("cannot load it: {err}"))))
        })
    }

    /// Waits until something has happened. Whether there is something to load then; if there is
    /// not, it says so.
    async fn is_due(&mut self) -> bool {
        let due = match self.due {
            Some(due) => due,
            None => tokio::select! {
                () = self.hangup.next() => Cause::Hangup,
                () = changed(self.watch.as_mut()) => Cause::File,
            },
        };
        self.due = Some(due);
        let path = self.loader.path();
        if self.watch.is_none() && !self.is_read {
            // It may have come meanwhile.
            self.watch = path.and_then(|path| Watch::new(path).ok());
        }
        if let Some(watch) = &mut self.watch {
            // What changes from here on is noticed.
            watch.look().await;
            if due == Cause::File || watch.is_there() || self.loader.needs_file() {
                if due == Cause::Hangup
                    && let Some(path) = self.loader.path()
                {
                    info!("SIGHUP: {} is read again", path.display());
                }
                return true;
            }
            info!("SIGHUP: {NOTHING}");
        } else if let Some(path) = path.filter(|_| self.is_read) {
            info!("SIGHUP: {} is not read again: it is no regular file", path.display());
        } else {
            info!("SIGHUP: {NOTHING}");
        }
        (self.watch, self.due) = (None, None);
        false
    }
}

/// What SIGHUP comes to where there is no file.
const NOTHING: &str = "there is no configuration file to read again";

async fn changed(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
