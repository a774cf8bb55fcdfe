//! Tokens.

use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use shared::token::{Grant, TokenId, Verifier};
use sqlx::Row;

use super::changes::MOST_CHANGES;
use super::pool::{read, write_all};
use super::{Name, NewToken, Store, StoreError, TokenRecord, from_millis, to_millis};

/// What a record is made from.
const COLUMNS: &str = "SELECT t.id, t.owner, t.name, t.verifier, t.rights, t.created, t.last_used, \
    t.revoked, t.replaced, u.disabled FROM tokens t JOIN users u ON u.name = t.owner";

impl Store {
    /// Keeps a new token. Of those of an owner no two that are in use have the same name.
    ///
    /// # Errors
    ///
    /// There is no such user, or a token of this name.
    pub(crate) async fn create_token(&self, new: &NewToken) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO tokens (id, owner, name, verifier, rights, created) \
            VALUES ($1, $2, $3, $4, $5, $6)";
        let rights = serde_json::to_string(&new.grant).map_err(corrupt)?;
        let (id, now) = (new.id.to_string(), to_millis(SystemTime::now()));
        write_all!(self, |all, lock| {
            let insert = sqlx::query(INSERT).bind(&id).bind(new.owner.as_str());
            let insert = insert.bind(new.name.as_str()).bind(HEXLOWER.encode(&new.verifier.0));
            insert.bind(&rights).bind(now).execute(&mut *all).await?;
            sqlx::query(lock).execute(&mut *all).await?;
            let note = sqlx::query("INSERT INTO changes (token) VALUES ($1)");
            note.bind(&id).execute(&mut *all).await?;
        });
        Ok(())
    }

    /// What is kept of a token.
    pub(crate) async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>, StoreError> {
        let sql = format!("{COLUMNS} WHERE t.id = $1");
        read!(self, |pool| {
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.to_string());
            let row = query.fetch_optional(pool).await?;
            row.map(|row| record!(row)).transpose()
        })
    }

    /// All tokens, those that are revoked among them, by owner and name.
    pub(crate) async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let sql = format!("{COLUMNS} ORDER BY t.owner, t.name, t.created");
        read!(self, |pool| {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await?;
            rows.into_iter().map(|row| record!(row)).collect()
        })
    }

    /// Whether there has ever been a token: once there was one, nobody comes in without, even if all
    /// of them are gone.
    pub(crate) async fn has_had_tokens(&self) -> Result<bool, StoreError> {
        // Those that are gone with their user have left a change, unless there were so many that old
        // ones are forgotten.
        const HAD: &str = "SELECT 1 FROM tokens UNION ALL \
            SELECT 1 FROM changes WHERE token IS NOT NULL OR number > $1 LIMIT 1";
        read!(self, |pool| {
            let had = sqlx::query(HAD).bind(MOST_CHANGES).fetch_optional(pool).await?;
            Ok(had.is_some())
        })
    }

    /// The token is good no longer, nor what was narrowed from it.
    ///
    /// # Errors
    ///
    /// There is no such token, or it was revoked before.
    pub(crate) async fn revoke_token(&self, id: TokenId) -> Result<(), StoreError> {
        const REVOKE: &str = "UPDATE tokens SET revoked = $2 WHERE id = $1 AND revoked IS NULL";
        let (id, now) = (id.to_string(), to_millis(SystemTime::now()));
        write_all!(self, |all, lock| {
            let done = sqlx::query(REVOKE).bind(&id).bind(now).execute(&mut *all).await?;
            if done.rows_affected() == 0 {
                return Err(StoreError::NotFound);
            }
            sqlx::query(lock).execute(&mut *all).await?;
            let note = sqlx::query("INSERT INTO changes (token) VALUES ($1)");
            note.bind(&id).execute(&mut *all).await?;
        });
        Ok(())
    }

    /// Another token takes the place of this one, with its owner and name and these rights: from now
    /// on `new` is good. The old one is not, or with `overlap` for so long.
    ///
    /// # Errors
    ///
    /// There is no such token, or it was revoked or replaced before.
    pub(crate) async fn rotate_token(
        &self,
        old: TokenId,
        new: TokenId,
        verifier: Verifier,
        grant: &Grant,
        overlap: Option<Duration>,
    ) -> Result<TokenRecord, StoreError> {
        const RETIRE: &str = "UPDATE tokens SET revoked = $2, replaced = $3 \
            WHERE id = $1 AND revoked IS NULL AND replaced IS NULL";
        const INSERT: &str = "INSERT INTO tokens (id, owner, name, verifier, rights, created) \
            SELECT $1, owner, name, $2, $3, $4 FROM tokens WHERE id = $5";
        let rights = serde_json::to_string(grant).map_err(corrupt)?;
        let now = SystemTime::now();
        let replaced = overlap.map(|time| now.checked_add(time).map_or(i64::MAX, to_millis));
        let (old, now) = (old.to_string(), to_millis(now));
        let revoked = overlap.is_none().then_some(now);
        write_all!(self, |all, lock| {
            let retire = sqlx::query(RETIRE).bind(&old).bind(revoked).bind(replaced);
            if retire.execute(&mut *all).await?.rows_affected() == 0 {
                return Err(StoreError::NotFound);
            }
            let insert = sqlx::query(INSERT).bind(new.to_string());
            let insert = insert.bind(HEXLOWER.encode(&verifier.0)).bind(&rights).bind(now);
            insert.bind(&old).execute(&mut *all).await?;
            sqlx::query(lock).execute(&mut *all).await?;
            for id in [old, new.to_string()] {
                let note = sqlx::query("INSERT INTO changes (token) VALUES ($1)");
                note.bind(id).execute(&mut *all).await?;
            }
        });
        self.token(new).await?.ok_or(StoreError::NotFound)
    }

    /// Tokens that were used, and when they were used last.
    pub(crate) async fn note_use(&self, uses: &[(TokenId, SystemTime)]) -> Result<(), StoreError> {
        // In the same order for every relay, so that no two wait for each other.
        let mut uses = uses.to_vec();
        uses.sort_unstable();
        write_all!(self, |all, _lock| {
            for (id, at) in &uses {
                let update = sqlx::query("UPDATE tokens SET last_used = $2 WHERE id = $1");
                update.bind(id.to_string()).bind(to_millis(*at)).execute(&mut *all).await?;
            }
        });
        Ok(())
    }
}

