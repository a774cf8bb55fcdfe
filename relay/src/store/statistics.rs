//! What has moved at tunnels, by minutes and hours.

use std::collections::BTreeSet;
use std::ops::Range;

use sqlx::Row;

use super::pool::{read, write_all};
use super::series::{numbers_of, values};
use super::{Store, StoreError};

/// How much of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) visits: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) errors: u64,
}

/// What one run of a relay has counted at one place in one slot.
#[derive(Clone, Debug)]
pub(crate) struct NewStatistics<'a> {
    /// Empty for all owners and for all tunnels.
    pub(crate) owner: &'a str,
    pub(crate) tunnel: &'a str,
    pub(crate) kept: KeptStatistics,
    /// How long the slot is, in milliseconds.
    pub(crate) step: i64,
}

/// What is kept of a slot by one who has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptStatistics {
    /// The beginning of the slot, in milliseconds since 1970.
    pub(crate) time: i64,
    pub(crate) part: i64,
    pub(crate) counts: Counts,
    pub(crate) first_byte: Vec<u8>,
}

impl Store {
    /// Writes these rows, over those with the same part of the same slot: it does not matter whether
    /// they have been written before. No more than [`BATCH`](super::BATCH).
    pub(crate) async fn write_statistics(
        &self,
        rows: &[NewStatistics<'_>],
    ) -> Result<(), StoreError> {
        let names: BTreeSet<_> = rows.iter().map(|row| (row.owner, row.tunnel)).collect();
        let sql = format!(
            "INSERT INTO statistics (series, step, time, part, requests, visits, bytes_in, \
             bytes_out, errors, first_byte) VALUES {} \
             ON CONFLICT (series, step, time, part) DO UPDATE SET requests = excluded.requests, \
             visits = excluded.visits, bytes_in = excluded.bytes_in, \
             bytes_out = excluded.bytes_out, errors = excluded.errors, \
             first_byte = excluded.first_byte",
            values(1, rows.len(), 10)
        );
        write_all!(self, |all, _lock| {
            let numbers = numbers_of!(all, &names);
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
            for row in rows {
                let NewStatistics { owner, tunnel, kept, step } = row;
                let counts = &kept.counts;
                query = query.bind(numbers[&((*owner).to_owned(), (*tunnel).to_owned())]);
                query = query.bind(*step).bind(kept.time).bind(kept.part);
                query = query.bind(signed(counts.requests)).bind(signed(counts.visits));
                query = query.bind(signed(counts.bytes_in)).bind(signed(counts.bytes_out));
                query = query.bind(signed(counts.errors)).bind(&kept.first_byte[..]);
            }
            query.execute(&mut *all).await?;
        });
        Ok(())
    }

    /// What is kept of this place, in slots that are `step` long and begin in these times.
    pub(crate) async fn statistics(
        &self,
        (owner, tunnel): (&str, &str),
        step: i64,
        times: Range<i64>,
    ) -> Result<Vec<KeptStatistics>, StoreError> {
        const GET: &str = "SELECT time, part, requests, visits, bytes_in, bytes_out, errors, \
            first_byte FROM statistics WHERE step = $3 AND time >= $4 AND time < $5 \
            AND series = (SELECT id FROM series WHERE owner = $1 AND tunnel = $2 AND gone IS NULL)";
        read!(self, |pool| {
            let query = sqlx::query(GET).bind(owner).bind(tunnel);
            let query = query.bind(step).bind(times.start).bind(times.end);
            let rows = query.fetch_all(pool).await?;
            let kept = rows.iter().map(|row| {
                let count =
                    |column| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)?.unsigned_abs());
                Ok(KeptStatistics {
                    time: row.try_get("time")?,
                    part: row.try_get("part")?,
                    counts: Counts {
                        requests: count("requests")?,
                        visits: count("visits")?,
                        bytes_in: count("bytes_in")?,
                        bytes_out: count("bytes_out")?,
                        errors: count("errors")?,
                    },
                    first_byte: row.try_get("first_byte")?,
                })
            });
            kept.collect()
        })
    }
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
