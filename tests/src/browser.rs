//! A real browser: Chromium from Debian's package, which shows nothing to anybody.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::authority::Identity;
use crate::files::Folder;

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

/// A browser with a profile of its own, all of whose processes go when it is dropped. If the test has
/// failed by then, what it wrote is printed.
#[derive(Debug)]
pub struct Browser {
    process: Child,
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
        let profile = Folder::new();
        let log = File::create(profile.file("log")).expect("a file");
        let process = Command::new("chromium")
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--ignore-certificate-errors-spki-list={}", key(identity)))
            // It would look for the host at all loopback addresses, which are others' as well.
            .arg(format!("--host-resolver-rules=MAP {host} {}", at.ip()))
            .arg(format!("https://{host}:{}/", at.port()))
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // All that it starts, too.
            .process_group(0)
            .spawn()
            .expect("chromium, which `make test-programs` installs");
        Self { process, profile }
    }

    #[expect(clippy::print_stderr, reason = "the output of a test that has failed")]
    fn show(&self) {
        let log = fs::read(self.profile.file("log")).unwrap_or_default();
        eprintln!("the browser:\n{}", String::from_utf8_lossy(&log));
    }
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
    }
}
