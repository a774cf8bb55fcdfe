//! The operator's program that puts records into the DNS and takes them out of it, wherever that is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use shared::kit::logging::Foreign;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;
use tracing::info;

/// How long the program may take: it waits until the record can be seen everywhere.
const LONGEST: Duration = Duration::from_secs(300);

/// So much of what it says is logged, of each of its two outputs.
const SAID: u64 = 4 * 1024;

/// Variables of the relay's own environment, some of which hold secrets that are none of the
/// program's business.
const OWN: &str = "RELAY_";

/// The operator's program. It is run without a shell, as `PROGRAM add|remove NAME TYPE VALUE`.
#[derive(Clone, Debug)]
pub(crate) struct Hook(PathBuf);

impl Hook {
    pub(crate) fn new(program: &Path) -> Self {
        Self(program.to_owned())
    }

    /// Has it put a record there, beside others of that name.
    ///
    /// # Errors
    ///
    /// It cannot be run, takes too long, or says that it has failed. The record may be there all the
    /// same.
    ///
    /// # Cancel safety
    ///
    /// The program is killed, and the record may be there.
    pub(super) async fn add(&self, name: &str, kind: &str, value: &str) -> anyhow::Result<()> {
        self.run(["add", name, kind, value]).await
    }

    /// Has it take that record away, and leave others.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub(super) async fn remove(&self, name: &str, kind: &str, value: &str) -> anyhow::Result<()> {
        self.run(["remove", name, kind, value]).await
    }

    async fn run(&self, args: [&str; 4]) -> anyhow::Result<()> {
        let shown = self.0.display();
        let [action, name, ..] = args;
        let mut command = Command::new(&self.0);
        command.args(args);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(OWN) {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{shown} cannot be run"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let whole = async {
            let (out, err, status) = tokio::join!(said(out), said(err), child.wait());
            (out, err, status)
        };
        let ended = timeout(LONGEST, whole).await;
        let (out, err, status) =
            ended.with_context(|| format!("{shown} {action} has not ended within {LONGEST:?}"))?;
        for line in out.lines().chain(err.lines()).filter(|line| !line.is_empty()) {
            info!("{shown} {action} {name}: {}", Foreign(line));
        }
        let status = status.with_context(|| format!("{shown} {action}"))?;
        if !status.success() {
            bail!("{shown} {action} has failed: {status}");
        }
        Ok(())
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
