//! Learning what the store says of host names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::Domains;
use super::claims::Table;
use crate::store::{Store, StoreError};

/// Sees to it that of those who want to know what the store says one reads it at a time, so that
/// nothing older takes the place of something newer; and that whoever had to wait for one who began
/// after it was there does not read it again.
#[derive(Debug, Default)]
pub(super) struct Learning {
    wanted: AtomicU64,
    /// Up to which of those all know.
    told: Mutex<u64>,
}

impl Domains {
    /// Learns everything anew: what the store says now, or something newer.
    ///
    /// # Cancel safety
    ///
    /// Whoever waits behind it reads the store in its place.
    pub(super) async fn learn(&self, store: &Store) -> Result<(), StoreError> {
        let learning = &self.0.learning;
        let ours = learning.wanted.fetch_add(1, Ordering::SeqCst) + 1;
        let mut told = learning.told.lock().await;
        if *told >= ours {
            return Ok(());
        }
        let all = learning.wanted.load(Ordering::SeqCst);
        let table = Table::new(store.domains().await?);
        *self.0.table.write() = Arc::new(table);
        *told = all;
        self.0.changed.send_replace(());
        Ok(())
    }
}
