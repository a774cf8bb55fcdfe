//! Processes that end with the value that started them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A running process. It is killed and waited for when this is dropped.
///
/// Its standard input is a pipe that nobody writes to: it ends when the run does, however the run
/// ends, which is how the run's own helpers know that they are no longer needed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output appended to a log file of the given name.
    pub(crate) fn start(mut command: Command, name: &str, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let output = append(&log)?;
        command.stdout(output.try_clone().context("sharing a log file")?);
        Self::spawn(command, name, log, output)
    }

    /// Starts this very program as one of its helpers, and returns the address it listens on, which
    /// a helper prints as its first line.
    pub(crate) fn start_helper<I>(
        arguments: I,
        name: &str,
        logs: &Path,
    ) -> Result<(Self, SocketAddr)>
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        let mut command = own_program()?;
        command.args(arguments).stdout(Stdio::piped());
        let log = logs.join(format!("{name}.log"));
        let errors = append(&log)?;
        let mut process = Self::spawn(command, name, log, errors)?;
        let output = process.child.stdout.take().context("a helper's output is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("reading a helper's address")?;
        let address = line.trim().parse().with_context(|| {
            format!("{name} did not say where it listens; see {}", process.log.display())
        })?;
        Ok((process, address))
    }

    fn spawn(mut command: Command, name: &str, log: PathBuf, errors: File) -> Result<Self> {
        let child = command
            .stdin(Stdio::piped())
            .stderr(errors)
            // What a person types to end the run is for the run, which ends it in its turn.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error with the end of the log if the process has ended already.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait().context("asking whether a process runs")? else {
            return Ok(());
        };
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().next_back().unwrap_or("nothing");
        bail!("{} ended early ({status}) and said: {last}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A command that starts this very program.
pub(crate) fn own_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context("finding this program's file")?))
}

fn append(log: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("opening {}", log.display()))
}
