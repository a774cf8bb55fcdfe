//! The programs of the suites: where they are, and how they are run.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tests::{Peer, eventually};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Where the suites' programs are, and where they leave what they say.
#[derive(Debug)]
pub(crate) struct Instruments {
    programs: PathBuf,
    results: PathBuf,
    /// Whether cases that take very long are run too.
    pub(crate) all: bool,
}

impl Instruments {
    /// Those that `tests/conformance/install` has put into `folder`. What was said before is removed.
    pub(crate) fn in_folder(folder: &Path, all: bool) -> Self {
        let folder = std::path::absolute(folder).expect("a folder");
        let results = folder.join("results");
        drop(fs::remove_dir_all(&results));
        fs::create_dir_all(&results).expect("a folder for results");
        Self { programs: folder.join("bin"), results, all }
    }

    /// One of the programs in the folder.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    /// Where a file or a folder with a result of this name comes to be. None is there: what an
    /// earlier run has left is removed, so that nobody takes it for this one's.
    pub(crate) fn result(&self, name: &str) -> PathBuf {
        let path = self.results.join(name);
        drop(if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) });
        path
    }

    /// Runs `command` until it ends, or for `patience`: then it is killed and has no status. What
    /// it has started is killed in either case. What it says is the result `log`.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub(crate) async fn run(
        &self,
        command: Command,
        log: &str,
        patience: Duration,
    ) -> Option<ExitStatus> {
        let mut running = self.start(command, log);
        let ended = timeout(patience, running.child.wait()).await;
        ended.ok().map(|status| status.expect("its status"))
    }

    /// Starts `command`, which serves at `address` until it is dropped.
    ///
    /// # Panics
    ///
    /// It cannot be started, ends by itself, or does not listen.
    pub(crate) async fn serve(&self, command: Command, log: &str, address: SocketAddr) -> Running {
        let mut running = self.start(command, log);
        eventually("the local service to listen", async || {
            running.expect_alive();
            Peer::try_connect(address).await.is_ok()
        })
        .await;
        running
    }

    fn start(&self, mut command: Command, log: &str) -> Running {
        let log = self.results.join(log);
        let output = File::options().create(true).append(true).open(&log);
        let output = output.expect("a file for what it says");
        // A group of its own: all that it starts can be killed with it.
        command.stdin(Stdio::null()).kill_on_drop(true).process_group(0);
        command.stdout(output.try_clone().expect("the same file")).stderr(output);
        let child = command.spawn().unwrap_or_else(|err| {
            panic!("cannot start {:?}, which `make conformance` installs: {err}", command.as_std())
        });
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("a process");
        Running { child, group, log }
    }
}

/// A program that was started. It is killed when this is dropped, and so is all that it has started.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl Running {
    /// Expects that it has not ended.
    ///
    /// # Panics
    ///
    /// It has.
    pub(crate) fn expect_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("its status") {
            panic!("the local service has ended ({status}): see {}", self.log.display());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing of it may be left.
        kill_process_group(self.group, Signal::KILL).ok();
    }
}
