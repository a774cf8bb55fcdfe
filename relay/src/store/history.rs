//! Requests and visits that are over.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::Row;

use super::pool::{read, write_all};
use super::series::{numbers_of, values};
use super::statistics::signed;
use super::{Store, StoreError, from_millis, to_millis};

/// What is kept of a request or a visit that is over. Nothing of what it moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When it came, to the millisecond.
    pub time: SystemTime,
    /// Tells it from others of the same moment.
    pub number: i64,
    /// Whose the tunnel is.
    pub owner: Arc<str>,
    /// The tunnel.
    pub tunnel: Arc<str>,
    /// What it is.
    pub kind: HistoryKind,
    /// Its number, as in the logs of both ends. Empty where the entry stands for others.
    pub id: String,
    /// Who came, if that is kept.
    pub visitor: Option<IpAddr>,
    /// The method of a request.
    pub method: Option<String>,
    /// The host that a request is for.
    pub host: Option<String>,
    /// The path of a request with its query, without secrets, as the access log has it.
    pub path: Option<String>,
    /// What a request was answered with. Zero: it was not answered.
    pub status: Option<u16>,
    /// Why the relay answered a request itself, if it did.
    pub fault: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Payload from the visitor.
    pub bytes_in: u64,
    /// Payload to the visitor.
    pub bytes_out: u64,
    /// How long it took in all, to the microsecond.
    pub length: Duration,
    /// How long it took until the first byte went back, if one has.
    pub first_byte: Option<Duration>,
    /// How many the entry stands for: one, or those that were left out.
    pub count: u64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryKind {
    /// A request of HTTP.
    Http,
    /// A visit by TCP, or by TLS that is passed on.
    Tcp,
    /// So many more than are kept came in these seconds.
    LeftOut,
}

/// Which entries are wanted. Without anything: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Of tunnels of this owner.
    pub owner: Option<String>,
    /// Of tunnels of this name.
    pub tunnel: Option<String>,
    /// Requests with this method.
    pub method: Option<String>,
    /// Requests with a status of this hundred: 5 is for 500 to 599, 0 for no answer.
    pub class: Option<u16>,
    /// Requests in whose path this stands, in whatever case.
    pub text: Option<String>,
    /// That came at this time or later.
    pub from: Option<SystemTime>,
    /// That came before this time.
    pub to: Option<SystemTime>,
}

/// Where an entry stands among all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HistoryPlace {
    pub(crate) millis: i64,
    pub(crate) number: i64,
}

/// Forgets what is more than so many entries of a series.
pub(super) const TOO_MANY: &str = "DELETE FROM history WHERE series = $1 AND (time, number) <= \
    (SELECT time, number FROM history WHERE series = $1 \
    ORDER BY time DESC, number DESC LIMIT 1 OFFSET $2)";

const COLUMNS: &str = "h.time, h.number, s.owner, s.tunnel, h.kind, h.id, h.visitor, h.method, \
    h.host, h.path, h.status, h.fault, h.outcome, h.bytes_in, h.bytes_out, h.length, h.first_byte, \
    h.count FROM history h JOIN series s ON s.id = h.series";

impl HistoryKind {
    /// What it is called.
    pub fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::LeftOut => "left_out",
        }
    }
}

impl HistoryEntry {
    pub(crate) fn place(&self) -> HistoryPlace {
        HistoryPlace { millis: to_millis(self.time), number: self.number }
    }
}

impl HistoryFilter {
    /// Whether this one is wanted.
    pub(crate) fn takes(&self, entry: &HistoryEntry) -> bool {
        let Self { owner, tunnel, method, class, text, from, to } = self;
        let is = |wanted: &Option<String>, there: &str| wanted.as_ref().is_none_or(|w| w == there);
        let lower = |path: &String| path.to_ascii_lowercase();
        let has = |text: &String| {
            entry.path.as_ref().is_some_and(|path| lower(path).contains(&lower(text)))
        };
        is(owner, &entry.owner)
            && is(tunnel, &entry.tunnel)
            && (method.is_none() || *method == entry.method)
            && class.is_none_or(|class| entry.status.is_some_and(|status| status / 100 == class))
            && text.as_ref().is_none_or(has)
            && from.is_none_or(|from| entry.time >= from)
            && to.is_none_or(|to| entry.time < to)
    }
}

impl Store {
    /// Writes these entries. It does not matter whether they have been written before. No more than
    /// [`BATCH`](super::BATCH).
    pub(crate) async fn add_history(
        &self,
        entries: &[Arc<HistoryEntry>],
    ) -> Result<(), StoreError> {
        let names: BTreeSet<_> =
            entries.iter().map(|entry| (&*entry.owner, &*entry.tunnel)).collect();
        let sql = format!(
            "INSERT INTO history (time, number, series, kind, id, visitor, method, host, path, \
             status, fault, outcome, bytes_in, bytes_out, length, first_byte, count) VALUES {} \
             ON CONFLICT (time, number) DO NOTHING",
            values(1, entries.len(), 17)
        );
        write_all!(self, |all, _lock| {
            let numbers = numbers_of!(all, &names);
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
            for entry in entries {
                let HistoryPlace { millis, number } = entry.place();
                query = query.bind(millis).bind(number);
                query = query.bind(numbers[&(entry.owner.to_string(), entry.tunnel.to_string())]);
                query = query.bind(entry.kind.label()).bind(&entry.id);
                query = query.bind(entry.visitor.map(|visitor| visitor.to_string()));
                query = query.bind(&entry.method).bind(&entry.host).bind(&entry.path);
                query = query.bind(entry.status.map(i64::from));
                query = query.bind(&entry.fault).bind(&entry.outcome);
                query = query.bind(signed(entry.bytes_in)).bind(signed(entry.bytes_out));
                query = query.bind(micros(entry.length)).bind(entry.first_byte.map(micros));
                query = query.bind(signed(entry.count));
            }
            query.execute(&mut *all).await?;
        });
        Ok(())
    }

