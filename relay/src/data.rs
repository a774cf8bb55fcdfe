//! The folder in which the relay keeps what has to outlast it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use shared::kit::owner::{ROOT, cannot_trust, others_can_write, owners};

/// A folder of the relay's own, which nobody else can write to.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder(PathBuf);

/// Keeps other relays out of a folder. The system takes it away with the process.
#[derive(Debug)]
pub(crate) struct DataLock(#[expect(dead_code, reason = "it is there to be held")] File);

/// What a relay locks.
const LOCK: &str = "relay.lock";

impl DataFolder {
    /// The folder at `path`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be made, is no folder, or others can write to it: what is kept in it, keys among
    /// it, could be theirs.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let made = private_folder().recursive(true).create(path);
        if made.is_err() && fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
            bail!("{shown} is no folder: choose another with --data");
        }
        made.with_context(|| {
            format!("cannot make the folder {shown}: choose another with --data")
        })?;
        let found = fs::metadata(path).with_context(|| format!("cannot look at {shown}"))?;
        if others_can_write(&found) {
            bail!("others can write to {shown}: chmod go-w {shown}, or choose another with --data");
        }
        if owners(&found).is_some_and(|(own, owner)| cannot_trust(own, owner)) {
            bail!("{shown} belongs to another user: chown it, or choose another with --data");
        }
        // SQLite takes what begins with `file:` for a URL.
        let whole = std::path::absolute(path);
        Ok(Self(whole.with_context(|| format!("cannot tell where {shown} is"))?))
    }

    /// Keeps other relays from using the folder, for as long as the lock is there.
    ///
    /// # Errors
    ///
    /// Another relay uses it.
    pub(crate) fn lock(&self) -> anyhow::Result<DataLock> {
        let path = self.file(LOCK);
        let file = self.lock_file(LOCK);
        let file = file.with_context(|| {
            format!("cannot open {}, which this user has to be able to write to", path.display())
        })?;
        match file.try_lock() {
            Ok(()) => Ok(DataLock(file)),
            Err(TryLockError::WouldBlock) => {
                let folder = self.0.display();
                bail!("another relay uses {folder}: stop it, or choose another with --data")
            }
            Err(TryLockError::Error(err)) => {
                Err(err).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// A file that is there to be locked, by nobody but the relay's user: whoever can open it can
    /// lock it.
    pub(crate) fn lock_file(&self, name: &str) -> io::Result<File> {
        let path = self.file(name);
        match self.new_file(name) {
            Err(err) if err.kind() == ErrorKind::AlreadyExists => open_private(&path),
            made => made,
        }
    }

    /// A file that is not there yet, for nobody but the relay's user.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn new_file(&self, name: &str) -> io::Result<File> {
        let file = new_private(&self.file(name))?;
        self.hand_over(&file)?;
        Ok(file)
    }

    /// Whether what is called so, if it is there, is a file and no link, in a folder of somebody
    /// else: for whoever can only open it by its name. The folder's owner can still change it in
    /// between.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub(crate) fn check(&self, name: &str) -> io::Result<()> {
        if owners(&fs::metadata(&self.0)?).is_none_or(|(own, owner)| own == owner) {
            return Ok(());
        }
        match fs::symlink_metadata(self.file(name)) {
            Ok(found) => is_itself(&found),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
            Err(err) => Err(err),
        }
    }

    /// Gives a new file to the folder's owner: root makes some for a relay that runs as somebody else
    /// and could not open them.
    ///
    /// # Errors
    ///
    /// What the system says.
    #[cfg(unix)]
    fn hand_over(&self, file: &File) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, fchown};
        let (folder, own) = (fs::metadata(&self.0)?, file.metadata()?);
        if own.uid() != ROOT || folder.uid() == ROOT {
            return Ok(());
        }
        match fchown(file, Some(folder.uid()), Some(folder.gid())) {
            // Not every root may.
            Err(err) if err.kind() == ErrorKind::PermissionDenied => Ok(()),
            done => done,
        }
    }

    /// Elsewhere a file has the rights of its folder.
    #[cfg(not(unix))]
    fn hand_over(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    /// Where a file in it is, or would be.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only the relay's user can read. It is there as a whole or not at all.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn write_private(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let unfinished = format!(".{name}.new");
        let (path, new) = (self.file(name), self.file(&unfinished));
        let write = || -> io::Result<()> {
            // Left behind by a relay that was killed.
            drop(fs::remove_file(&new));
            let mut file = self.new_file(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A file that is not there yet, which only its user can read.
pub(crate) fn new_private(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().write(true).create_new(true)).open(path)
}

#[cfg(unix)]
fn private_folder() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

/// Opens a file that was there before, and lets nobody but its user do so from then on: it may be
/// anybody's to read.
///
/// # Errors
///
/// What the system says; also that it is no file of its own.
#[cfg(unix)]
fn open_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    use rustix::fs::OFlags;
    use rustix::io::Errno;
    let mut options = OpenOptions::new();
    // At the end of a pipe it would wait for the other one.
    options.write(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    let file = match options.open(path) {
        Err(err) if Errno::from_io_error(&err) == Some(Errno::LOOP) => return Err(is_a_link()),
        opened => opened?,
    };
    is_itself(&file.metadata()?)?;
    // It may be somebody else's to change.
    drop(file.set_permissions(fs::Permissions::from_mode(0o600)));
    Ok(file)
}

/// Whether it is a file with one name: what a link leads to is not the folder owner's to have
/// changed by root.
fn is_itself(found: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    let names = std::os::unix::fs::MetadataExt::nlink(found);
    #[cfg(not(unix))]
    let names = 1;
    if found.is_file() && names == 1 { Ok(()) } else { Err(is_a_link()) }
}

fn is_a_link() -> io::Error {
    io::Error::other("it is a link, or no file at all")
}

/// Elsewhere a folder has the rights of the one above it.
#[cfg(not(unix))]
fn private_folder() -> DirBuilder {
    DirBuilder::new()
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(not(unix))]
fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_is_the_relays_alone() {
        let above = std::env::temp_dir().join(format!("sallyport-data-{}", std::process::id()));
        let path = above.join("data");
        let data = DataFolder::open(&path).unwrap();
        data.write_private("key", b"one").unwrap();
        data.write_private("key", b"two").unwrap();
        assert_eq!(fs::read(data.file("key")).unwrap(), b"two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&data.file("key"))), (0o700, 0o600));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        let err = DataFolder::open(&path).unwrap_err().to_string();
        assert!(err.starts_with("others can write to "), "{err}");
        let err = DataFolder::open(&data.file("key")).unwrap_err().to_string();
        assert!(err.ends_with("key is no folder: choose another with --data"), "{err}");

        // As it was left by a relay of before.
        fs::write(data.file(LOCK), "").unwrap();
        fs::set_permissions(data.file(LOCK), fs::Permissions::from_mode(0o644)).unwrap();
        let lock = data.lock().unwrap();
        assert_eq!(mode(&data.file(LOCK)), 0o600);
        assert!(data.lock().unwrap_err().to_string().starts_with("another relay uses "));
        drop(lock);
        data.lock().unwrap();

        // What root would change for the folder's owner.
        let others = above.join("shadow");
        fs::write(&others, "").unwrap();
        fs::set_permissions(&others, fs::Permissions::from_mode(0o644)).unwrap();
        let links: [fn(&Path, &Path) -> io::Result<()>; 2] =
            [|from, to| std::os::unix::fs::symlink(from, to), |from, to| fs::hard_link(from, to)];
        for link in links {
            fs::remove_file(data.file(LOCK)).unwrap();
            link(&others, &data.file(LOCK)).unwrap();
            let err = format!("{:#}", data.lock().unwrap_err());
            assert!(err.ends_with("it is a link, or no file at all"), "{err}");
            assert_eq!(mode(&others), 0o644);
        }
        fs::remove_dir_all(above).unwrap();
    }
}
