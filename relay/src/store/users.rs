//! Users.

use std::time::SystemTime;

use sqlx::Row;

use super::pool::{read, write_all};
use super::{Name, Store, StoreError, User, from_millis, to_millis};

impl Store {
    /// A new user.
    ///
    /// # Errors
    ///
    /// There is one of this name.
    pub(crate) async fn create_user(&self, name: &Name) -> Result<(), StoreError> {
        let now = to_millis(SystemTime::now());
        write_all!(self, |all, _lock| {
            let insert = sqlx::query("INSERT INTO users (name, created) VALUES ($1, $2)");
            insert.bind(name.as_str()).bind(now).execute(&mut *all).await?;
        });
        Ok(())
    }

    /// All users, by name.
    pub(crate) async fn users(&self) -> Result<Vec<User>, StoreError> {
        const ALL: &str = "SELECT name, created, disabled FROM users ORDER BY name";
        read!(self, |pool| {
            let rows = sqlx::query(ALL).fetch_all(pool).await?;
            let users = rows.iter().map(|row| {
                let disabled: Option<i64> = row.try_get("disabled")?;
                Ok(User {
                    name: super::tokens::name(row.try_get("name")?)?,
                    created: from_millis(row.try_get("created")?),
                    disabled: disabled.map(from_millis),
                })
            });
            users.collect()
        })
    }

    /// None of the user's tokens is good any more, or all are again.
    ///
    /// # Errors
    ///
    /// There is no such user.
    pub(crate) async fn disable_user(&self, name: &Name, disabled: bool) -> Result<(), StoreError> {
        let at = disabled.then(|| to_millis(SystemTime::now()));
        write_all!(self, |all, lock| {
            let update = sqlx::query("UPDATE users SET disabled = $2 WHERE name = $1");
            let done = update.bind(name.as_str()).bind(at).execute(&mut *all).await?;
            if done.rows_affected() == 0 {
                return Err(StoreError::NotFound);
            }
            sqlx::query(lock).execute(&mut *all).await?;
            let note = sqlx::query("INSERT INTO changes (owner) VALUES ($1)");
            note.bind(name.as_str()).execute(&mut *all).await?;
        });
        Ok(())
    }

    /// The user and all that is its own are gone: tokens, host names, statistics and requests.
    ///
    /// # Errors
    ///
    /// There is no such user.
    pub(crate) async fn delete_user(&self, name: &Name) -> Result<(), StoreError> {
        let now = to_millis(SystemTime::now());
        write_all!(self, |all, lock| {
            let delete = sqlx::query("DELETE FROM users WHERE name = $1");
            let done = delete.bind(name.as_str()).execute(&mut *all).await?;
            if done.rows_affected() == 0 {
                return Err(StoreError::NotFound);
            }
            // A later user of this name sees nothing of it.
            let leave =
                sqlx::query("UPDATE series SET gone = $2 WHERE owner = $1 AND gone IS NULL");
            leave.bind(name.as_str()).bind(now).execute(&mut *all).await?;
            sqlx::query(lock).execute(&mut *all).await?;
            let note = sqlx::query("INSERT INTO changes (owner) VALUES ($1)");
            note.bind(name.as_str()).execute(&mut *all).await?;
        });
        Ok(())
    }
}
