//! What goes wrong with a store.

use std::fmt;

use sqlx::error::ErrorKind;
use sqlx::migrate::MigrateError;

/// What goes wrong with a store. One variant for each thing that callers do differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// It cannot be reached, or others keep it busy. Trying again may help.
    Unavailable(String),
    /// There is one of this name already.
    Exists,
    /// There is none.
    NotFound,
    /// A newer version has written it.
    Newer,
    /// This one thing is kept in a way that cannot be read.
    Unreadable(String),
    /// Something else, which trying again does not mend.
    Failed(String),
}

/// The result codes of SQLite for a file that others have locked.
const BUSY: [&str; 4] = ["5", "6", "261", "517"];

impl From<sqlx::Error> for StoreError {
    fn from(err: sqlx::Error) -> Self {
        match &err {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::Database(db) if db.kind() == ErrorKind::UniqueViolation => Self::Exists,
            sqlx::Error::Database(db) if db.kind() == ErrorKind::ForeignKeyViolation => {
                Self::NotFound
            }
            sqlx::Error::Database(db) if is_passing(db.code().as_deref()) => {
                Self::Unavailable(err.to_string())
            }
            sqlx::Error::ColumnDecode { .. } => Self::Unreadable(err.to_string()),
            sqlx::Error::Database(db) if is_one_of(FORBIDDEN, db.code().as_deref()) => {
                Self::Failed(format!(
                    "its files cannot be opened or written by this user, or not where they are \
                     ({})",
                    db.message()
                ))
            }
            sqlx::Error::Database(db) if is_one_of(OF_THE_DISK, db.code().as_deref()) => {
                Self::Failed(format!(
                    "the disk cannot be read or written: is it full, or are files limited in size? \
                     Make room and try again ({})",
                    db.message()
                ))
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(err.to_string()),
            _ => Self::Failed(err.to_string()),
        }
    }
}

/// Whether it may be gone in a moment: a file that is locked, or a server that is stopping, does not
/// answer in time, or has given up one of two who waited for each other (classes 08, 40, 53, 55 and
/// 57 of PostgreSQL's codes).
fn is_passing(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        BUSY.contains(&code)
            || ["08", "40", "53", "55", "57"]
                .iter()
                .any(|class| code.starts_with(class) && code.len() == 5)
    })
}

/// SQLite could not read or write: SQLITE_IOERR and SQLITE_FULL.
const OF_THE_DISK: [u32; 2] = [10, 13];

/// SQLite was not let: SQLITE_PERM, SQLITE_READONLY and SQLITE_CANTOPEN.
const FORBIDDEN: [u32; 3] = [3, 8, 14];

/// Whether a result code of SQLite is one of these, which its lowest byte says. Codes of PostgreSQL
/// are longer.
fn is_one_of<const N: usize>(these: [u32; N], code: Option<&str>) -> bool {
    let code = code.filter(|code| code.len() < 5).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| these.contains(&(code & 0xff)))
}

impl From<MigrateError> for StoreError {
    fn from(err: MigrateError) -> Self {
        match err {
            MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => Self::Newer,
            MigrateError::Execute(err) => err.into(),
            err => Self::Failed(err.to_string()),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => write!(f, "the store cannot be reached: {reason}"),
            Self::Exists => f.write_str("there is one of this name already"),
            Self::NotFound => f.write_str("there is none of this name"),
            Self::Newer => f.write_str("the store was written by a newer relay: update this one"),
            Self::Unreadable(reason) => write!(f, "what is kept cannot be read: {reason}"),
            Self::Failed(reason) => write!(f, "the store: {reason}"),
        }
    }
}

impl std::error::Error for StoreError {}
