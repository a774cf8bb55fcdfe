//! On what, and of what, figures were measured.

use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;

/// What figures depend on beside the programs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The commit that is checked out, with `+` if files differ from it.
    pub(crate) commit: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// How busy it was with other things in the minute before.
    pub(crate) load_before: String,
}

impl Machine {
    /// Looks; what cannot be found out is `unknown`, since it is no reason not to measure.
    pub(crate) fn look() -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            commit: commit().unwrap_or_else(unknown),
            kernel: kernel().unwrap_or_else(unknown),
            cpu: cpu().unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(0, usize::from),
            load_before: load().unwrap_or_else(unknown),
        }
    }
}

fn commit() -> Option<String> {
    let mut commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    if !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
        commit.push('+');
    }
    Some(commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

fn kernel() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned())
}

fn load() -> Option<String> {
    let averages = fs::read_to_string("/proc/loadavg").ok()?;
    Some(averages.split_whitespace().next()?.to_owned())
}

fn cpu() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let (_, model) = info.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(model.trim().to_owned())
}
