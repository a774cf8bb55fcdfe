//! The operator's program that puts records into the DNS and takes them out of it, wherever that
//! is.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process_group};
use shared::kit::logging::Foreign;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::{debug, info};

/// How long the program may take: it waits until the record can be seen everywhere.
const LONGEST: Duration = Duration::from_secs(300);

/// So much of what it says is logged, of each of its two outputs.
const SAID: u64 = 4 * 1024;

/// How long its outputs are read once it has ended: what it leaves behind may hold them open.
const LEFT_OPEN: Duration = Duration::from_secs(1);

/// What variables of the relay's own environment begin with, some of which hold secrets that are
/// none of the program's business: the relay's, and those that lead to its PostgreSQL.
const OWN: [&str; 2] = ["RELAY_", "PG"];

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
    /// It cannot be run, takes too long, or says that it has failed. The record may be there all
    /// the same.
    ///
    /// # Cancel safety
    ///
    /// The program is killed with all that it has started, and the record may be there.
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
            let text = name.to_string_lossy();
            if OWN.iter().any(|own| text.starts_with(own)) {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running =
            Running::start(&mut command).with_context(|| format!("{shown} cannot be run"))?;
        let ended = timeout(LONGEST, running.end()).await;
        let (said, status) =
            ended.with_context(|| format!("{shown} {action} has not ended within {LONGEST:?}"))?;
        for said in said {
            let said = String::from_utf8_lossy(&said);
            for line in said.lines().filter(|line| !line.is_empty()) {
                info!("{shown} {action} {name}: {}", Foreign(line));
            }
        }
        let status = status.with_context(|| format!("{shown} {action}"))?;
        if !status.success() {
            bail!("{shown} {action} has failed: {status}");
        }
        Ok(())
    }
}

/// The program while it runs, in a process group of its own. Dropping it before the program has
/// ended kills all of the group.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> io::Result<Self> {
        command.kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        command.spawn().map(Self)
    }

    /// Waits until it has ended. Returns the beginnings of its two outputs.
    async fn end(&mut self) -> ([Vec<u8>; 2], io::Result<ExitStatus>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (from_out, from_err) = (self.0.stdout.take(), self.0.stderr.take());
        let status = {
            let mut reading =
                pin!(async { tokio::join!(read(from_out, &mut out), read(from_err, &mut err)) });
            tokio::select! {
                status = self.0.wait() => {
                    // Whatever goes on in the background is not waited for.
                    drop(timeout(LEFT_OPEN, reading).await);
                    status
                }
                _ = &mut reading => self.0.wait().await,
            }
        };
        ([out, err], status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // There is no number any more once it has ended, which may be somebody else's by now.
        #[cfg(unix)]
        if let Some(group) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()))
            && let Err(err) = kill_process_group(group, Signal::KILL)
        {
            debug!("what a program has started is not killed: {err}");
        }
    }
}

/// Reads an output to its end, and keeps the beginning.
async fn read(output: Option<impl AsyncRead + Unpin>, said: &mut Vec<u8>) {
    let Some(mut output) = output else { return };
    let mut kept = (&mut output).take(SAID);
    // What cannot be read is not logged.
    while matches!(kept.read_buf(said).await, Ok(1..)) {}
    drop(tokio::io::copy(&mut output, &mut tokio::io::sink()).await);
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::File;

    use tokio::io::AsyncWriteExt;
    use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};

    use super::*;
    use crate::scratch::Scratch;

    /// A program in a folder of its own, beside two pipes with names.
    struct Script(Scratch);

    impl Script {
        fn new(text: &str) -> Self {
            let folder = Scratch::new();
            folder.pipe("alive");
            folder.pipe("end");
            folder.program("hook", text);
            Self(folder)
        }

        async fn add(&self) -> anyhow::Result<()> {
            Hook::new(&self.0.file("hook")).add("_acme-challenge.t.example", "TXT", "value").await
        }

        /// Both ends of a pipe: whoever waits at one does so until the program comes to the other.
        fn both_ends(&self, pipe: &str) -> File {
            let open = File::options().read(true).write(true).open(self.0.file(pipe));
            open.expect("a pipe")
        }

        /// Waits until somebody says that it is here.
        async fn is_here(&self) {
            let mut alive = Receiver::from_file(self.both_ends("alive")).expect("a pipe");
            let mut said = [0; 5];
            within("somebody to be here", alive.read_exact(&mut said)).await.expect("a pipe");
            assert_eq!(&said, b"here\n");
        }
    }

    /// Such a thing, unless it takes far too long.
    async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(20), future).await.expect(what)
    }

    #[tokio::test]
    async fn a_program_that_is_not_waited_for_is_killed_with_all_that_it_has_started() {
        let script = Script::new("(echo here; exec tail -f /dev/null) >alive &\nwait");
        // It ends when nobody can write there any more.
        let mut alive = OpenOptions::new().open_receiver(script.0.file("alive")).expect("a pipe");
        tokio::select! {
            done = script.add() => panic!("{done:?}"),
            () = script.is_here() => (),
        }
        within("the child to be gone", alive.read_to_end(&mut Vec::new())).await.expect("an end");
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_is_not_waited_for_and_goes_on() {
        let script = Script::new("(read line <end; echo here >alive) &\nexit 0");
        within("the program", script.add()).await.expect("a record");
        let bad = Script::new("(read line <end; echo here >alive) &\necho bad; exit 3");
        let err = within("the program", bad.add()).await.unwrap_err().to_string();
        assert!(err.contains("exit status: 3"), "{err}");
        for script in [&script, &bad] {
            let mut end = Sender::from_file(script.both_ends("end")).expect("a pipe");
            end.write_all(b"now\n").await.expect("room in the pipe");
            script.is_here().await;
        }
    }
}
