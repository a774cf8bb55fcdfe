//! Folders for tests, and programs in them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of its own for one test, removed with all that is in it when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sallyport-relay-{}-{next}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0).expect("a new folder");
        folder
    }

    /// Where a file in it is, or would be.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A program of this script, which runs in the folder.
    ///
    /// Another process puts it there. If it were written here, a child that another test starts in
    /// that moment could still have it open for writing, and then it cannot be run.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let (text, program) = (self.file(&format!("{name}.txt")), self.file(name));
        fs::write(&text, format!("#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit\n{script}\n"))
            .expect("a file");
        let made = Command::new("install").args(["-m", "700"]).args([&text, &program]).status();
        assert!(made.expect("install").success(), "a program at {}", program.display());
        program
    }

    /// A pipe with a name, at whose ends nobody is.
    pub(crate) fn pipe(&self, name: &str) -> PathBuf {
        let path = self.file(name);
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo").success(), "a pipe at {}", path.display());
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        drop(fs::remove_dir_all(&self.0));
    }
}
