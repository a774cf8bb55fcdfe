//! A program to start, and the process that it becomes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::binaries::binary;
use super::end::kill;
use super::lines::{Lines, parse};
use super::terminal::{self, Terminal};
use crate::postgres::PASSWORD;
use crate::tasks::Tasks;
use crate::wait::within;

pub use rustix::process::Signal;

/// A program with its arguments, not started yet.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    command: Command,
    /// Ends of pipes that are held open and never read.
    unread: Vec<io::PipeReader>,
}

/// A process that was started. It is killed when dropped; if the test has failed by then, all that
/// it wrote is printed.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    pid: Pid,
    /// What it prints.
    pub stdout: Lines,
    /// What it logs.
    pub stderr: Lines,
    _readers: Tasks,
    _unread: Vec<io::PipeReader>,
}

impl Program {
    /// The relay, on loopback and on ports that the kernel chooses.
    pub fn relay() -> Self {
        Self::bare("relay")
            .env("RELAY_CONTROL", "127.0.0.1:0")
            .env("RELAY_PUBLIC", "127.0.0.1:0")
            .env("RELAY_ADMIN", "127.0.0.1:0")
            .env("RELAY_PORTS", "0")
            .env("RELAY_LOG_FORMAT", "json")
    }

    /// The client, without a server.
    pub fn client() -> Self {
        Self::bare("client").env("CLIENT_JSON", "true").env("CLIENT_LOG_FORMAT", "json")
    }

    /// A program without any argument, and with nothing in its environment but the password of the
    /// tests' PostgreSQL.
    pub fn bare(name: &'static str) -> Self {
        Self::new(name, Command::new(binary(name)))
    }

    fn new(name: &'static str, mut command: Command) -> Self {
        command.env_clear().env("PGPASSWORD", PASSWORD);
        // What a coverage run measures with.
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        Self { name, command, unread: Vec::new() }
    }

    /// Lets the program have at most `files` open files: `prlimit` becomes the program, and what
    /// was said before is said to it.
    #[must_use]
    pub fn with_descriptors(self, files: u32) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={files}:{files}"));
        self.run_by(command)
    }

    /// The same, started by another program, to which it is given behind its arguments.
    fn run_by(self, mut command: Command) -> Self {
        let before = self.command.as_std();
        command.arg(before.get_program()).args(before.get_args());
        let mut limited = Self::new(self.name, command);
        let environment = before.get_envs().filter_map(|(name, value)| Some((name, value?)));
        limited.command.envs(environment);
        limited.unread = self.unread;
        limited
    }

    /// Lets the program write files of at most so many bytes, as if there were no room for more.
    #[must_use]
    pub fn with_largest_file(self, bytes: usize) -> Self {
        // The signal that would come as well is what a full disk does not send.
        const LIMITED: &str = "trap '' XFSZ; ulimit -f $0; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", LIMITED, &(bytes / 512).to_string()]);
        self.run_by(command)
    }

    /// Keeps the program to the permissions of files, which do not concern root otherwise.
    #[must_use]
    pub fn with_permissions_that_count(self) -> Self {
        if !rustix::process::geteuid().is_root() {
            return self;
        }
        let without = |set: &str| format!("--{set}=-dac_override,-dac_read_search");
        let mut command = Command::new("setpriv");
        command.args([without("bounding-set"), without("inh-caps")]);
        self.run_by(command)
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it in this folder.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Gives it `text` on stdin, through a pipe that ends behind it.
    #[must_use]
    pub fn with_input(mut self, text: &str) -> Self {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        // Short enough for the pipe to hold it.
        writer.write_all(text.as_bytes()).expect("room in the pipe");
        self.command.stdin(reader);
        self
    }

    /// Makes stderr a terminal, which is there until the other end of it is dropped.
    #[must_use]
    pub fn with_stderr_terminal(mut self) -> (Self, OwnedFd) {
        let (ours, theirs) = terminal::pair();
        self.command.stderr(theirs);
        (self, ours)
    }

    /// Runs it in a terminal of so many columns and rows, which is its own, with keys that send
    /// signals.
    #[must_use]
    pub fn in_terminal(self, columns: u16, rows: u16) -> (Self, Terminal) {
        let (ours, theirs) = Terminal::open(columns, rows);
        let mut setsid = Command::new("setsid");
        // Becomes the program.
        setsid.args(["--ctty", "--wait"]);
        let mut program = self.run_by(setsid).env("TERM", "xterm");
        let end = || theirs.try_clone().expect("the other end once more");
        program.command.stdin(end()).stdout(end()).stderr(end());
        (program, ours)
    }

    /// A shell for a person, in which `name` is the path of that program.
    pub fn shell(name: &'static str) -> Self {
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "-i"]);
        Self::new("bash", command).env("PS1", "$ ").env(name, binary(name))
    }

    /// Makes stderr something else than its terminal again.
    #[must_use]
    pub fn with_stderr_piped(mut self) -> Self {
        self.command.stderr(Stdio::piped());
        self
    }

    /// Makes stdout a file that has no room.
    #[must_use]
    pub fn with_stdout_full(mut self) -> Self {
        let full = File::options().write(true).open("/dev/full");
        self.command.stdout(full.expect("a full device"));
        self
    }

    /// Makes stdout a pipe that nobody reads any more.
    #[must_use]
    pub fn with_stdout_closed(mut self) -> Self {
        self.command.stdout(closed_pipe());
        self
    }

    /// Makes stderr a pipe that nobody reads any more.
    #[must_use]
    pub fn with_stderr_closed(mut self) -> Self {
        self.command.stderr(closed_pipe());
        self
    }

    /// Makes stdout a pipe that is open and fills up, because nobody reads it.
    #[must_use]
    pub fn with_stdout_unread(mut self) -> Self {
        let full = self.unread_pipe();
        self.command.stdout(full);
        self
    }

    /// Makes stderr a pipe that is open and fills up, because nobody reads it.
    #[must_use]
    pub fn with_stderr_unread(mut self) -> Self {
        let full = self.unread_pipe();
        self.command.stderr(full);
        self
    }

    fn unread_pipe(&mut self) -> io::PipeWriter {
        let (reader, writer) = io::pipe().expect("a pipe");
        self.unread.push(reader);
        writer
    }

    /// Starts it.
    pub fn start(mut self) -> Process {
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|err| panic!("cannot start {:?}: {err}", self.command));
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("a process");
        let mut readers = Tasks::new();
        let stdout = Lines::of(child.stdout.take(), &mut readers);
        let stderr = Lines::of(child.stderr.take(), &mut readers);
        let (_readers, _unread) = (readers, self.unread);
        Process { name: self.name, child, pid, stdout, stderr, _readers, _unread }
    }

    /// Starts it and waits for its end. Returns the exit status, what it printed and what it said
    /// on stderr.
    pub async fn output(self) -> (Option<i32>, String, String) {
        let mut process = self.start();
        let status = process.exit().await;
        let text = |lines: &Lines| lines.so_far().join("\n");
        (status.code(), text(&process.stdout), text(&process.stderr))
    }
}

