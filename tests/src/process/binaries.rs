//! Where the two programs are, built when they are first needed unless somebody has done so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

/// From now on the two programs are those in `directory`, or else those beside this one, and are not
/// built. The first to say so is right.
pub fn use_programs_in(directory: Option<PathBuf>) {
    DIRECTORY.get_or_init(|| directory.unwrap_or_else(beside_this_one));
}

fn beside_this_one() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    program.parent().expect("a program in a folder").to_owned()
}

/// Where cargo has put `program`.
///
/// Builds both programs once for each test process, into the target directory and with the profile
/// of the running test. So `cargo test` alone never tests yesterday's programs.
pub(super) fn binary(program: &str) -> PathBuf {
    DIRECTORY.get_or_init(build).join(program)
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    // TARGET/PROFILE/deps/it-0123456789abcdef
    let directory = test.parent().and_then(Path::parent).expect("a test in cargo's deps directory");
    let target = directory.parent().expect("a target directory");
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    // The whole workspace is selected, as by `cargo test`: features, and so the dependencies that
    // have been built already, are the same.
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--bin", "relay", "--bin", "client"])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .expect("cargo");
    assert!(status.success(), "cargo cannot build the programs");
    directory.to_owned()
}
