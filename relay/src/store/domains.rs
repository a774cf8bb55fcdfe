//! Host names that belong to somebody.

use std::time::SystemTime;

use serde::{Serialize, Serializer};
use shared::control::protocol::WebHost;
use sqlx::Row;
use tracing::warn;
use utoipa::ToSchema;

use super::pool::{read, write_all};
use super::records::{maybe_seconds, seconds};
use super::{Name, Store, StoreError, from_millis, to_millis};

/// What a record is made from.
const COLUMNS: &str = "SELECT name, owner, code, created, proven, missing, asked FROM domains";

/// What a record is added by.
const INSERT: &str = "INSERT INTO domains (name, owner, code, created, proven, asked) \
    VALUES ($1, $2, $3, $4, $5, $6)";

/// A host name that somebody says is its own. Who has proven it has it, and that is one alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct DomainRecord {
    /// A domain, or a label in front of the relay's, which is kept for its owner.
    #[serde(rename = "name", serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub(crate) host: WebHost,
    #[schema(value_type = String)]
    pub(crate) owner: Name,
    /// What the owner puts into DNS to prove it: another one for each owner and domain.
    pub(crate) code: String,
    /// In seconds since 1970, as all of these.
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = u64)]
    pub(crate) created: SystemTime,
    /// Since when it is the owner's. For a label, since it is kept.
    #[serde(serialize_with = "maybe_seconds")]
    #[schema(value_type = Option<u64>)]
    pub(crate) proven: Option<SystemTime>,
    /// Since when the proof is not there any more.
    #[serde(serialize_with = "maybe_seconds")]
    #[schema(value_type = Option<u64>)]
    pub(crate) missing: Option<SystemTime>,
    /// The last day, as one of its moments, on which a client of the owner's has asked for it.
    /// `None`: an operator has added it.
    #[serde(serialize_with = "maybe_seconds")]
    #[schema(value_type = Option<u64>)]
    pub(crate) asked: Option<SystemTime>,
}

/// How many host names an owner has that its clients have asked for, or how many it may have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    /// That are not proven.
    pub(crate) unproven: usize,
    /// In all.
    pub(crate) all: usize,
}

impl DomainRecord {
    /// What is kept of a host name that `owner` has not proven yet.
    pub(crate) fn new(host: WebHost, owner: Name, code: String) -> Self {
        let created = SystemTime::now();
        Self { host, owner, code, created, proven: None, missing: None, asked: None }
    }
}

/// The host name in this text: labels have no dot, and domains have one.
///
/// # Errors
///
/// What was expected.
pub(crate) fn host_in(text: &str) -> Result<WebHost, String> {
    let expected = |err: &dyn std::fmt::Display| err.to_string();
    match text.contains('.') {
        true => text.parse().map(WebHost::Host).map_err(|err| expected(&err)),
        false => text.parse().map(WebHost::Subdomain).map_err(|err| expected(&err)),
    }
}

impl Store {
    /// Keeps what `new` says.
    ///
    /// # Errors
    ///
    /// There is no such user; or it has said so already, or somebody else has it where `new` is
    /// proven.
    pub(crate) async fn add_domain(&self, new: &DomainRecord) -> Result<(), StoreError> {
        self.add_if_room(new, None).await.map(drop)
    }

    /// Keeps what `new` says, unless the owner's clients have asked for as many names as they may.
    /// Whether there was room for one more.
    ///
    /// # Errors
    ///
    /// As [`add_domain`](Self::add_domain).
    pub(crate) async fn ask_for_domain(
        &self,
        new: &DomainRecord,
        most: Asked,
    ) -> Result<bool, StoreError> {
        self.add_if_room(new, Some(most)).await
    }

    async fn add_if_room(
        &self,
        new: &DomainRecord,
        most: Option<Asked>,
    ) -> Result<bool, StoreError> {
        const ASKED: &str = "SELECT COUNT(*) AS asked, \
            COUNT(*) FILTER (WHERE proven IS NULL) AS unproven FROM domains \
            WHERE owner = $1 AND asked IS NOT NULL";
        let (name, owner, mut has_room) = (new.host.as_str(), new.owner.as_str(), true);
        write_all!(self, |all, lock| {
            // First, so that nobody adds one in between.
            sqlx::query(lock).execute(&mut *all).await?;
            if let Some(most) = most {
                let asked = sqlx::query(ASKED).bind(owner).fetch_one(&mut *all).await?;
                let (count, unproven): (i64, i64) =
                    (asked.try_get("asked")?, asked.try_get("unproven")?);
                let is_below = |count: i64, most| usize::try_from(count).is_ok_and(|n| n < most);
                has_room = is_below(count, most.all) && is_below(unproven, most.unproven);
            }
            if has_room {
                let insert = sqlx::query(INSERT).bind(name).bind(owner).bind(&new.code);
                let insert = insert.bind(to_millis(new.created)).bind(new.proven.map(to_millis));
                insert.bind(new.asked.map(to_millis)).execute(&mut *all).await?;
                let note = sqlx::query("INSERT INTO changes (domain) VALUES ($1)");
                note.bind(name).execute(&mut *all).await?;
            }
        });
        Ok(has_room)
    }

