//! Where the contenders' programs are on this machine.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::contenders::Contender;

/// The programs that were found, by whose and what they are.
#[derive(Debug)]
pub(crate) struct Programs(HashMap<(Contender, &'static str), PathBuf>);

impl Programs {
    /// Looks for every contender's programs: ours in `ours` only and those of the build before in
    /// `before` only, so that no other build of them is measured by mistake; the others' in
    /// `peers`, then PATH, then where `cargo install`, `go install` and Debian put programs.
    pub(crate) fn find(
        ours: Option<&Path>,
        before: Option<&Path>,
        peers: &[PathBuf],
    ) -> Result<Self> {
        let own_directory = env::current_exe().context("finding this program's file")?;
        let ours = ours.or_else(|| own_directory.parent()).map(Path::to_path_buf);
        let ours: Vec<PathBuf> = ours.into_iter().collect();
        let before: Vec<PathBuf> = before.map(Path::to_path_buf).into_iter().collect();
        let others = other_directories(peers);
        let mut found = HashMap::new();
        for contender in Contender::ALL {
            let directories = match contender {
                Contender::Before | Contender::BeforeWeb => &before,
                _ if contender.is_ours() => &ours,
                _ => &others,
            };
            for name in contender.programs() {
                let file = directories.iter().map(|dir| dir.join(name)).find(|file| file.is_file());
                if let Some(file) = file {
                    // sshd insists on being started by its full path.
                    let file = file.canonicalize().context("finding a program's full path")?;
                    found.insert((*contender, *name), file);
                }
            }
        }
        Ok(Self(found))
    }

    /// Whether all of a contender's programs are there.
    pub(crate) fn has(&self, contender: Contender) -> bool {
        contender.programs().iter().all(|name| self.0.contains_key(&(contender, *name)))
    }

    /// A command that starts one of a contender's programs.
    pub(crate) fn command(&self, contender: Contender, name: &'static str) -> Result<Command> {
        let file = self.0.get(&(contender, name));
        let file = file.with_context(|| format!("{name} is not installed"))?;
        Ok(Command::new(file))
    }

    /// What a contender's program says of its own version, in one line; empty if it has none.
    pub(crate) fn version(&self, contender: Contender) -> Result<String> {
        let (Some(program), Some(flag)) = (contender.programs().first(), contender.version_flag())
        else {
            return Ok(String::new());
        };
        let output = self
            .command(contender, program)?
            .arg(flag)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("asking {program} for its version"))?;
        // OpenSSH writes its version to standard error; rathole says when it was built before it
        // says what it is.
        let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let said = String::from_utf8_lossy(&said);
        let mut lines = said.lines().map(str::trim);
        let line = lines.clone().find(|line| line.contains("Version:"));
        let line = line.or_else(|| lines.find(|line| line.contains(char::is_numeric)));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        Ok(words.join(" "))
    }
}

fn other_directories(peers: &[PathBuf]) -> Vec<PathBuf> {
    let mut directories = peers.to_vec();
    directories.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    if let Some(home) = env::home_dir() {
        directories.push(home.join(".cargo/bin"));
        directories.push(home.join("go/bin"));
    }
    directories.push(PathBuf::from("/usr/sbin"));
    directories
}
