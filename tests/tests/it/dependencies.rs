//! The arrows between the modules of the programs point one way.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each row may use what is in the rows above it, and nothing of its own.
const RELAY: &[&[&str]] = &[
    &["data", "metrics", "entrance", "impatient", "scratch"],
    &["limits", "store"],
    &["access"],
    &["config"],
    &["domains", "web"],
    &["certs", "target", "ports", "snapshot", "statistics", "inspect"],
    &["tunnel"],
    &["placement", "visit", "routes"],
    &["registry"],
    &["session", "edge", "admin"],
    &["relay"],
    &["cli"],
    &["lib", "main"],
];

/// See [`RELAY`].
const CLIENT: &[&[&str]] = &[
    &["tunnel", "status", "credential", "tally"],
    &["config", "terminal"],
    &["tls", "banner"],
    &["local", "health"],
    &["session"],
    &["connect"],
    &["announcer"],
    &["bundle"],
    &["client"],
    &["cli"],
    &["lib", "main"],
];

/// See [`RELAY`].
const SHARED: &[&[&str]] = &[&["kit"], &["carry"], &["token"], &["control"], &["visit"], &["lib"]];

#[test]
fn no_module_uses_one_beside_or_above_it() {
    for (name, rows) in [("relay", RELAY), ("client", CLIENT), ("shared", SHARED)] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let row = |module: &str| rows.iter().position(|row| row.contains(&module));
        let mut seen = BTreeSet::new();
        for file in rust_files(&source) {
            let module = top_module(&source, &file);
            let here =
                row(&module).unwrap_or_else(|| panic!("{name}: where does {module} belong?"));
            let text = fs::read_to_string(&file).expect("a readable source");
            for used in uses(&text) {
                let there = row(&used).unwrap_or_else(|| panic!("{name}: {module} uses {used}?"));
                assert!(
                    used == module || there < here,
                    "{}: `{module}` must not use `{used}`",
                    file.display()
                );
            }
            seen.insert(module);
        }
        let listed: BTreeSet<String> = rows.concat().into_iter().map(str::to_owned).collect();
        assert_eq!(seen, listed, "{name}: the modules that there are, and those listed here");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The module right below the crate that a file belongs to.
fn top_module(source: &Path, file: &Path) -> String {
    let path = file.strip_prefix(source).expect("a file below the sources").with_extension("");
    let first = path.components().next().expect("a name");
    first.as_os_str().to_string_lossy().into_owned()
}

/// The modules that a path from the root of the crate names, wherever it stands in the code.
fn uses(text: &str) -> BTreeSet<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let paths = code.flat_map(|code| code.split("crate::").skip(1));
    let module =
        |path: &str| path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    paths.map(module).filter(|module: &String| !module.is_empty()).collect()
}

#[test]
fn paths_within_the_code_are_seen_too() {
    let text =
        "use crate::one::Thing;\n// crate::comment\nlet x = crate::two::f(&crate::three::Y);";
    assert!(uses(text).iter().eq(["one", "three", "two"]));
}
