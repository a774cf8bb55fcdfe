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

/// A record that the program has put into the DNS.
#[derive(Debug)]
pub(super) struct Record {
    program: PathBuf,
    name: String,
    value: String,
}

impl Record {
    /// Has the program put the record there.
    ///
    /// # Errors
    ///
    /// It cannot be run, takes too long, or says that it has failed.
    pub(super) async fn set(program: &Path, name: String, value: String) -> Result<Self, String> {
        let record = Self { program: program.to_owned(), name, value };
        match record.run("set").await {
            Ok(()) => Ok(record),
            Err(err) => {
                // It may be there all the same.
                record.unset().await;
                Err(err)
            }
        }
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

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that does this, in a folder that is removed with it.
    struct Program(PathBuf);

    impl Program {
        fn new(name: &str, script: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("sallyport-hook-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("a folder");
            let path = folder.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("a program");
            Self(path)
        }

        async fn set(&self) -> Result<Record, String> {
            Record::set(&self.0, "_acme-challenge.t.example".into(), "value".into()).await
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            drop(fs::remove_file(&self.0));
        }
    }

    #[tokio::test]
    async fn a_program_that_fails_is_no_record_and_is_told_to_take_it_away() {
        let program = Program::new("fails", "echo $@ >>$0.log; exit 3");
        let err = program.set().await.unwrap_err();
        assert!(err.contains("set has failed: exit status: 3"), "{err}");
        let log = program.0.with_extension("log");
        let called = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        let expected =
            "set _acme-challenge.t.example value\nunset _acme-challenge.t.example value\n";
        assert_eq!(called, expected);
        let err = Program(program.0.with_extension("none")).set().await.unwrap_err();
        assert!(err.contains("cannot be run"), "{err}");
    }

    #[tokio::test]
    async fn a_program_that_says_a_lot_is_read_to_its_end() {
        let program = Program::new("talks", "head -c 1000000 /dev/zero; exec 1>&-");
        program.set().await.unwrap().unset().await;
    }
}
