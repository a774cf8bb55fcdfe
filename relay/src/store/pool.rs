//! The two databases, and how they are opened.

use std::fmt;
use std::fs::{self, File};
use std::io;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use shared::token::Hidden;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};
use tokio::time::timeout;

use super::StoreError;
use crate::data::DataFolder;

/// How long others may keep a file locked.
const BUSY: Duration = Duration::from_secs(5);

/// How long a server may take to give a connection, or an answer: a handshake waits for it.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a server may take to have the tables of this version: another relay may be making them.
const TABLES: Duration = Duration::from_secs(60);

/// How long whoever writes waits for all of it. Nobody does so in a handshake.
const WRITTEN: Duration = Duration::from_secs(10);

/// Connections to a server. Few things are asked, and each is answered at once.
const CONNECTIONS: u32 = 4;

/// The name of the file in the data folder.
pub(super) const FILE: &str = "relay.db";

/// Held while the tables are made.
const LOCK: &str = "relay.db.lock";

/// Connections to a file for those who only read: look-ups do not wait for whoever writes.
const READERS: u32 = 2;

/// The steps from nothing to the tables of this version, each with its number. What has been in a
/// release is never changed.
pub(super) const SQLITE: &[(i64, &str)] = &[
    (1, include_str!("migrations/sqlite/0001_users_and_tokens.sql")),
    (2, include_str!("migrations/sqlite/0002_replaced_tokens.sql")),
    (3, include_str!("migrations/sqlite/0003_hosts_and_certificates.sql")),
    (5, include_str!("migrations/sqlite/0005_statistics.sql")),
];

/// See [`SQLITE`].
const POSTGRES: &[(i64, &str)] = &[
    (1, include_str!("migrations/postgres/0001_users_and_tokens.sql")),
    (2, include_str!("migrations/postgres/0002_replaced_tokens.sql")),
    (3, include_str!("migrations/postgres/0003_hosts_and_certificates.sql")),
    (5, include_str!("migrations/postgres/0005_statistics.sql")),
];

pub(super) fn migrator(steps: &'static [(i64, &'static str)]) -> Migrator {
    let step = |(version, sql): &(i64, &'static str)| {
        let kind = MigrationType::Simple;
        Migration::new(*version, "".into(), kind, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(steps.iter().map(step).collect())
}

/// Where a store is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A file in the data folder.
    Folder(DataFolder),
    /// PostgreSQL, at this URL.
    Database(Hidden),
}

impl Place {
    /// Where these settings say it is.
    pub(crate) fn of(database: Option<&Hidden>, folder: Option<DataFolder>) -> Option<Self> {
        match database {
            Some(url) => Some(Self::Database(url.clone())),
            None => folder.map(Self::Folder),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.file(FILE).display()),
            // The URL has a password in it.
            Self::Database(_) => f.write_str("the database of --database"),
        }
    }
}

/// A database that is open.
#[derive(Debug)]
pub(super) enum Pool {
    Sqlite(Box<SqliteFile>),
    Postgres(PgPool),
}

#[derive(Debug)]
pub(super) struct SqliteFile {
    /// One connection: a file has one writer at a time.
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    options: SqliteConnectOptions,
    path: PathBuf,
    /// What tells it from another file of this name.
    identity: FileIdentity,
}

#[derive(Debug, PartialEq, Eq)]
struct FileIdentity(u64, u64);

impl FileIdentity {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        #[cfg(unix)]
        return Ok(Self(found.dev(), found.ino()));
        #[cfg(not(unix))]
        return Ok(Self(0, u64::from(found.is_file())));
    }
}

/// Does the same with whichever database it is: `$pool` is where it is read. What takes too long is
/// given up, so that nobody waits for a server that is gone without a word.
macro_rules! read {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &*$store.0 {
            $crate::store::pool::Pool::Sqlite(file) => {
                let $pool = &file.readers;
                $crate::store::pool::within_answer(async { $body }).await
            }
            $crate::store::pool::Pool::Postgres(server) => {
                let $pool = server;
                $crate::store::pool::within_answer(async { $body }).await
            }
        }
    };
}
pub(super) use read;

/// The same in one transaction, `$all`, which is there as a whole or not at all. `$lock` has to be
/// run before a change is noted.
macro_rules! write_all {
    ($store:expr, |$all:ident, $lock:ident| $body:expr) => {
        match &*$store.0 {
            $crate::store::pool::Pool::Sqlite(file) => {
                $crate::store::pool::within_writing(async {
                    // There is one writer, who has the file from here on.
                    let mut $all = file.writer.begin_with("BEGIN IMMEDIATE").await?;
                    let $lock = "SELECT 1";
                    $body;
                    Ok($all.commit().await?)
                })
                .await?;
            }
            $crate::store::pool::Pool::Postgres(server) => {
                $crate::store::pool::within_writing(async {
                    let mut $all = server.begin().await?;
                    // Numbers of changes are given out in the order of commits, so that whoever has
                    // seen one has seen all before it.
                    let $lock = "LOCK TABLE changes IN EXCLUSIVE MODE";
                    $body;
                    Ok($all.commit().await?)
                })
                .await?;
            }
        }
    };
}
pub(super) use write_all;

