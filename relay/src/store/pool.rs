//! The two databases, and how they are opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use shared::token::Hidden;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Executor};

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

static SQLITE: Migrator = sqlx::migrate!("src/store/migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("src/store/migrations/postgres");

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
    Sqlite(SqliteFile),
    Postgres(PgPool),
}

#[derive(Debug)]
pub(super) struct SqliteFile {
    /// One connection: a file has one writer at a time.
    pub(super) pool: SqlitePool,
    options: SqliteConnectOptions,
}

/// Does the same with whichever database it is: `$pool` is its pool, `$begin` what begins a
/// transaction that is going to write.
macro_rules! with {
    ($store:expr, |$pool:ident, $begin:ident| $body:expr) => {
        match &*$store.0 {
            $crate::store::pool::Pool::Sqlite(file) => {
                let ($pool, $begin) = (&file.pool, "BEGIN IMMEDIATE");
                $body
            }
            $crate::store::pool::Pool::Postgres(server) => {
                let ($pool, $begin) = (server, "BEGIN");
                $body
            }
        }
    };
}
pub(super) use with;

impl Pool {
    pub(super) async fn open(place: &Place) -> Result<Self, StoreError> {
        match place {
            Place::Folder(folder) => Ok(Self::Sqlite(SqliteFile::open(folder).await?)),
            Place::Database(url) => Ok(Self::Postgres(server(url).await?)),
        }
    }

    pub(super) async fn backup(&self, file: &Path) -> Result<(), StoreError> {
        let Self::Sqlite(store) = self else {
            let message = "PostgreSQL has its own tool for it, pg_dump";
            return Err(StoreError::Failed(message.into()));
        };
        if file.exists() {
            return Err(StoreError::Exists);
        }
        sqlx::query("VACUUM INTO $1").bind(text(file)?).execute(&store.pool).await?;
        Ok(())
    }
}

impl SqliteFile {
    async fn open(folder: &DataFolder) -> Result<Self, StoreError> {
        let path = folder.file(FILE);
        if !path.exists() {
            // Nobody else can read it, nor what SQLite puts beside it.
            let made = folder.write_private(FILE, b"");
            made.map_err(|err| StoreError::Failed(format!("{err:#}")))?;
        }
        let options = sqlite(&path);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(BUSY + ANSWER)
            .connect_with(options.clone())
            .await?;
        SQLITE.run(&pool).await?;
        Ok(Self { pool, options })
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
    POSTGRES.run(&pool).await?;
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
    let failed = |err: &dyn fmt::Display| StoreError::Failed(err.to_string());
    if folder.file(FILE).exists() && !force {
        return Err(StoreError::Exists);
    }
    let mut there = sqlite(file).create_if_missing(false).read_only(true).connect().await?;
    there.execute("SELECT 1 FROM users, tokens, changes LIMIT 1").await?;
    drop(there);
    let bytes = std::fs::read(file).map_err(|err| failed(&err))?;
    for beside in ["-wal", "-shm"] {
        drop(std::fs::remove_file(folder.file(&format!("{FILE}{beside}"))));
    }
    folder.write_private(FILE, &bytes).map_err(|err| failed(&format_args!("{err:#}")))
}

fn text(path: &Path) -> Result<String, StoreError> {
    let path: PathBuf = path.into();
    let bad = |_| StoreError::Failed("the file's name is no text".into());
    path.into_os_string().into_string().map_err(bad)
}
