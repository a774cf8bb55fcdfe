//! What this process holds, and tests that need a process of their own to measure it.

use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Once;

/// Set in the process of a test that runs alone.
const ALONE: &str = "SALLYPORT_TEST_ALONE";

/// Raises the limit of open files as far as it goes. Thousands of visitors need four each.
pub fn raise_file_limit() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        rlimit::increase_nofile_limit(u64::MAX).expect("a limit of open files");
    });
}

/// How many files and sockets this process has open.
pub fn open_files() -> usize {
    let files = fs::read_dir("/proc/self/fd").expect("/proc");
    files.count() - 1 // The directory itself.
}

/// How much memory this process holds, in bytes.
pub fn resident_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.and_then(|kb| kb.parse::<usize>().ok()).expect("a size in kB") * 1024
}

/// Whether the rest of the test is to run: runs the test of this name (`module::name`) again in a
/// process of its own, where this returns `true`, and checks that it passes there.
///
/// # Panics
///
/// The test fails in its own process.
pub fn runs_alone(test: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let program = env::current_exe().expect("the test program");
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("the test program runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "in its own process:\n{text}");
    false
}
