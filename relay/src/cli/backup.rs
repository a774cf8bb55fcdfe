//! `relay backup` and `relay restore`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use super::tools::say;
use crate::data::DataFolder;
use crate::store::{Store, StoreError};

/// Where a backup goes.
#[derive(Debug, Args)]
pub(super) struct ToFile {
    /// The file, which must not be there yet
    file: PathBuf,
}

/// Where a backup comes from.
#[derive(Debug, Args)]
pub(super) struct FromFile {
    /// The file that `relay backup` made
    file: PathBuf,
    /// Replace the users and tokens that there are
    #[arg(long)]
    force: bool,
}

impl ToFile {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<String> {
        let shown = self.file.display();
        store.backup(&self.file).await.with_context(|| format!("cannot write {shown}"))?;
        say(&format!("written to {shown}"));
        Ok(String::new())
    }
}

impl FromFile {
    pub(super) async fn run(self, folder: &DataFolder) -> anyhow::Result<String> {
        let _lock = folder.lock()?;
        let shown = self.file.display();
        let restored = Store::restore(&self.file, folder, self.force).await;
        if restored == Err(StoreError::Exists) {
            bail!("there are users and tokens in the folder already: --force replaces them");
        }
        restored.with_context(|| format!("cannot put {shown} in place"))?;
        say(&format!("restored from {shown}"));
        Ok(String::new())
    }
}
