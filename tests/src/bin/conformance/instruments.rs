//! The programs of the suites: where they are, and how they are run.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

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
    /// it says is the result `log`.
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
        let mut child = self.start(command, log);
        timeout(patience, child.wait()).await.ok().map(|status| status.expect("its status"))
    }

    /// Starts `command`, which serves at `address` until it is dropped.
    ///
    /// # Panics
    ///
    /// It cannot be started, or does not listen.
    pub(crate) async fn serve(&self, command: Command, log: &str, address: SocketAddr) -> Child {
        let child = self.start(command, log);
        eventually("the local service to listen", async || {
            Peer::try_connect(address).await.is_ok()
        })
        .await;
        child
    }

    fn start(&self, mut command: Command, log: &str) -> Child {
        let output = File::options().create(true).append(true).open(self.results.join(log));
        let output = output.expect("a file for what it says");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(output.try_clone().expect("the same file")).stderr(output);
        command.spawn().unwrap_or_else(|err| {
            panic!("cannot start {:?}, which `make conformance` installs: {err}", command.as_std())
        })
    }
}
