//! Writes the manual pages of both programs into the folder that is named: `make man`.

use std::fs;
use std::path::Path;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).context("name the folder for the pages")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    for command in [relay::cli::documented(), client::cli::documented()] {
        // With a page for each subcommand.
        clap_mangen::generate_to(command, folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
    }
    Ok(())
}
