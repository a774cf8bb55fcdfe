//! What a process writes, line by line.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use crate::tasks::Tasks;
use crate::wait::{PATIENCE, within_time};

/// The lines of one output of a process, as far as they have come.
#[derive(Debug)]
pub struct Lines(watch::Receiver<Vec<String>>);

impl Lines {
    /// The lines that come through `pipe`, read by a task in `readers` until it ends.
    pub(super) fn of(
        pipe: Option<impl AsyncRead + Unpin + Send + 'static>,
        readers: &mut Tasks,
    ) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());
        if let Some(pipe) = pipe {
            readers.spawn(async move {
                let mut lines = BufReader::new(pipe).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    sender.send_modify(|all| all.push(line));
                }
            });
        }
        Self(receiver)
    }

    /// All lines so far.
    pub fn so_far(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// The lines so far as JSON. Fails the test if one is none.
    pub fn as_json(&self) -> Vec<Value> {
        self.0.borrow().iter().map(|line| parse(line)).collect()
    }

    /// Waits for the first line from number `start` on for which `pick` finds something. Returns
    /// its number too.
    pub async fn find<T>(
        &self,
        what: &str,
        start: usize,
        pick: impl FnMut(&str) -> Option<T>,
    ) -> (usize, T) {
        self.find_within(PATIENCE, what, start, pick).await
    }

    /// The same for `patience` at most.
    pub async fn find_within<T>(
        &self,
        patience: Duration,
        what: &str,
        start: usize,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> (usize, T) {
        let mut lines = self.0.clone();
        let mut next = start;
        within_time(patience, what, async {
            loop {
                {
                    let lines = lines.borrow_and_update();
                    while let Some(line) = lines.get(next) {
                        if let Some(found) = pick(line) {
                            return (next, found);
                        }
                        next += 1;
                    }
                }
                assert!(lines.changed().await.is_ok(), "the process ended without {what}");
            }
        })
        .await
    }

    /// Waits until the process has closed this output.
    pub(super) async fn ended(&self) {
        let mut lines = self.0.clone();
        while lines.changed().await.is_ok() {}
    }
}

pub(super) fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|err| panic!("no JSON, {err}: {line}"))
}