    /// All host names that can be read, by name and owner.
    pub(crate) async fn domains(&self) -> Result<Vec<DomainRecord>, StoreError> {
        let sql = format!("{COLUMNS} ORDER BY name, owner");
        read!(self, |pool| {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await?;
            let records = rows.into_iter().map(|row| record!(row));
            records.filter(is_readable).collect()
        })
    }

    /// Whoever says that this host name is its own, by owner.
    pub(crate) async fn domain(&self, host: &WebHost) -> Result<Vec<DomainRecord>, StoreError> {
        let sql = format!("{COLUMNS} WHERE name = $1 ORDER BY owner");
        read!(self, |pool| {
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(host.as_str());
            let rows = query.fetch_all(pool).await?;
            rows.into_iter().map(|row| record!(row)).collect()
        })
    }

    /// The host name is the owner's from now on, and not that of `instead_of` any more.
    ///
    /// # Errors
    ///
    /// The owner does not say that it is, or somebody else has it.
    pub(crate) async fn prove_domain(
        &self,
        host: &WebHost,
        owner: &Name,
        instead_of: Option<&Name>,
    ) -> Result<(), StoreError> {
        const LOSE: &str = "UPDATE domains SET proven = NULL, missing = NULL, \
            asked = CASE WHEN asked IS NULL THEN NULL ELSE $3 END \
            WHERE name = $1 AND owner = $2";
        const PROVE: &str = "UPDATE domains SET proven = COALESCE(proven, $3), missing = NULL \
            WHERE name = $1 AND owner = $2";
        let (name, now) = (host.as_str(), to_millis(SystemTime::now()));
        write_all!(self, |all, lock| {
            if let Some(other) = instead_of {
                let lose = sqlx::query(LOSE).bind(name).bind(other.as_str()).bind(now);
                lose.execute(&mut *all).await?;
            }
            let prove = sqlx::query(PROVE).bind(name).bind(owner.as_str()).bind(now);
            if prove.execute(&mut *all).await?.rows_affected() == 0 {
                return Err(StoreError::NotFound);
            }
            sqlx::query(lock).execute(&mut *all).await?;
            let note = sqlx::query("INSERT INTO changes (domain) VALUES ($1)");
            note.bind(name).execute(&mut *all).await?;
        });
        Ok(())
    }

    /// Since now the proof of what is the owner's is not there, or it is again. Whether that is
    /// new.
    pub(crate) async fn note_missing(
        &self,
        host: &WebHost,
        owner: &Name,
        is_missing: bool,
    ) -> Result<bool, StoreError> {
        const GONE: &str = "UPDATE domains SET missing = $3 \
            WHERE name = $1 AND owner = $2 AND proven IS NOT NULL AND missing IS NULL";
        const BACK: &str = "UPDATE domains SET missing = $3 \
            WHERE name = $1 AND owner = $2 AND missing IS NOT NULL";
        let since = is_missing.then(|| to_millis(SystemTime::now()));
        self.note(if is_missing { GONE } else { BACK }, host, owner, &[since]).await
    }

    /// A client has asked for the host name today. For an operator it stays what it is.
    pub(crate) async fn asked_again(
        &self,
        host: &WebHost,
        owner: &Name,
    ) -> Result<bool, StoreError> {
        const AGAIN: &str = "UPDATE domains SET asked = $3 \
            WHERE name = $1 AND owner = $2 AND asked IS NOT NULL";
        self.note(AGAIN, host, owner, &[Some(to_millis(SystemTime::now()))]).await
    }

    /// An operator adds what a client has asked for: it does not count as asked for any more.
    /// Whether it did.
    pub(crate) async fn adopt_domain(
        &self,
        host: &WebHost,
        owner: &Name,
    ) -> Result<bool, StoreError> {
        const ADOPT: &str = "UPDATE domains SET asked = NULL \
            WHERE name = $1 AND owner = $2 AND asked IS NOT NULL";
        self.note(ADOPT, host, owner, &[]).await
    }

