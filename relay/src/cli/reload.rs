//! The settings of a relay that runs, as its file changes.

use std::io;

use shared::kit::reload::Reloads;
use shared::kit::settings::{Loader, NotMerged, changes};
use tracing::{error, info, warn};

use super::{Loaded, Logging, load};
use crate::config::{Config, Diff};

/// Follows the configuration file of a relay that runs.
#[derive(Debug)]
pub struct Reloader {
    reloads: Reloads<Loaded>,
    config: Config,
    logging: Logging,
    /// What came last was not good.
    was_bad: bool,
}

/// What a change of the file comes to.
#[derive(Debug)]
pub enum Reloaded {
    /// The file is good.
    Good {
        /// What is different now, settings of the log included. It may be nothing.
        diff: Box<Diff>,
        /// The filter of the log, if it is another one.
        filter: Option<String>,
    },
    /// The file is not good: everything stays as it is.
    Bad(NotMerged),
}

impl Reloader {
    /// Follows the file of `loader`, which gave `config` and `logging`. Has to be called within a
    /// tokio runtime.
    ///
    /// # Errors
    ///
    /// The system does not let the process handle signals.
    pub fn new(loader: Loader, config: Config, logging: Logging) -> io::Result<Self> {
        Ok(Self { reloads: Reloads::new(loader, load)?, config, logging, was_bad: false })
    }

    /// Waits until the file has changed, or SIGHUP has come. Says in the log what that comes to.
    ///
    /// Cancel-safe: what has changed is not forgotten.
    pub async fn next(&mut self) -> Reloaded {
        match self.reloads.next().await {
            Ok(loaded) => self.good(loaded),
            Err(err) => {
                for line in err.to_string().lines() {
                    error!("the configuration stays as it is: {line}");
                }
                self.was_bad = true;
                Reloaded::Bad(err)
            }
        }
    }

    fn good(&mut self, loaded: Loaded) -> Reloaded {
        if std::mem::take(&mut self.was_bad) {
            info!("the configuration is good again");
        }
        let Loaded { config, logging, .. } = loaded;
        let mut diff = self.config.diff(&config);
        let (filter, others): (Vec<_>, Vec<_>) = changes(self.logging.rows(), logging.rows())
            .into_iter()
            .partition(|change| change.key == "log");
        diff.needs_restart.extend(others);
        let changed_filter = (!filter.is_empty()).then(|| logging.filter.clone());
        diff.changed.extend(filter);
        for change in &diff.changed {
            info!("the configuration changes: {change}");
        }
        for change in &diff.needs_restart {
            warn!("the configuration changes at the next start: {change}");
        }
        self.config = diff.config.clone();
        self.logging.filter = logging.filter;
        Reloaded::Good { diff: Box::new(diff), filter: changed_filter }
    }
}