/// The record in a row of whichever database.
macro_rules! record {
    ($row:expr) => {{
        let row = $row;
        let time = |column: &str| -> Result<Option<SystemTime>, StoreError> {
            let millis: Option<i64> = row.try_get(column)?;
            Ok(millis.map(from_millis))
        };
        let text = |column: &str| -> Result<String, StoreError> { Ok(row.try_get(column)?) };
        let grant: Grant = serde_json::from_str(&text("rights")?).map_err(corrupt)?;
        Ok(TokenRecord {
            id: text("id")?.parse().map_err(corrupt)?,
            owner: name(&text("owner")?)?,
            name: name(&text("name")?)?,
            verifier: verifier(&text("verifier")?)?,
            grant,
            created: from_millis(row.try_get("created")?),
            last_used: time("last_used")?,
            revoked: time("revoked")?,
            replaced: time("replaced")?,
            owner_disabled: time("disabled")?.is_some(),
        })
    }};
}
use record;

pub(super) fn name(text: &str) -> Result<Name, StoreError> {
    text.parse().map_err(corrupt)
}

fn verifier(text: &str) -> Result<Verifier, StoreError> {
    let bytes = HEXLOWER.decode(text.as_bytes()).map_err(corrupt)?;
    bytes.try_into().map(Verifier).map_err(|_| corrupt("a key of another length"))
}

fn corrupt(err: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(err.to_string())
}
