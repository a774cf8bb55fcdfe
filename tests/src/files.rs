//! Files in a folder that goes with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use shared::control::protocol::InstanceId;

/// A folder of its own for one test, removed with all that is in it when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder.
    pub fn new() -> Self {
        let name = format!("sallyport-{}", String::from(InstanceId::random()));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a file in it is, or would be.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in place.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).expect("a file that can be written");
        path
    }

    /// Writes a program, a script that says in its first line what runs it.
    pub fn program(&self, name: &str, script: &str) -> PathBuf {
        let (text, path) = (self.write(&format!(".{name}"), script), self.file(name));
        // Another process writes it: no program can be run that is open for writing somewhere, as
        // a file of ours is for a moment in whatever is started meanwhile.
        let made = Command::new("install").args(["-m", "700"]).args([&text, &path]).status();
        assert!(made.expect("install").success(), "a program at {}", path.display());
        path
    }

    /// Replaces a file by a new one that takes its name, as most editors do.
    pub fn replace(&self, name: &str, text: &str) {
        let new = self.write(".new", text);
        fs::rename(new, self.file(name)).expect("a file that can be renamed");
    }

    /// Makes a pipe with a name, at whose ends nobody is.
    pub fn pipe(&self, name: &str) -> PathBuf {
        let path = self.file(name);
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo").success(), "a pipe at {}", path.display());
        path
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        drop(fs::remove_dir_all(&self.0));
    }
}
