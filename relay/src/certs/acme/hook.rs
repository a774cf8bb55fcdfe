//! The operator's program that puts records into the DNS and takes them out of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use shared::kit::logging::Foreign;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;
use tracing::{info, warn};

/// How long the program may take: it waits until the record can be seen everywhere.
const LONGEST: Duration = Duration::from_secs(300);

/// So much of what it says is logged, of each of its two outputs.
const SAID: u64 = 4 * 1024;

/// Variables of the relay's own environment, some of which hold secrets that are none of the
/// program's business.
const OWN: &str = "RELAY_";

/// A record that the program puts into the DNS.
#[derive(Debug)]
pub(super) struct Record {
    program: PathBuf,
    name: String,
    value: String,
}

impl Record {
    pub(super) fn new(program: &Path, name: String, value: String) -> Self {
        Self { program: program.to_owned(), name, value }
    }

    /// Has the program put the record there.
    ///
    /// # Errors
    ///
    /// It cannot be run, takes too long, or says that it has failed. The record may be there all the
    /// same.
    ///
    /// # Cancel safety
    ///
    /// The program is killed, and the record may be there.
    pub(super) async fn set(&self) -> Result<(), String> {
        self.run("set").await
    }

    /// Has the program take the record away. That it fails is logged and stops nothing.
    pub(super) async fn unset(self) {
        if let Err(err) = self.run("unset").await {
            warn!("the record {} may still be in the DNS: {err}", self.name);
        }
    }

    async fn run(&self, action: &str) -> Result<(), String> {
        let shown = self.program.display();
        let mut command = Command::new(&self.program);
        command.args([action, &self.name, &self.value]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(OWN) {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(|err| format!("{shown} cannot be run: {err}"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let whole = async {
            let (out, err, status) = tokio::join!(said(out), said(err), child.wait());
            (out, err, status)
        };
        let ended = timeout(LONGEST, whole).await;
        let (out, err, status) =
            ended.map_err(|_| format!("{shown} {action} has not ended within {LONGEST:?}"))?;
        for line in out.lines().chain(err.lines()).filter(|line| !line.is_empty()) {
            info!("{shown} {action} {}: {}", self.name, Foreign(line));
        }
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{shown} {action} has failed: {status}")),
            Err(err) => Err(format!("{shown} {action}: {err}")),
        }
    }
}

/// The beginning of an output, which is read to its end.
async fn said(output: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut output) = output else { return String::new() };
    let mut bytes = Vec::new();
    // What cannot be read is not logged.
    drop((&mut output).take(SAID).read_to_end(&mut bytes).await);
    drop(tokio::io::copy(&mut output, &mut tokio::io::sink()).await);
    String::from_utf8_lossy(&bytes).into_owned()
}