impl Process {
    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("the process is there");
    }

    /// Kills it at once, as `kill -9` does, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.exit().await;
    }

    /// Whether it has ended by itself before `time` is over.
    pub async fn ends_within(&mut self, time: Duration) -> bool {
        timeout(time, self.child.wait()).await.is_ok()
    }

    /// Waits for its end, and for the last line that it wrote.
    pub async fn exit(&mut self) -> ExitStatus {
        let what = format!("the {} to end", self.name);
        let status = within(&what, self.child.wait()).await.expect("its exit status");
        within("the rest of the output", async {
            self.stdout.ended().await;
            self.stderr.ended().await;
        })
        .await;
        status
    }

    /// Waits for `time`, in which it does not end.
    pub async fn runs_on_for(&mut self, time: Duration) {
        let ended = timeout(time, self.child.wait()).await;
        assert!(ended.is_err(), "the {} ended: {ended:?}", self.name);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_none()
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Waits for a log line, as JSON, whose message contains `text`.
    pub async fn logged(&self, text: &str) -> Value {
        self.logged_where(text, |line| message(line).contains(text)).await
    }

    /// Waits for a log line, as JSON, of which `holds` is true.
    pub async fn logged_where(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let what = format!("the {} to log: {what}", self.name);
        let pick = |line: &str| Some(parse(line)).filter(&holds);
        self.stderr.find(&what, 0, pick).await.1
    }
}

/// A pipe to write to that nobody reads from.
fn closed_pipe() -> io::PipeWriter {
    io::pipe().expect("a pipe").1
}

/// The message of a log line.
fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        kill(&mut self.child);
    }
}

impl Process {
    /// Prints what the process wrote; the test runner shows it with the failure.
    #[expect(clippy::print_stderr, reason = "the output of a test that has failed")]
    fn show(&self) {
        for (output, lines) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for line in lines.so_far() {
                eprintln!("{} {} {output}: {line}", self.name, self.pid());
            }
        }
    }
}
