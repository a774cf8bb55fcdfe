//! Many visitors who come and then stay.

use std::net::SocketAddr;

use anyhow::{Context, Error, Result};
use tokio::task::JoinSet;

use crate::load::visitor::Visitor;

/// Visitors who have had one request answered each and now rest.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// In the order of coming.
    pub(crate) visitors: Vec<Visitor>,
    /// Why no more came than these, if fewer came than were sent.
    pub(crate) refused: Option<Error>,
}

impl Crowd {
    /// Sends that many, a few at a time, and stops sending when one is not answered.
    pub(crate) async fn gather(public: SocketAddr, wanted: usize) -> Result<Self> {
        let mut crowd = Self::default();
        let mut coming = JoinSet::new();
        let mut sent = 0;
        loop {
            while sent < wanted && coming.len() < AT_A_TIME && crowd.refused.is_none() {
                coming.spawn(Visitor::stay(public));
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
    pub(crate) async fn gather_all(public: SocketAddr, wanted: usize) -> Result<Self> {
        let mut crowd = Self::gather(public, wanted).await?;
        match crowd.refused.take() {
            None => Ok(crowd),
            Some(error) => Err(error.context(format!("after {} visitors", crowd.visitors.len()))),
        }
    }
}

/// Enough to be quick, and few enough for any backlog.
const AT_A_TIME: usize = 20;
