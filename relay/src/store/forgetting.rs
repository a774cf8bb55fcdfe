//! What is too old among statistics and the history of requests goes, bit by bit.

use sqlx::Row;

use super::pool::{read, write_all};
use super::{Store, StoreError};

/// So many series are gone through in one transaction. What has become too old since the last time
/// is little of each.
const SERIES: i64 = 20;

/// From when on things are kept, in milliseconds since 1970, with the steps of statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptFrom {
    pub(crate) minutes: (i64, i64),
    pub(crate) hours: (i64, i64),
    pub(crate) history: i64,
    /// So many entries of each series are kept in the history.
    pub(crate) most: u32,
}

impl Store {
    /// Forgets what is too old of some series after number `after`, and those that are empty then.
    /// The number of the last one; `None`: there is no more.
    pub(crate) async fn forget_old(
        &self,
        after: i64,
        kept: KeptFrom,
    ) -> Result<Option<i64>, StoreError> {
        const PAGE: &str = "SELECT id, gone FROM series WHERE id > $1 ORDER BY id LIMIT $2";
        const OLD: &str = "DELETE FROM statistics WHERE series = $1 AND step = $2 AND time < $3";
        const OLD_HISTORY: &str = "DELETE FROM history WHERE series = $1 AND time < $2";
        const EMPTY: &str = "DELETE FROM series WHERE id = $1 \
            AND NOT EXISTS (SELECT 1 FROM statistics WHERE series = $1) \
            AND NOT EXISTS (SELECT 1 FROM history WHERE series = $1)";
        let page: Vec<(i64, bool)> = read!(self, |pool| {
            let rows = sqlx::query(PAGE).bind(after).bind(SERIES).fetch_all(pool).await?;
            let series = rows.iter().map(|row| {
                let gone: Option<i64> = row.try_get("gone")?;
                Ok((row.try_get("id")?, gone.is_some()))
            });
            series.collect::<Result<_, StoreError>>()
        })?;
        write_all!(self, |all, _lock| {
            for (id, is_gone) in &page {
                let from = |from: i64| if *is_gone { i64::MAX } else { from };
                for (step, time) in [kept.minutes, kept.hours] {
                    let old = sqlx::query(OLD).bind(*id).bind(step).bind(from(time));
                    old.execute(&mut *all).await?;
                }
                let old = sqlx::query(OLD_HISTORY).bind(*id).bind(from(kept.history));
                old.execute(&mut *all).await?;
                let many =
                    sqlx::query(super::history::TOO_MANY).bind(*id).bind(i64::from(kept.most));
                many.execute(&mut *all).await?;
                sqlx::query(EMPTY).bind(*id).execute(&mut *all).await?;
            }
        });
        Ok(page.last().map(|(id, _)| *id))
    }
}
