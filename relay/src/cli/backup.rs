//! `relay backup` and `relay restore`.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use shared::kit::small_file::is_pipe;

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
    /// Puts it into the folder that `at` gives, once it is known to be there.
    pub(super) async fn run(
        self,
        at: impl FnOnce() -> anyhow::Result<DataFolder>,
    ) -> anyhow::Result<String> {
        let shown = self.file.display();
        let file = File::open(&self.file).with_context(|| format!("cannot open {shown}"))?;
        // A pipe may bring one too.
        let found = file.metadata()?;
        if !found.is_file() && !is_pipe(&found) {
            bail!("{shown} is no file");
        }
        let folder = at()?;
        let _lock = folder.lock()?;
        let restored = Store::restore(file, &folder, self.force).await;
        if restored == Err(StoreError::Exists) {
            bail!("there are users and tokens in the folder already: --force replaces them");
        }
        restored.with_context(|| format!("cannot put {shown} in place"))?;
        say(&format!("restored from {shown}"));
        Ok(String::new())
    }
}
