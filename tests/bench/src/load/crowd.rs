//! Many visitors who come and then stay.

use anyhow::{Context, Error, Result};
use tokio::task::JoinSet;

/// Visitors who have had one request answered each and now rest.
#[derive(Debug)]
pub(crate) struct Crowd<V> {
    /// In the order of coming.
    pub(crate) visitors: Vec<V>,
    /// Why no more came than these, if fewer came than were sent.
    pub(crate) refused: Option<Error>,
}

impl<V: Send + 'static> Crowd<V> {
    /// Sends that many, a few at a time, each by `come`, and stops sending when one is not answered.
    pub(crate) async fn gather<F>(come: impl Fn() -> F, wanted: usize) -> Result<Self>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let mut crowd = Self { visitors: Vec::new(), refused: None };
        let mut coming = JoinSet::new();
        let mut sent = 0;
        loop {
            while sent < wanted && coming.len() < AT_A_TIME && crowd.refused.is_none() {
                coming.spawn(come());
                sent += 1;
            }
            let Some(arrived) = coming.join_next().await else { return Ok(crowd) };
            match arrived.context("a visitor's task")? {
                Ok(visitor) => crowd.visitors.push(visitor),
                Err(error) => crowd.refused = Some(error),
            }
        }
    }

    /// As [`gather`](Self::gather), but an error unless all come.
    pub(crate) async fn gather_all<F>(come: impl Fn() -> F, wanted: usize) -> Result<Self>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let mut crowd = Self::gather(come, wanted).await?;
        match crowd.refused.take() {
            None => Ok(crowd),
            Some(error) => Err(error.context(format!("after {} visitors", crowd.visitors.len()))),
        }
    }
}

/// Enough to be quick, and few enough for any backlog.
const AT_A_TIME: usize = 20;