    /// Entries that are wanted, the newest first: up to `most` that stand before `before`.
    pub(crate) async fn history(
        &self,
        filter: &HistoryFilter,
        before: Option<HistoryPlace>,
        most: u32,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let HistoryFilter { owner, tunnel, method, class, text, from, to } = filter;
        let mut wanted = vec!["s.gone IS NULL".to_owned()];
        let mut next = 0;
        let mut place = || {
            next += 1;
            format!("${next}")
        };
        // The series are looked up first, so that no others are gone through.
        let names: Vec<_> = [("owner", owner), ("tunnel", tunnel)]
            .iter()
            .filter(|(_, name)| name.is_some())
            .map(|(column, _)| format!("{column} = {}", place()))
            .collect();
        if !names.is_empty() {
            let names = names.join(" AND ");
            wanted.push(format!("h.series IN (SELECT id FROM series WHERE {names})"));
        }
        if method.is_some() {
            wanted.push(format!("h.method = {}", place()));
        }
        if class.is_some() {
            wanted.push(format!("h.status >= {} AND h.status < {}", place(), place()));
        }
        if text.is_some() {
            wanted.push(format!("LOWER(h.path) LIKE {} ESCAPE '!'", place()));
        }
        if from.is_some() {
            wanted.push(format!("h.time >= {}", place()));
        }
        if to.is_some() {
            wanted.push(format!("h.time < {}", place()));
        }
        if before.is_some() {
            wanted.push(format!("(h.time, h.number) < ({}, {})", place(), place()));
        }
        let sql = format!(
            "SELECT {COLUMNS} WHERE {} ORDER BY h.time DESC, h.number DESC LIMIT {}",
            wanted.join(" AND "),
            place()
        );
        read!(self, |pool| {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for name in [owner, tunnel, method].into_iter().flatten() {
                query = query.bind(name);
            }
            if let Some(class) = class {
                let first = i64::from(*class) * 100;
                query = query.bind(first).bind(first + 100);
            }
            if let Some(text) = text {
                query = query.bind(like(text));
            }
            for time in [from, to].into_iter().flatten() {
                query = query.bind(to_millis(*time));
            }
            if let Some(HistoryPlace { millis, number }) = before {
                query = query.bind(millis).bind(number);
            }
            let rows = query.bind(i64::from(most)).fetch_all(pool).await?;
            let entries = rows.iter().map(|row| {
                let status: Option<i64> = row.try_get("status")?;
                let visitor: Option<String> = row.try_get("visitor")?;
                let count =
                    |column| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)?.unsigned_abs());
                let first_byte: Option<i64> = row.try_get("first_byte")?;
                let (owner, tunnel): (String, String) =
                    (row.try_get("owner")?, row.try_get("tunnel")?);
                Ok(HistoryEntry {
                    time: from_millis(row.try_get("time")?),
                    number: row.try_get("number")?,
                    owner: owner.into(),
                    tunnel: tunnel.into(),
                    kind: kind(row.try_get("kind")?)?,
                    id: row.try_get("id")?,
                    visitor: visitor.and_then(|visitor| visitor.parse().ok()),
                    method: row.try_get("method")?,
                    host: row.try_get("host")?,
                    path: row.try_get("path")?,
                    status: status.and_then(|status| status.try_into().ok()),
                    fault: row.try_get("fault")?,
                    outcome: row.try_get("outcome")?,
                    bytes_in: count("bytes_in")?,
                    bytes_out: count("bytes_out")?,
                    length: Duration::from_micros(count("length")?),
                    first_byte: first_byte.map(|time| Duration::from_micros(time.unsigned_abs())),
                    count: count("count")?,
                })
            });
            entries.collect()
        })
    }

    /// Forgets what a tunnel has more than so many entries of.
    pub(crate) async fn limit_history(
        &self,
        (owner, tunnel): (&str, &str),
        most: u32,
    ) -> Result<(), StoreError> {
        const FIND: &str =
            "SELECT id FROM series WHERE owner = $1 AND tunnel = $2 AND gone IS NULL";
        write_all!(self, |all, _lock| {
            let query = sqlx::query(FIND).bind(owner).bind(tunnel);
            if let Some(row) = query.fetch_optional(&mut *all).await? {
                let id: i64 = row.try_get("id")?;
                let many = sqlx::query(TOO_MANY).bind(id).bind(i64::from(most));
                many.execute(&mut *all).await?;
            }
        });
        Ok(())
    }
}

fn kind(label: &str) -> Result<HistoryKind, StoreError> {
    let kinds = [HistoryKind::Http, HistoryKind::Tcp, HistoryKind::LeftOut];
    let found = kinds.into_iter().find(|kind| kind.label() == label);
    found.ok_or_else(|| StoreError::Unreadable(format!("an entry of the history: {label}")))
}

/// What matches whatever has this text in it.
fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