/// What has been read, unless that takes too long for whoever waits in a handshake.
pub(super) async fn within_answer<T>(
    reading: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(ANSWER, reading).await.map_err(|_| late())?
}

/// The same for what is written. It may have been, if the end of it was not heard of.
pub(super) async fn within_writing(
    writing: impl Future<Output = Result<(), StoreError>>,
) -> Result<(), StoreError> {
    timeout(WRITTEN, writing).await.map_err(|_| late())?
}

fn late() -> StoreError {
    StoreError::Unavailable("it does not answer".into())
}

impl Pool {
    pub(super) async fn open(place: &Place) -> Result<Self, StoreError> {
        match place {
            Place::Folder(folder) => Ok(Self::Sqlite(Box::new(SqliteFile::open(folder).await?))),
            Place::Database(url) => Ok(Self::Postgres(server(url).await?)),
        }
    }
}

impl SqliteFile {
    async fn open(folder: &DataFolder) -> Result<Self, StoreError> {
        let path = folder.file(FILE);
        // The tables are not made twice.
        let _lock = alone(folder)?;
        // Nobody else can read it, nor what SQLite puts beside it.
        match folder.new_file(FILE) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&err)),
            Ok(_) | Err(_) => (),
        }
        let options = sqlite(&path);
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY + ANSWER)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        migrator(SQLITE).run(&writer).await?;
        let readers = pool(READERS).connect_lazy_with(options.clone().read_only(true));
        let identity = FileIdentity::of(&path).map_err(|err| failed(&err))?;
        Ok(Self { writer, readers, options, path, identity })
    }

    /// Whether it is still the file that others find there.
    ///
    /// # Errors
    ///
    /// It is not: what they change from now on is not seen here.
    pub(super) fn is_in_place(&self) -> Result<(), StoreError> {
        if FileIdentity::of(&self.path).is_ok_and(|found| found == self.identity) {
            return Ok(());
        }
        Err(StoreError::Failed(format!(
            "{} has been moved or replaced, and what is changed there does not count: stop the \
             relay, and use `relay restore`",
            self.path.display()
        )))
    }

    /// A connection of its own, for whoever only reads.
    pub(super) async fn reader(&self) -> Result<SqliteConnection, StoreError> {
        Ok(self.options.clone().read_only(true).connect().await?)
    }
}

/// One at a time makes or replaces a file, until the lock is dropped.
///
/// # Errors
///
/// The lock cannot be had, or what has the file's name is none.
pub(super) fn alone(folder: &DataFolder) -> Result<File, StoreError> {
    folder.check(FILE).map_err(|err| failed(&err))?;
    let lock = folder.lock_file(LOCK).map_err(|err| failed(&err))?;
    lock.lock().map_err(|err| failed(&err))?;
    Ok(lock)
}

/// What was acknowledged is on the disk, even if the power goes in the next moment.
fn sqlite(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .disable_statement_logging()
}

async fn server(url: &Hidden) -> Result<PgPool, StoreError> {
    // The error would show the URL, and the password with it.
    let bad = |_| StoreError::Failed("--database is no URL of PostgreSQL".into());
    let options = PgConnectOptions::from_str(&url.0).map_err(bad)?.disable_statement_logging();
    let tables = timeout(TABLES, make_tables(&options)).await;
    tables.map_err(|_| late())??;
    let limited = options.options([("statement_timeout", ANSWER.as_millis().to_string())]);
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ANSWER);
    Ok(pool.connect_with(limited).await?)
}

/// One connection more to the same server, which stays as long as it is wanted.
pub(super) fn for_listening(pool: &PgPool) -> PgPool {
    let one = PgPoolOptions::new().max_connections(1).acquire_timeout(ANSWER);
    let one = one.idle_timeout(None).max_lifetime(None);
    one.connect_lazy_with((*pool.connect_options()).clone())
}

/// Several relays that start at once do it one after the other.
async fn make_tables(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut connection = timeout(ANSWER, options.connect()).await.map_err(|_| late())??;
    migrator(POSTGRES).run(&mut connection).await?;
    Ok(connection.close().await?)
}

pub(super) fn failed(err: &dyn fmt::Display) -> StoreError {
    StoreError::Failed(err.to_string())
}
