//! A file of lines that is written by a thread of its own, and begins anew under its name when
//! somebody has moved it away.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{error, info, warn};

use crate::kit::output::{Output, Queue};
#[cfg(unix)]
use crate::kit::small_file;

/// A file of lines. Whoever has one holds nobody up: it is written as [`Output`] says. Dropped, it
/// waits for what is queued.
#[derive(Debug)]
pub struct LogFile {
    /// What it is called in the log, such as `audit log`.
    what: &'static str,
    path: PathBuf,
    /// The file that takes the place of the one that is written to, from the next line on.
    next: Arc<Mutex<Option<File>>>,
    output: Output,
}

/// The queues of all of them: what they have dropped counts for as long as the process lasts.
static QUEUES: Mutex<Vec<Arc<Queue>>> = Mutex::new(Vec::new());

impl LogFile {
    /// Appends to the file at `path`, which is made if it is not there, for the user alone. `what` is
    /// what the log calls it.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or there is no thread to be had.
    pub fn start(what: &'static str, path: &Path) -> io::Result<Self> {
        let (file, next) = (open(path)?, Arc::default());
        let appended = Appended { what, file, next: Arc::clone(&next), fails: false };
        // Says what it had to leave out, on the thread that writes.
        let output = Output::start(what, appended, move |progress| {
            if progress.dropped > 0 {
                warn!(dropped = progress.dropped, "lines are missing in the {what}");
            }
            None
        })?;
        QUEUES.lock().push(Arc::clone(output.queue()));
        Ok(Self { what, path: path.to_owned(), next, output })
    }

    /// Queues a line, which ends with a line feed; drops and counts it if there is no room.
    pub fn push(&self, line: &[u8]) {
        self.output.push(line);
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        self.output.queue()
    }

    /// Goes on in the file that has the name now, or in a new one if none has. May wait for the
    /// disk.
    pub fn reopen(&self) {
        let (what, path) = (self.what, self.path.display());
        match open(&self.path) {
            Ok(file) => {
                info!("the {what} goes on in {path}");
                *self.next.lock() = Some(file);
            }
            Err(err) => error!("the {what} goes on where it was: cannot open {path}: {err}"),
        }
    }
}

/// How many lines of such files were dropped since the process started.
pub(super) fn dropped() -> u64 {
    QUEUES.lock().iter().map(|queue| queue.dropped()).sum()
}

/// Opens it without waiting: a pipe that nobody reads is an error.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::io::Errno;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(small_file::WITHOUT_WAITING);
    options.open(path).map_err(|err| match Errno::from_io_error(&err) {
        Some(Errno::NXIO) => io::Error::other("it is a pipe or a socket, and nobody reads it"),
        _ => err,
    })
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The file, whichever it is just now.
struct Appended {
    what: &'static str,
    file: File,
    next: Arc<Mutex<Option<File>>>,
    /// The last line could not be written.
    fails: bool,
}

impl Write for Appended {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if let Some(next) = self.next.lock().take() {
            self.file = next;
        }
        let written = self.file.write(lines);
        match &written {
            Ok(_) => self.fails = false,
            // A pipe may be full: then it is tried again, for as long as this is the file.
            Err(err) if matches!(err.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => (),
            Err(err) => {
                if !std::mem::replace(&mut self.fails, true) {
                    error!("the {} cannot be written: {err}", self.what);
                }
            }
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_go_to_the_file_that_has_the_name_and_are_added_to_what_is_there() {
        let folder = std::env::temp_dir().join(format!("sallyport-lines-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, moved) = (folder.join("lines.log"), folder.join("lines.log.1"));
        fs::write(&path, "before\n").unwrap();
        let next = Arc::default();
        let file = open(&path).unwrap();
        let mut appended = Appended { what: "log", file, next: Arc::clone(&next), fails: false };
        appended.write_all(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        appended.write_all(b"two\n").unwrap();
        *next.lock() = Some(open(&path).unwrap());
        appended.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "before\none\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_that_nobody_reads_is_an_error_and_a_full_one_is_left_for_the_next_file() {
        use std::os::fd::AsRawFd;
        let folder = std::env::temp_dir().join(format!("sallyport-fifo-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, fifo) = (folder.join("lines.log"), folder.join("fifo"));
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert!(open(&fifo).unwrap_err().to_string().contains("nobody reads it"));

        let (reader, writer) = io::pipe().unwrap();
        let next = Arc::default();
        let file = open(Path::new(&format!("/dev/fd/{}", writer.as_raw_fd()))).unwrap();
        let mut appended = Appended { what: "log", file, next: Arc::clone(&next), fails: false };
        let line = [b'x'; 4096];
        let full = std::iter::repeat_with(|| appended.write(&line)).find_map(Result::err);
        assert_eq!(full.map(|err| err.kind()), Some(ErrorKind::WouldBlock));
        assert!(!appended.fails);
        *next.lock() = Some(open(&path).unwrap());
        appended.write_all(b"one\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        drop(reader);
        fs::remove_dir_all(folder).unwrap();
    }
}
