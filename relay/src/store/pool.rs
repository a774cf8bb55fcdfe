//! The two databases, and how they are opened.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
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
use sqlx::{ConnectOptions, Executor, SqlSafeStr};

use super::StoreError;
use crate::data::DataFolder;

/// How long others may keep a file locked.
const BUSY: Duration = Duration::from_secs(5);

/// How long a server may take to give a connection, or an answer: a handshake waits for it.
const ANSWER: Duration = Duration::from_secs(2);

/// Connections to a server. Few things are asked, and each is answered at once.
const CONNECTIONS: u32 = 4;

/// The name of the file in the data folder.
const FILE: &str = "relay.db";

/// Held while the tables are made.
const LOCK: &str = "relay.db.lock";

/// A backup on its way to become the store.
const RESTORED: &str = "relay.db.restored";

/// Connections to a file for those who only read: look-ups do not wait for whoever writes.
const READERS: u32 = 2;

/// The steps from nothing to the tables of this version, each with its number. What has been in a
/// release is never changed.
const SQLITE: &[(i64, &str)] = &[(1, include_str!("migrations/sqlite/0001_users_and_tokens.sql"))];

/// See [`SQLITE`].
const POSTGRES: &[(i64, &str)] =
    &[(1, include_str!("migrations/postgres/0001_users_and_tokens.sql"))];

fn migrator(steps: &'static [(i64, &'static str)]) -> Migrator {
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
}

/// Does the same with whichever database it is: `$pool` is where it is read.
macro_rules! read {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &*$store.0 {
            $crate::store::pool::Pool::Sqlite(file) => {
                let $pool = &file.readers;
                $body
            }
            $crate::store::pool::Pool::Postgres(server) => {
                let $pool = server;
                $body
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
                // There is one writer, who has the file from here on.
                let mut $all = file.writer.begin_with("BEGIN IMMEDIATE").await?;
                let $lock = "SELECT 1";
                $body;
                $all.commit().await?;
            }
            $crate::store::pool::Pool::Postgres(server) => {
                let mut $all = server.begin().await?;
                // Numbers of changes are given out in the order of commits, so that whoever has seen
                // one has seen all before it.
                let $lock = "LOCK TABLE changes IN EXCLUSIVE MODE";
                $body;
                $all.commit().await?;
            }
        }
    };
}
pub(super) use write_all;

impl Pool {
    pub(super) async fn open(place: &Place) -> Result<Self, StoreError> {
        match place {
            Place::Folder(folder) => Ok(Self::Sqlite(Box::new(SqliteFile::open(folder).await?))),
            Place::Database(url) => Ok(Self::Postgres(server(url).await?)),
        }
    }

    pub(super) async fn backup(&self, file: &Path) -> Result<(), StoreError> {
        let Self::Sqlite(store) = self else {
            let message = "PostgreSQL has its own tool for it, pg_dump";
            return Err(StoreError::Failed(message.into()));
        };
        // Nobody else can read it. SQLite takes an empty file for none.
        match new_private(file) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::Exists),
            Err(err) => Err(failed(&err)),
            Ok(_) => {
                let vacuum = sqlx::query("VACUUM INTO $1").bind(text(file)?);
                vacuum.execute(&store.readers).await?;
                Ok(())
            }
        }
    }
}

impl SqliteFile {
    async fn open(folder: &DataFolder) -> Result<Self, StoreError> {
        let path = folder.file(FILE);
        // One at a time: the tables are not made twice.
        let lock = File::create(folder.file(LOCK)).map_err(|err| failed(&err))?;
        lock.lock().map_err(|err| failed(&err))?;
        // Nobody else can read it, nor what SQLite puts beside it.
        match new_private(&path) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&err)),
            _ => (),
        }
        let options = sqlite(&path);
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY + ANSWER)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        migrator(SQLITE).run(&writer).await?;
        let readers = pool(READERS).connect_lazy_with(options.clone().read_only(true));
        Ok(Self { writer, readers, options })
    }

    /// A connection of its own, for whoever only reads.
    pub(super) async fn reader(&self) -> Result<SqliteConnection, StoreError> {
        Ok(self.options.clone().read_only(true).connect().await?)
    }
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
    let options = PgConnectOptions::from_str(&url.0)
        .map_err(bad)?
        .options([("statement_timeout", ANSWER.as_millis().to_string())])
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ANSWER)
        .connect_with(options)
        .await?;
    migrator(POSTGRES).run(&pool).await?;
    Ok(pool)
}

/// Checks that `file` is a store that this version understands, and puts it into the folder.
///
/// # Errors
///
/// It is none, or the folder has one already and `force` is not set.
pub(super) async fn restore(
    file: &Path,
    folder: &DataFolder,
    force: bool,
) -> Result<(), StoreError> {
    if folder.file(FILE).exists() && !force {
        return Err(StoreError::Exists);
    }
    check(file).await?;
    let bytes = std::fs::read(file).map_err(|err| failed(&err))?;
    // First all of it, then nothing of the old one, then the new one.
    let written = folder.write_private(RESTORED, &bytes);
    written.map_err(|err| failed(&format_args!("{err:#}")))?;
    for beside in ["-wal", "-shm"] {
        match std::fs::remove_file(folder.file(&format!("{FILE}{beside}"))) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(failed(&err)),
            _ => (),
        }
    }
    std::fs::rename(folder.file(RESTORED), folder.file(FILE)).map_err(|err| failed(&err))
}

/// Whether the file is a store of this version, or of one before.
async fn check(file: &Path) -> Result<(), StoreError> {
    const VERSION: &str = "SELECT MAX(version) FROM _sqlx_migrations";
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut there = options.connect().await?;
    let version: Option<i64> = sqlx::query_scalar(VERSION).fetch_one(&mut there).await?;
    let newest = SQLITE.iter().map(|(version, _)| *version).max();
    if version > newest {
        return Err(StoreError::Newer);
    }
    there.execute("SELECT 1 FROM users, tokens, changes LIMIT 1").await?;
    Ok(())
}

/// A file that is not there yet, which only its user can read.
fn new_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn failed(err: &dyn fmt::Display) -> StoreError {
    StoreError::Failed(err.to_string())
}

fn text(path: &Path) -> Result<String, StoreError> {
    let path: PathBuf = path.into();
    let bad = |_| StoreError::Failed("the file's name is no text".into());
    path.into_os_string().into_string().map_err(bad)
}
