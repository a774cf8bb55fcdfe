//! Programs that are asked to end before they have begun.

use std::path::PathBuf;
use std::process::Command;

use tests::eventually;
use tests::process::{Program, Signal};

/// A file that whoever opens it waits for ever, as the resolver does that is told to look up
/// aliases in it.
struct Stuck(PathBuf);

impl Stuck {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("sallyport-stuck-{}", std::process::id()));
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success(), "{}", path.display());
        Self(path)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[tokio::test]
async fn a_signal_is_obeyed_while_a_name_is_being_resolved() {
    let stuck = Stuck::new();
    let relay = Program::relay().args(["--control", "nowhere:4444"]);
    let client = Program::client().args(["--server", "nowhere:4444"]);
    for program in [relay, client] {
        let mut process = program.env("HOSTALIASES", &stuck.0).start();
        eventually("signals to be handled", async || process.handles(Signal::TERM)).await;
        process.signal(Signal::TERM);
        assert_eq!(process.exit().await.code(), Some(0));
    }
}
