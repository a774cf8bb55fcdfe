//! A copy of the file in which users and tokens are kept, and its way back.
//!
//! Neither is ever there in part: each is written beside where it belongs, and takes its name when
//! it is complete.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};

use super::pool::{FILE, Pool, SQLITE, alone, failed};
use super::{Store, StoreError};
use crate::data::{DataFolder, new_private};

/// A backup on its way to become the store.
const RESTORED: &str = "relay.db.restored";

/// What SQLite puts beside a file.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

impl Store {
    /// Puts all of it into a new file, as it is at one moment, while others go on using it.
    ///
    /// # Errors
    ///
    /// The file is there already or cannot be written, or the store is no file itself.
    pub(crate) async fn backup(&self, file: &Path) -> Result<(), StoreError> {
        let Pool::Sqlite(store) = &*self.0 else {
            let message = "PostgreSQL has its own tool for it, pg_dump";
            return Err(StoreError::Failed(message.into()));
        };
        if file.exists() {
            return Err(StoreError::Exists);
        }
        // SQLite takes what begins with `file:` for a URL.
        let file = &std::path::absolute(file).map_err(|err| failed(&err))?;
        let unfinished = Unfinished::beside(file)?;
        let path = unfinished.0.to_str().ok_or_else(|| failed(&"the file's name is no text"))?;
        // SQLite takes an empty file for none.
        let vacuum = sqlx::query("VACUUM INTO $1").bind(path);
        vacuum.execute(&store.readers).await?;
        unfinished.becomes(file).map_err(|err| match err.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists,
            _ => failed(&err),
        })
    }

    /// Puts a [`backup`](Self::backup) into the folder, in which no relay runs. With `force` it
    /// takes the place of what is there.
    ///
    /// # Errors
    ///
    /// The file is no store, or there is one in the folder.
    pub(crate) async fn restore(
        mut file: File,
        folder: &DataFolder,
        force: bool,
    ) -> Result<(), StoreError> {
        let _lock = alone(folder)?;
        if folder.file(FILE).exists() && !force {
            return Err(StoreError::Exists);
        }
        // Nothing is done to what is there before this one is known to be good.
        let copy = Unfinished(folder.file(RESTORED));
        copy.remove();
        let mut new = folder.new_file(RESTORED).map_err(|err| failed(&err))?;
        io::copy(&mut file, &mut new).map_err(|err| failed(&err))?;
        check(&copy.0).await?;
        merge(&folder.file(FILE)).await?;
        // What belongs to the old one would be taken for a part of the new one.
        for beside in BESIDE {
            match fs::remove_file(folder.file(&format!("{FILE}{beside}"))) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(failed(&err)),
                _ => (),
            }
        }
        let path = folder.file(FILE);
        new.sync_all().and_then(|()| fs::rename(&copy.0, &path)).map_err(|err| failed(&err))?;
        settled(&path).map_err(|err| failed(&err))
    }
}

/// Whether the file is a store of this version, or of one before, and undamaged.
async fn check(file: &Path) -> Result<(), StoreError> {
    let none = |err: sqlx::Error| match err {
        sqlx::Error::Database(err) => failed(&format_args!("it is none: {}", err.message())),
        err => err.into(),
    };
    // One that was copied by other means may expect files beside it.
    let options = SqliteConnectOptions::new().filename(file);
    let options = options.journal_mode(SqliteJournalMode::Delete).disable_statement_logging();
    let mut copy = options.connect().await.map_err(none)?;
    let damage: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut copy).await.map_err(none)?;
    if damage != "ok" {
        return Err(failed(&format_args!("it is damaged: {damage}")));
    }
    const VERSION: &str = "SELECT MAX(version) FROM _sqlx_migrations";
    let version: Option<i64> =
        sqlx::query_scalar(VERSION).fetch_one(&mut copy).await.map_err(none)?;
    if version > SQLITE.iter().map(|(version, _)| *version).max() {
        return Err(StoreError::Newer);
    }
    let tables = sqlx::query("SELECT 1 FROM users, tokens, changes LIMIT 1");
    tables.execute(&mut copy).await.map_err(none)?;
    Ok(copy.close().await?)
}

/// Puts what SQLite keeps beside a file into it: it is whole without that from then on, and nothing
/// that was revoked is good again if it stays.
pub(super) async fn merge(file: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false);
    let merged = async {
        let mut old = options.disable_statement_logging().connect().await?;
        let merge = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)");
        let is_busy: i64 = merge.fetch_one(&mut old).await?;
        old.close().await?;
        Ok::<_, sqlx::Error>(is_busy != 0)
    };
    match merged.await {
        Ok(true) => Err(StoreError::Unavailable("others use what is to be replaced".into())),
        // None is there, or it is damaged, which may be why another one is to take its place.
        Ok(false) | Err(_) => Ok(()),
    }
}

/// A file that is removed unless it becomes another one.
struct Unfinished(PathBuf);

impl Unfinished {
    /// An empty one in the same folder, which only its user can read.
    fn beside(file: &Path) -> Result<Self, StoreError> {
        let name = file.file_name().ok_or_else(|| failed(&"that is no name of a file"))?;
        let unfinished = Self(file.with_file_name(named(".".as_ref(), name, ".new")));
        // Left behind by one that was killed.
        unfinished.remove();
        new_private(&unfinished.0).map_err(|err| failed(&err))?;
        Ok(unfinished)
    }

    /// It is `file` from now on, which must not be there.
    fn becomes(&self, file: &Path) -> io::Result<()> {
        File::open(&self.0)?.sync_all()?;
        match fs::hard_link(&self.0, file) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => return Err(err),
            // There are file systems without a second name for a file.
            Err(_) => fs::rename(&self.0, file)?,
            Ok(()) => (),
        }
        settled(file)
    }

    fn remove(&self) {
        // It may not be there.
        drop(fs::remove_file(&self.0));
        for beside in BESIDE {
            drop(fs::remove_file(named("".as_ref(), self.0.as_os_str(), beside)));
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.remove();
    }
}

fn named(before: &OsStr, name: &OsStr, behind: &str) -> OsString {
    [before, name, behind.as_ref()].join("".as_ref())
}

/// A file that has got its name keeps it, even if the power goes in the next moment.
fn settled(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
