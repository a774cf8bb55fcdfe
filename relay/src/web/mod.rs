//! What requests of HTTP have in common, whoever serves them.
//!
//! - `access_log`: what is written down of them
//! - `connecting`: connections to local services that are being made
//! - `fault`: why a request is not answered by the local service, and what is said then
//! - `fields`: fields of a head that are changed together
//! - `interim`: what a local service says before it answers
//! - `mask`: what of them nobody is to read
//! - `pages`: what people see then
//! - `percent`, `weights`: what is written in headers and addresses
//! - `policy`: what a tunnel's owner wants done with its requests
//! - `pool`: connections to local services that wait for the next request

mod access_log;
mod board;
mod connecting;
mod fault;
pub(crate) mod fields;
mod interim;
pub(crate) mod mask;
mod pages;
pub(crate) mod percent;
pub(crate) mod policy;
mod pool;
pub(crate) mod weights;

pub(crate) use self::access_log::{AccessLog, Asked, Became, Facts, Outcome};
pub(crate) use self::board::{Board, Errand, Errands};
pub(crate) use self::connecting::Turn;
pub(crate) use self::fault::{Fault, Side};
pub(crate) use self::interim::Interim;
pub(crate) use self::pages::{ErrorPages, Pages, side};
pub(crate) use self::policy::{Arrival, Policy, Verdict};
pub(crate) use self::pool::{BodyError, Connection, Pool, RequestBody};
