//! A real browser: Chromium or Chrome, which shows nothing to anybody.

mod page;

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::authority::Identity;
use crate::files::Folder;
use crate::wait::eventually;

pub use self::page::Page;

/// The variable that names one in an unusual place.
const NAMED_BY: &str = "SALLYPORT_BROWSER";

/// What those are called that would do, the best first. tests/programs looks for the same.
const NAMES: [&str; 3] = ["chromium", "google-chrome", "google-chrome-stable"];

/// Where snaps are, which would not do: they see another temporary folder than the test.
const SNAPS: &str = "/snap";

/// What keeps it to the page that it is given, and lets it run as root.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
];

/// How long its processes may take to go, once they are killed or those are whom they help.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A browser with a profile of its own, all of whose processes go when it is dropped. If the test has
/// failed by then, what it wrote is printed.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    /// The other end of what each of its processes has as stdout: it ends with the last of them.
    stdout: UnixStream,
    profile: Folder,
}

impl Browser {
    /// Opens `https://HOST:PORT/`, where HOST is at the address of `at`, and trusts the key of
    /// `identity` beside those of the authorities that everybody knows.
    ///
    /// # Panics
    ///
    /// It is not installed (see tests/programs).
    pub fn open(host: &str, at: SocketAddr, identity: &Identity) -> Self {
        Self::start(&[
            format!("--ignore-certificate-errors-spki-list={}", key(identity)),
            // It would look for the host at all loopback addresses, which are others' as well.
            format!("--host-resolver-rules=MAP {host} {}", at.ip()),
            format!("https://{host}:{}/", at.port()),
        ])
    }

    /// One that does what a test tells it, with a page to begin with.
    ///
    /// # Panics
    ///
    /// It is not installed (see tests/programs).
    pub async fn driven() -> (Self, Page) {
        let browser = Self::start(&["--remote-debugging-port=0".into(), "about:blank".into()]);
        let file = browser.profile.file("DevToolsActivePort");
        let mut told = String::new();
        eventually("the browser to say where it is told what to do", async || {
            told = fs::read_to_string(&file).unwrap_or_default();
            told.lines().count() == 2
        })
        .await;
        let (port, path) = told.split_once('\n').expect("two lines");
        let port = port.parse().expect("a port");
        let page = Page::first(SocketAddr::from(([127, 0, 0, 1], port)), path.trim()).await;
        (browser, page)
    }

    fn start(more: &[String]) -> Self {
        let profile = Folder::new();
        let log = File::create(profile.file("log")).expect("a file");
        let (stdout, theirs) = UnixStream::pair().expect("two sockets");
        stdout.set_read_timeout(Some(GONE_WITHIN)).expect("a time to wait for");
        let process = Command::new(program())
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(more)
            .env("HOME", profile.path())
            // What it keeps beside its profile goes with that.
            .env("TMPDIR", profile.path())
            .stdin(Stdio::null())
            .stdout(OwnedFd::from(theirs))
            .stderr(log)
            // All that it starts, too.
            .process_group(0)
            .spawn()
            .expect("a browser that can be started");
        Self { process, stdout, profile }
    }

    #[expect(clippy::print_stderr, reason = "the output of a test that has failed")]
    fn show(&self) {
        let log = fs::read(self.profile.file("log")).unwrap_or_default();
        eprintln!("the browser:\n{}", String::from_utf8_lossy(&log));
    }
}

/// The one that is named, or else the first that is found.
fn program() -> PathBuf {
    if let Some(named) = env::var_os(NAMED_BY) {
        return named.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> =
        env::split_paths(&path).filter(|folder| !folder.starts_with(SNAPS)).collect();
    let mut found =
        NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    found.find(|file| file.is_file()).expect("chromium, which `make test-programs` installs")
}

/// The digest of its public key, as Chromium wants it.
fn key(identity: &Identity) -> String {
    let pin = identity.pin().to_string();
    pin.strip_prefix("sha256:").expect("a pin in base64").to_owned()
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        let group = Pid::from_child(&self.process);
        // It may have ended by itself.
        kill_process_group(group, Signal::KILL).ok();
        drop(self.process.wait());
        // Those that look after its crashes are in groups of their own and notice that it has gone.
        // Until then they may write into the profile, which could not be removed.
        io::copy(&mut self.stdout, &mut io::sink()).ok();
    }
}
