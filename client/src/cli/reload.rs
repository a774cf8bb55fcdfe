//! The settings of a client that runs, as its file changes.

use std::io;
use std::path::PathBuf;

use shared::kit::reload::Reloads;
use shared::kit::settings::{Change, Loader, NotMerged};
use tracing::{error, info, warn};

use super::apply::{Answer, Question, Socket};
use super::{Loaded, Output, load};
use crate::config::{Config, Diff};

/// Follows the configuration file of a client that runs.
#[derive(Debug)]
pub struct Reloader {
    reloads: Reloads<Loaded>,
    config: Config,
    output: Output,
    /// Loads for whoever only asks.
    loader: Loader,
    socket: Option<Socket>,
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
    /// Follows the file of `loader`, which gave `config` and `output`. `None` if there is no file.
    /// Has to be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The system does not let the process handle signals.
    pub fn new(loader: Loader, config: Config, output: Output) -> io::Result<Option<Self>> {
        let Some(reloads) = Reloads::new(loader.clone(), load)? else { return Ok(None) };
        let socket = loader.path().map_or(Ok(None), Socket::bind).unwrap_or_else(|err| {
            info!("no socket for `client apply`: {err}");
            None
        });
        Ok(Some(Self { reloads, config, output, loader, socket }))
    }

    /// Waits until the file has changed, or SIGHUP has come. Says in the log what that comes to.
    /// Meanwhile answers those who ask what it would come to.
    ///
    /// Cancel-safe: what has changed is not forgotten.
    pub async fn next(&mut self) -> Reloaded {
        loop {
            tokio::select! {
                loaded = self.reloads.next() => return self.loaded(loaded),
                mut question = asked(self.socket.as_ref()) => {
                    // Whoever does not say what it wants gets no answer.
                    if let Ok(file) = question.file().await {
                        question.answer(&self.dry_run(file).await).await;
                    }
                }
            }
        }
    }

    /// What a reload would come to if the configuration file were this one.
    async fn dry_run(&self, file: PathBuf) -> Answer {
        let loader = self.loader.clone().with_path(file);
        // Not on the thread that moves data.
        match tokio::task::spawn_blocking(move || load(&loader)).await {
            Ok(Ok(loaded)) => Answer::Differences(self.diff(&loaded).to_string()),
            Ok(Err(err)) => Answer::Bad(err.to_string()),
            Err(err) => Answer::Bad(err.to_string()),
        }
    }

    fn loaded(&mut self, loaded: Result<Loaded, NotMerged>) -> Reloaded {
        match loaded {
            Ok(loaded) => self.good(loaded),
            Err(err) => {
                for line in err.to_string().lines() {
                    error!("the configuration stays as it is: {line}");
                }
                Reloaded::Bad(err)
            }
        }
    }

    /// What is different in `loaded`, how it logs and prints included.
    fn diff(&self, loaded: &Loaded) -> Diff {
        let Output { filter, format, json } = &self.output;
        let mut diff = self.config.diff(&loaded.config);
        diff.changed.extend(Change::between("log", filter, &loaded.output.filter));
        let json = Change::between("json", json, loaded.output.json);
        let format = Change::between("log-format", format, loaded.output.format);
        diff.needs_restart.extend(json.into_iter().chain(format));
        diff
    }

    fn good(&mut self, loaded: Loaded) -> Reloaded {
        let diff = self.diff(&loaded);
        let filter = loaded.output.filter;
        for line in diff.applied() {
            info!("the configuration changes: {line}");
        }
        for change in &diff.needs_restart {
            warn!("the configuration changes at the next start: {change}");
        }
        self.config = diff.config.clone();
        let changed = (filter != self.output.filter).then(|| filter.clone());
        self.output.filter = filter;
        Reloaded::Good { diff: Box::new(diff), filter: changed }
    }
}

/// The next question, if there is a socket.
async fn asked(socket: Option<&Socket>) -> Question {
    match socket {
        Some(socket) => socket.asked().await,
        None => std::future::pending().await,
    }
}