    /// Forgets what clients have asked for, have not proven, and have not asked for again since
    /// `before`. How many that were.
    pub(crate) async fn forget_unasked(&self, before: SystemTime) -> Result<usize, StoreError> {
        const FORGET: &str =
            "DELETE FROM domains WHERE proven IS NULL AND asked < $1 RETURNING name";
        let (before, mut count) = (to_millis(before), 0);
        write_all!(self, |all, lock| {
            let forgotten = sqlx::query(FORGET).bind(before).fetch_all(&mut *all).await?;
            count = forgotten.len();
            sqlx::query(lock).execute(&mut *all).await?;
            for row in forgotten {
                let name: String = row.try_get("name")?;
                let note = sqlx::query("INSERT INTO changes (domain) VALUES ($1)");
                note.bind(name).execute(&mut *all).await?;
            }
        });
        Ok(count)
    }

    /// The host name is the owner's no longer, if its proof is still missing since `missing` or
    /// before. Whether that is new.
    pub(crate) async fn lose_domain(
        &self,
        host: &WebHost,
        owner: &Name,
        missing: SystemTime,
    ) -> Result<bool, StoreError> {
        // Its client has not asked while it was proven, and is about to.
        const LOSE: &str = "UPDATE domains SET proven = NULL, missing = NULL, \
            asked = CASE WHEN asked IS NULL THEN NULL ELSE $4 END \
            WHERE name = $1 AND owner = $2 AND proven IS NOT NULL AND missing <= $3";
        let times = [missing, SystemTime::now()].map(to_millis).map(Some);
        self.note(LOSE, host, owner, &times).await
    }

    /// Changes what is kept of an owner's host name. Whether there was anything to change.
    async fn note(
        &self,
        update: &'static str,
        host: &WebHost,
        owner: &Name,
        times: &[Option<i64>],
    ) -> Result<bool, StoreError> {
        let (name, mut is_new) = (host.as_str(), false);
        write_all!(self, |all, lock| {
            let update = sqlx::query(update).bind(name).bind(owner.as_str());
            let update = times.iter().fold(update, |update, time| update.bind(*time));
            is_new = update.execute(&mut *all).await?.rows_affected() > 0;
            if is_new {
                sqlx::query(lock).execute(&mut *all).await?;
                let note = sqlx::query("INSERT INTO changes (domain) VALUES ($1)");
                note.bind(name).execute(&mut *all).await?;
            }
        });
        Ok(is_new)
    }

    /// The owner has nothing to do with the host name any more.
    ///
    /// # Errors
    ///
    /// It had not before.
    pub(crate) async fn remove_domain(
        &self,
        host: &WebHost,
        owner: &Name,
    ) -> Result<(), StoreError> {
        const DELETE: &str = "DELETE FROM domains WHERE name = $1 AND owner = $2";
        let name = host.as_str();
        write_all!(self, |all, lock| {
            let delete = sqlx::query(DELETE).bind(name).bind(owner.as_str());
            if delete.execute(&mut *all).await?.rows_affected() == 0 {
                return Err(StoreError::NotFound);
            }
            sqlx::query(lock).execute(&mut *all).await?;
            let note = sqlx::query("INSERT INTO changes (domain) VALUES ($1)");
            note.bind(name).execute(&mut *all).await?;
        });
        Ok(())
    }
}

/// One that is kept in a way that cannot be read says nothing of the others.
fn is_readable(record: &Result<DomainRecord, StoreError>) -> bool {
    if let Err(err @ StoreError::Unreadable(_)) = record {
        warn!("a host name is nobody's: {err}");
        return false;
    }
    true
}

/// The record in a row of whichever database.
macro_rules! record {
    ($row:expr) => {{
        let row = $row;
        let time = |column: &str| -> Result<Option<SystemTime>, StoreError> {
            let millis: Option<i64> = row.try_get(column)?;
            Ok(millis.map(from_millis))
        };
        Ok(DomainRecord {
            host: host_in(row.try_get("name")?).map_err(StoreError::Unreadable)?,
            owner: super::tokens::name(row.try_get("owner")?)?,
            code: row.try_get("code")?,
            created: from_millis(row.try_get("created")?),
            proven: time("proven")?,
            missing: time("missing")?,
            asked: time("asked")?,
        })
    }};
}
use record;

fn as_text<S: Serializer>(host: &WebHost, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(host.as_str())
}
