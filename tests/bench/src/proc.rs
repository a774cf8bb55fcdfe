//! CPU time and resident memory of processes, from `/proc`.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result};

/// CPU time in user and kernel mode that a process has used, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let fields = stat(pid)?;
    let ticks: u64 = [UTIME, STIME]
        .into_iter()
        .map(|field| fields.get(field).and_then(|text| text.parse::<u64>().ok()))
        .sum::<Option<u64>>()
        .with_context(|| format!("no CPU time in /proc/{pid}/stat"))?;
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS:")
}

/// Resident memory of a process that is its own alone: neither its program nor any other file.
pub(crate) fn private_bytes(pid: u32) -> Result<u64> {
    memory(pid, "RssAnon:")
}

fn memory(pid: u32, kind: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let kilobytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(kind))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no {kind} in {path}"))?;
    Ok(kilobytes * 1024)
}

/// A process and everything it has started, children after their parents.
///
/// Some servers, sshd for one, fork for every session, and the work is done in the fork.
pub(crate) fn tree(root: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").context("listing /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end between being listed and being read.
        let Ok(fields) = stat(pid) else { continue };
        if let Some(parent) = fields.get(PARENT).and_then(|text| text.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

/// The fields of `/proc/PID/stat` that follow the name, which may itself hold spaces and brackets.
fn stat(pid: u32) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let (_, fields) = stat.rsplit_once(')').with_context(|| format!("no name in {path}"))?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

// Places in what follows the name; see proc_pid_stat(5), whose numbers start with the pid at 1.
const PARENT: usize = 4 - 3;
const UTIME: usize = 14 - 3;
const STIME: usize = 15 - 3;

/// What the kernel shows times in. It is 100 on every architecture that Rust's standard library
/// supports, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something_and_is_its_own_root() {
        let own = std::process::id();
        assert!(resident_bytes(own).unwrap() > 100_000);
        assert!(private_bytes(own).unwrap() < resident_bytes(own).unwrap());
        assert!(cpu_seconds(own).unwrap() >= 0.0);
        assert_eq!(tree(own).unwrap().first(), Some(&own));
    }
}
