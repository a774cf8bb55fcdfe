//! What visitors and clients do, as plain tasks on the run's one thread.

pub(crate) mod arrivals;
pub(crate) mod bulk;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod requests;
pub(crate) mod visitor;
pub(crate) mod web;
