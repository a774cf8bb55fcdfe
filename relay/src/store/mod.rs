//! What has to last: users, their tokens and host names, what has moved under a quota, certificates
//! that authorities have issued, statistics and the history of requests.
//!
//! It is kept in a SQLite file in the data folder, or in PostgreSQL; both are asked alike. Whoever
//! changes something, this process or another one, [`Changes`] tells the relays that run.
//!
//! - [`pool`]: the two databases, and how they are opened
//! - [`users`], [`tokens`], [`domains`], [`traffic`], [`certificates`]: what is asked of them
//! - [`statistics`], [`history`]: what has moved at tunnels, which [`series`] number, and what of it
//!   is too old ([`forgetting`])
//! - [`changes`]: what others have changed
//! - [`backup`]: a copy of the file, and its way back

mod backup;
mod certificates;
mod changes;
mod domains;
mod error;
mod forgetting;
mod history;
mod pool;
mod records;
mod series;
mod statistics;
mod tokens;
mod traffic;
mod users;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use self::certificates::{KeptCertificate, OrderEnd, PastOrder};
pub(crate) use self::changes::Change;
pub(crate) use self::domains::{Asked, DomainRecord, host_in};
pub(crate) use self::error::StoreError;
pub(crate) use self::forgetting::KeptFrom;
pub(crate) use self::history::HistoryPlace;
pub use self::history::{HistoryEntry, HistoryFilter, HistoryKind};
pub(crate) use self::pool::Place;
pub(crate) use self::records::{Name, NewToken, TokenRecord, User};
pub(crate) use self::series::BATCH;
pub(crate) use self::statistics::{Counts, KeptStatistics, NewStatistics};

use self::pool::Pool;

/// Where what has to last is kept. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Pool>);

impl Store {
    /// Opens what is kept at `place`, with the tables as this version has them.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or was written by a newer version.
    pub(crate) async fn open(place: &Place) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Pool::open(place).await?)))
    }

    /// Whether there is one in the folder at `path`, as far as can be seen.
    pub(crate) fn is_in(path: &Path) -> bool {
        path.join(pool::FILE).try_exists().unwrap_or(true)
    }
}

/// A time as it is kept: milliseconds since the beginning of 1970.
pub(crate) fn to_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn from_millis(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis.unsigned_abs())
}

#[cfg(test)]
mod tests;
