//! What has moved under quotas.

use std::ops::RangeInclusive;
use std::time::SystemTime;

use sqlx::Row;

use super::pool::{read, write_all};
use super::{Store, StoreError};

/// Periods are kept for so long, in seconds: two months, so that the current one is among them.
const KEPT: u64 = 62 * 24 * 3600;

impl Store {
    /// Adds what has moved: the account, the start of the period, and the bytes.
    pub(crate) async fn add_traffic(&self, rows: &[(String, u64, u64)]) -> Result<(), StoreError> {
        const ADD: &str = "INSERT INTO traffic (account, period, bytes) VALUES ($1, $2, $3) \
            ON CONFLICT (account, period) DO UPDATE SET bytes = traffic.bytes + $3";
        write_all!(self, |all, _lock| {
            for (account, period, bytes) in rows {
                let add = sqlx::query(ADD).bind(account).bind(signed(*period));
                add.bind(signed(*bytes)).execute(&mut *all).await?;
            }
        });
        Ok(())
    }

    /// Forgets periods that are long over: holders of tokens make new accounts in each.
    pub(crate) async fn forget_traffic(&self, now: SystemTime) -> Result<(), StoreError> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let before = signed(now.as_secs().saturating_sub(KEPT));
        write_all!(self, |all, _lock| {
            let old = sqlx::query("DELETE FROM traffic WHERE period < $1");
            old.bind(before).execute(&mut *all).await?;
        });
        Ok(())
    }

    /// What has moved in the period that began then, in bytes, if anything has.
    pub(crate) async fn traffic(
        &self,
        account: &str,
        period: u64,
    ) -> Result<Option<u64>, StoreError> {
        const GET: &str = "SELECT bytes FROM traffic WHERE account = $1 AND period = $2";
        read!(self, |pool| {
            let query = sqlx::query(GET).bind(account).bind(signed(period));
            let row = query.fetch_optional(pool).await?;
            let bytes: Option<i64> = row.map(|row| row.try_get("bytes")).transpose()?;
            Ok(bytes.map(i64::unsigned_abs))
        })
    }

    /// How many of the accounts from one to another have moved something in the period that began
    /// then.
    pub(crate) async fn count_traffic(
        &self,
        accounts: RangeInclusive<String>,
        period: u64,
    ) -> Result<u64, StoreError> {
        const COUNT: &str = "SELECT COUNT(*) AS count FROM traffic \
            WHERE account BETWEEN $1 AND $2 AND period = $3";
        let (first, last) = accounts.into_inner();
        read!(self, |pool| {
            let query = sqlx::query(COUNT).bind(first).bind(last).bind(signed(period));
            let count: i64 = query.fetch_one(pool).await?.try_get("count")?;
            Ok(count.unsigned_abs())
        })
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
