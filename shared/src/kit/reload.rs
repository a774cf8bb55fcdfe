//! Settings that follow their file while the process runs.

use std::io;

use crate::kit::settings::{Loader, NotMerged, Problems};
use crate::kit::watch::Watch;

/// Loads settings again whenever their file may have changed.
#[derive(Debug)]
pub struct Reloads<T> {
    loader: Loader,
    load: fn(&Loader) -> Result<T, NotMerged>,
    watch: Watch,
    /// Something has changed, and nobody has been given the outcome yet.
    due: bool,
}

impl<T: Send + 'static> Reloads<T> {
    /// Watches the file of `loader`. `None` if there is no file: then there is nothing to reload,
    /// and SIGHUP is not taken over. Has to be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The system does not let the process handle signals.
    pub fn new(
        loader: Loader,
        load: fn(&Loader) -> Result<T, NotMerged>,
    ) -> io::Result<Option<Self>> {
        let Some(path) = loader.path() else { return Ok(None) };
        let watch = Watch::new(path)?;
        // What has changed between the first load and now was seen by nobody.
        Ok(Some(Self { loader, load, watch, due: true }))
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
        if !self.due {
            self.watch.changed().await;
            self.due = true;
        }
        let (loader, load) = (self.loader.clone(), self.load);
        // Not on the thread that moves data: thousands of tunnels take a while.
        let loaded = tokio::task::spawn_blocking(move || load(&loader)).await;
        self.due = false;
        loaded.unwrap_or_else(|err| {
            let path = self.loader.path().unwrap_or_else(|| std::path::Path::new(""));
            Err(NotMerged::File(Problems::whole(path, format!("cannot load it: {err}"))))
        })
    }
}
