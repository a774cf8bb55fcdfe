//! The audit log: lines about who came, who was sent away and what has changed, in a file of their
//! own, as JSON, whatever the filter of the log leaves out.
//!
//! It is written like the log, by a thread that holds nobody up. Programs that move it away say so,
//! and it begins anew under its name.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, error, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::kit::output::{Output, Progress, Queue};
#[cfg(unix)]
use crate::kit::small_file;

/// The target of these lines.
pub const AUDIT: &str = "audit";

/// The audit log of the process. Dropped, it waits for what is queued, as [`Output`] says.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
    /// The file that takes the place of the one that is written to, from the next line on.
    next: Arc<Mutex<Option<File>>>,
    output: Output,
}

/// The queue of the audit log, once it has been started.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

impl Audit {
    /// Appends to the file at `path`, which is made if it is not there, for the user alone.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or there is no thread to be had.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let (file, next) = (open(path)?, Arc::default());
        let appended = Appended { file, next: Arc::clone(&next), fails: false };
        let output = Output::start(AUDIT, appended, attend)?;
        QUEUE.get_or_init(|| Arc::clone(output.queue()));
        Ok(Self { path: path.to_owned(), next, output })
    }

    /// What takes the lines for it.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_subscriber::fmt::layer()
            .log_internal_errors(false)
            .with_writer(Arc::clone(self.output.queue()))
            .json()
            .flatten_event(true)
            .with_filter(Targets::new().with_target(AUDIT, LevelFilter::INFO))
    }

    /// Goes on in the file that has the name now, or in a new one if none has. May wait for the
    /// disk.
    pub(super) fn reopen(&self) {
        match open(&self.path) {
            Ok(file) => {
                info!("the audit log goes on in {}", self.path.display());
                *self.next.lock() = Some(file);
            }
            Err(err) => {
                let path = self.path.display();
                error!("the audit log goes on where it was: cannot open {path}: {err}");
            }
        }
    }
}

/// How many lines of it were dropped since the process started.
pub(super) fn dropped() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.dropped())
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

/// Says what it had to leave out. Runs on the thread that writes it.
fn attend(progress: Progress) -> Option<std::time::Instant> {
    if progress.dropped > 0 {
        warn!(dropped = progress.dropped, "lines are missing in the audit log");
    }
    None
}

/// The file, whichever it is just now.
struct Appended {
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
                    error!("the audit log cannot be written: {err}");
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
        let folder = std::env::temp_dir().join(format!("sallyport-audit-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, moved) = (folder.join("audit.log"), folder.join("audit.log.1"));
        fs::write(&path, "before\n").unwrap();
        let next = Arc::default();
        let file = open(&path).unwrap();
        let mut appended = Appended { file, next: Arc::clone(&next), fails: false };
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
        let (path, fifo) = (folder.join("audit.log"), folder.join("fifo"));
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert!(open(&fifo).unwrap_err().to_string().contains("nobody reads it"));

        let (reader, writer) = io::pipe().unwrap();
        let next = Arc::default();
        let file = open(Path::new(&format!("/dev/fd/{}", writer.as_raw_fd()))).unwrap();
        let mut appended = Appended { file, next: Arc::clone(&next), fails: false };
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
