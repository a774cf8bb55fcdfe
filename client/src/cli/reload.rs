//! The settings of a client that runs, as its file changes.

use std::io;
use std::sync::Arc;

use shared::kit::reload::Reloads;
use shared::kit::settings::{Change, Loader, NotMerged};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::apply::{Answer, Question, Socket};
use super::{Loaded, Output, load};
use crate::config::{Config, Diff};

/// Those who ask at a time what a change would come to. More wait until one has its answer.
const MOST_ASKERS: usize = 8;

/// Follows the configuration file of a client that runs.
#[derive(Debug)]
pub struct Reloader {
    reloads: Reloads<Loaded>,
    running: Arc<Running>,
    /// Loads for whoever only asks.
    loader: Loader,
    socket: Option<Socket>,
    askers: JoinSet<()>,
    /// What came last was not good.
    was_bad: bool,
}

/// What a client runs with.
#[derive(Clone, Debug)]
struct Running {
    config: Config,
    output: Output,
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
    /// Follows the file of `loader`, which gave `config` and `output`. Has to be called within a
    /// tokio runtime.
    ///
    /// # Errors
    ///
    /// The system does not let the process handle signals.
    pub fn new(loader: Loader, config: Config, output: Output) -> io::Result<Self> {
        let reloads = Reloads::new(loader.clone(), load)?;
        let socket = loader.path().map_or(Ok(None), Socket::bind).unwrap_or_else(|err| {
            warn!("no socket for `client apply`: {err}");
            None
        });
        let running = Arc::new(Running { config, output });
        let askers = JoinSet::new();
        Ok(Self { reloads, running, loader, socket, askers, was_bad: false })
    }

    /// Waits until the file has changed, or SIGHUP has come. Says in the log what that comes to.
    /// Meanwhile answers those who ask what it would come to; whoever does not say what it wants
    /// holds up nobody.
    ///
    /// Cancel-safe: what has changed is not forgotten.
    pub async fn next(&mut self) -> Reloaded {
        loop {
            tokio::select! {
                loaded = self.reloads.next() => return self.loaded(loaded),
                question = asked(self.socket.as_ref()), if self.askers.len() < MOST_ASKERS => {
                    self.askers.spawn(answer(question, self.loader.clone(), Arc::clone(&self.running)));
                }
                Some(_) = self.askers.join_next() => (),
            }
        }
    }

    fn loaded(&mut self, loaded: Result<Loaded, NotMerged>) -> Reloaded {
        match loaded {
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
        let diff = self.running.diff(&loaded);
        let filter = loaded.output.filter;
        for line in diff.applied() {
            info!("the configuration changes: {line}");
        }
        for change in &diff.needs_restart {
            warn!("the configuration changes at the next start: {change}");
        }
        let running = Arc::make_mut(&mut self.running);
        running.config = diff.config.clone();
        let changed = (filter != running.output.filter).then(|| filter.clone());
        running.output.filter = filter;
        Reloaded::Good { diff: Box::new(diff), filter: changed }
    }
}

impl Running {
    /// What is different in `loaded`, how it logs and prints included.
    fn diff(&self, loaded: &Loaded) -> Diff {
        let Output { filter, format, json, qr, status } = &self.output;
        let mut diff = self.config.diff(&loaded.config);
        diff.changed.extend(Change::between("log", filter, &loaded.output.filter));
        let json = Change::between("json", json, loaded.output.json);
        let qr = Change::between("qr", qr, loaded.output.qr);
        let status = Change::between("status", status, loaded.output.status);
        let format = Change::between("log-format", format, loaded.output.format);
        diff.needs_restart.extend(json.into_iter().chain(qr).chain(status).chain(format));
        diff
    }
}

/// Answers what a reload would come to for a client that is `running`. Who says nothing gets no
/// answer.
async fn answer(mut question: Question, loader: Loader, running: Arc<Running>) {
    let Ok(file) = question.file().await else { return };
    let loader = loader.with_path(file);
    // Not on the thread that moves data.
    let answer = match tokio::task::spawn_blocking(move || load(&loader)).await {
        Ok(Ok(loaded)) => Answer::Differences(running.diff(&loaded).to_string()),
        Ok(Err(err)) => Answer::Bad(err.to_string()),
        Err(err) => Answer::Bad(err.to_string()),
    };
    question.answer(&answer).await;
}

/// The next question, if there is a socket.
async fn asked(socket: Option<&Socket>) -> Question {
    match socket {
        Some(socket) => socket.asked().await,
        None => std::future::pending().await,
    }
}
