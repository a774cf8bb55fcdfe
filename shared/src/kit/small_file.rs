//! Files that are read as a whole: settings, secrets, certificates.
//!
//! Whatever is in a file's place, reading it ends. A pipe may be read, since shells put one there
//! for `<(command)`, but it is waited for only so long; one that nobody writes to holds up nobody
//! at all. What has no end, such as `/dev/zero`, is read no further than a file may be long.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::fs::OFlags;

/// How long a pipe may take: whatever writes to it may have to ask another machine first.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a file is opened of which nobody knows what it is: at the end of a pipe it would be waited for
/// the other end.
#[cfg(unix)]
pub(super) const WITHOUT_WAITING: i32 = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();

/// What the file at `path` holds, if that is no more than `most` bytes. May wait, so not for a
/// thread that moves data.
///
/// # Errors
///
/// What the system says. [`ErrorKind::FileTooLarge`]: there is more in it. [`ErrorKind::TimedOut`]:
/// it is a pipe or the like that does not end. [`ErrorKind::UnexpectedEof`]: it is a pipe through
/// which nothing came.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_within(path, most, PATIENCE)
}

/// As [`read`], for text.
///
/// # Errors
///
/// As [`read`]. [`ErrorKind::InvalidData`]: it is no UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// As [`read`], but of a regular file alone, and no more than its first `most` bytes: for whoever
/// only looks, and must not take what others want to read.
///
/// # Errors
///
/// What the system says; also that it is no regular file.
pub(super) fn look(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Opening the end of a pipe wakes whoever is at the other one.
    let is_regular = |found: &Metadata| {
        if found.is_file() { Ok(()) } else { Err(io::Error::other("it is no regular file")) }
    };
    is_regular(&fs::metadata(path)?)?;
    let file = open(path)?;
    is_regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_within(path: &Path, most: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let file = open(path)?;
    let (mut bytes, mut rest) = (Vec::new(), (&file).take(most.saturating_add(1)));
    while let Err(err) = rest.read_to_end(&mut bytes) {
        if err.kind() != ErrorKind::WouldBlock {
            return Err(err);
        }
        if !has_more(&file, deadline)? {
            let what = format!("it is no regular file, and did not end within {patience:?}");
            return Err(io::Error::new(ErrorKind::TimedOut, what));
        }
    }
    if bytes.len() as u64 > most {
        let what = format!("it is larger than {most} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, what));
    }
    if bytes.is_empty() && is_pipe(&file.metadata()?) {
        let what = "it is a pipe, and nothing came through it";
        return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
    }
    Ok(bytes)
}

/// Waits until there is more to read, or the end of it, and no longer than until `deadline`. Whether
/// there is.
#[cfg(unix)]
fn has_more(file: &File, deadline: Instant) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::retry_on_intr;
    let ready = retry_on_intr(|| {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        poll(&mut [PollFd::new(file, PollFlags::IN)], left.as_ref())
    });
    Ok(ready? > 0)
}

/// Elsewhere nothing has to be waited for.
#[cfg(not(unix))]
fn has_more(_: &File, _: Instant) -> io::Result<bool> {
    Ok(false)
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(WITHOUT_WAITING).open(path)
}

/// Elsewhere a pipe has no place among files.
#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Whether it is a pipe, with a name or without.
#[cfg(unix)]
pub fn is_pipe(found: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type())
}

/// Elsewhere a pipe has no place among files.
#[cfg(not(unix))]
pub fn is_pipe(_: &Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{PipeReader, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::process::Command;
    use std::thread;

    use rustix::io::ioctl_fionread;

    use super::*;

    /// A folder that is removed with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("sallyport-small-file-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).expect("a new folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn kind(read: io::Result<Vec<u8>>) -> ErrorKind {
        read.expect_err("an error").kind()
    }

    /// Where a pipe has a name, as a shell gives one to `<(command)`.
    fn name_of(pipe: &PipeReader) -> PathBuf {
        PathBuf::from(format!("/dev/fd/{}", pipe.as_raw_fd()))
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_no_further() {
        let folder = Folder::new("regular");
        let path = folder.0.join("file");
        fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(kind(read(&path, 3)), ErrorKind::FileTooLarge);
        assert_eq!(look(&path, 3).unwrap(), b"fou");
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"");
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path, 4).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(kind(read(&folder.0.join("none"), 4)), ErrorKind::NotFound);
        assert_eq!(kind(read(&folder.0, 4)), ErrorKind::IsADirectory);
    }

    #[test]
    fn a_link_to_what_has_no_end_is_not_read_for_ever() {
        let folder = Folder::new("endless");
        let path = folder.0.join("file");
        symlink("/dev/zero", &path).unwrap();
        assert_eq!(kind(read(&path, 1 << 20)), ErrorKind::FileTooLarge);
        assert_eq!(kind(look(&path, 1 << 20)), ErrorKind::Other);
    }

    #[test]
    fn a_pipe_in_a_files_place_that_nobody_writes_to_holds_up_nobody() {
        let folder = Folder::new("fifo");
        let path = folder.0.join("file");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(kind(read(&path, 4)), ErrorKind::UnexpectedEof);
        assert_eq!(kind(look(&path, 4)), ErrorKind::Other);
    }

    #[test]
    fn what_comes_through_a_pipe_is_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        let name = name_of(&reader);
        let reading = thread::spawn(move || read(&name, 7).unwrap());
        writer.write_all(b"one ").unwrap();
        while ioctl_fionread(&reader).unwrap() > 0 {
            assert!(!reading.is_finished(), "it is not all");
            thread::yield_now();
        }
        writer.write_all(b"two").unwrap();
        drop(writer);
        assert_eq!(reading.join().unwrap(), b"one two");
        assert_eq!(kind(read(&name_of(&reader), 7)), ErrorKind::UnexpectedEof, "read already");
    }

    #[test]
    fn a_pipe_that_stays_silent_or_open_is_not_waited_for_for_ever() {
        let (reader, mut writer) = io::pipe().unwrap();
        let read = || read_within(&name_of(&reader), 7, Duration::from_millis(30));
        assert_eq!(kind(read()), ErrorKind::TimedOut);
        writer.write_all(b"one").unwrap();
        assert_eq!(kind(read()), ErrorKind::TimedOut);
        writer.write_all(b"one too many").unwrap();
        assert_eq!(kind(read()), ErrorKind::FileTooLarge);
    }
}
