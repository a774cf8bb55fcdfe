//! `client apply --dry-run`: what a running client would change with another file, or with its own.
//!
//! The running client is asked, at a Unix socket, since only it knows with which flags and
//! variables it was started and what it has. The question is the path of the file, the answer one
//! byte that says whether the file is good, and the text for a person.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::kit::owner::{cannot_trust, others_can_write, owners};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::time::timeout;

/// A pause after the system could not accept: whoever asks can ask again.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How long an answer may take, at either end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read: thousands of tunnels, and all of them different.
const LONGEST: u64 = 4 * 1024 * 1024;

/// The longest path that is read: as the kernel's.
const LONGEST_PATH: u64 = 4096;

/// What the first byte of an answer says: the file is good, and the rest are the differences.
const GOOD: u8 = b'+';

/// The file is not good, and the rest says why.
const BAD: u8 = b'!';

/// What a running client answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What would change, a line each.
    Differences(String),
    /// What is wrong with its file.
    Bad(String),
}

/// Where a running client is asked. The socket is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// The socket of a client that runs with the file at `config`. `None` if the environment names
    /// no folder for sockets, or another client with this file has it.
    ///
    /// # Errors
    ///
    /// What the system says; also that others could put a socket of theirs in its place.
    pub(super) fn bind(config: &Path) -> io::Result<Option<Self>> {
        let Some(folder) = own_folder() else { return Ok(None) };
        make(&folder)?;
        let path = folder.join(name(config)?);
        let listener = match UnixListener::bind(&path) {
            Err(err) if err.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(&path).is_ok() {
                    return Ok(None);
                }
                // Left behind by one that was killed.
                fs::remove_file(&path)?;
                UnixListener::bind(&path)?
            }
            bound => bound?,
        };
        Ok(Some(Self { listener, path }))
    }

    /// Waits until somebody asks. Cancel-safe.
    pub(super) async fn asked(&self) -> Question {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Question(stream),
                // Out of descriptors, most likely.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // One that stays is noticed by the next client.
        drop(fs::remove_file(&self.path));
    }
}

/// Somebody who waits for an answer.
#[derive(Debug)]
pub(super) struct Question(tokio::net::UnixStream);

impl Question {
    /// Which file is asked about.
    ///
    /// # Errors
    ///
    /// The question does not come, or is none.
    pub(super) async fn file(&mut self) -> io::Result<PathBuf> {
        let mut path = Vec::new();
        let mut stream = (&mut self.0).take(LONGEST_PATH);
        timeout(PATIENCE, stream.read_to_end(&mut path)).await??;
        Ok(PathBuf::from(OsString::from_vec(path)))
    }

    /// Answers, unless that takes too long.
    pub(super) async fn answer(mut self, answer: &Answer) {
        let (kind, text) = match answer {
            Answer::Differences(text) => (GOOD, text),
            Answer::Bad(text) => (BAD, text),
        };
        let written = async {
            self.0.write_u8(kind).await?;
            self.0.write_all(text.as_bytes()).await
        };
        // Whoever does not read the answer does not want it.
        drop(timeout(PATIENCE, written).await);
    }
}

/// Asks the client that runs with the file at `config` what it would change with the one at
/// `candidate`. Blocks, for some seconds at most.
///
/// # Errors
///
/// No such client runs, or it cannot be asked.
pub fn ask(config: &Path, candidate: &Path) -> io::Result<Answer> {
    let name = name(config)?;
    let folders = own_folder().into_iter().chain([PathBuf::from(SYSTEM_FOLDER)]);
    let mut stream = folders
        .filter_map(|folder| UnixStream::connect(folder.join(&name)).ok())
        .next()
        .ok_or(io::ErrorKind::NotFound)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The running client has a folder of its own.
    let candidate = std::path::absolute(candidate)?;
    stream.write_all(candidate.as_os_str().as_encoded_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    Ok(if kind == [GOOD] { Answer::Differences(text) } else { Answer::Bad(text) })
}

/// Where systemd puts the folder of the service in `deploy/`.
const SYSTEM_FOLDER: &str = "/run/sallyport";

/// The folder for sockets that the environment names: systemd's for a service, or the user's.
fn own_folder() -> Option<PathBuf> {
    let folder = |variable| std::env::var_os(variable).filter(|folder| !folder.is_empty());
    let service = folder("RUNTIME_DIRECTORY").map(PathBuf::from);
    service.or_else(|| Some(PathBuf::from(folder("XDG_RUNTIME_DIR")?).join("sallyport")))
}

/// Makes the folder for sockets, unless it is there.
///
/// # Errors
///
/// What the system says; also that it is not this user's alone.
fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = fs::metadata(folder)?;
    let shown = folder.display();
    if others_can_write(&found) {
        return Err(io::Error::other(format!("others can write to {shown}: chmod go-w {shown}")));
    }
    if owners(&found).is_some_and(|(own, owner)| cannot_trust(own, owner)) {
        return Err(io::Error::other(format!("{shown} belongs to another user")));
    }
    Ok(())
}

/// The socket's name, which follows from the file: the path itself may be longer than an address.
fn name(config: &Path) -> io::Result<String> {
    let path = std::path::absolute(config)?;
    Ok(format!("client-{:016x}.sock", fnv(path.as_os_str())))
}

/// FNV-1a: the same in every version of the program.
fn fnv(text: &OsStr) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    text.as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_always_the_same() {
        let socket = name(Path::new("/etc/sallyport/client.toml")).unwrap();
        assert_eq!(socket, name(Path::new("/etc/./sallyport/client.toml")).unwrap());
        assert_ne!(socket, name(Path::new("/etc/sallyport/other.toml")).unwrap());
        assert_eq!(fnv(OsStr::new("foobar")), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_folder_that_others_can_write_to_gets_no_socket() {
        use std::os::unix::fs::PermissionsExt;
        let above = std::env::temp_dir().join(format!("sallyport-sockets-{}", std::process::id()));
        let folder = above.join("sallyport");
        let mode = || fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
        make(&folder).unwrap();
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let err = make(&folder).unwrap_err().to_string();
        assert!(err.starts_with("others can write to "), "{err}");
        assert_eq!(mode(), 0o777, "it may be meant so");
        fs::remove_dir_all(above).unwrap();
    }
}
