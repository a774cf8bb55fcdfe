//! `relay user`: who may have tokens.

use std::time::SystemTime;

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;

use super::table::{ago, table};
use crate::store::{Name, Store};

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(super) enum UserTool {
    /// Create a user
    Create {
        /// 1 to 63 characters of a-z, 0-9, `.`, `_` and `-`
        name: Name,
    },
    /// List all users
    List,
    /// Let nobody in with a token of this user, and end the sessions that there are
    Disable {
        /// The user
        name: Name,
    },
    /// Let a disabled user in again
    Enable {
        /// The user
        name: Name,
    },
    /// Delete a user with all tokens, and end the sessions that there are
    Delete {
        /// The user
        name: Name,
    },
}

impl UserTool {
    pub(super) async fn run(self, store: &Store, json: bool) -> anyhow::Result<String> {
        let (done, name) = match self {
            Self::List => return list(store, json).await,
            Self::Create { name } => (store.create_user(&name).await.map(|()| "created"), name),
            Self::Disable { name } => {
                (store.disable_user(&name, true).await.map(|()| "disabled"), name)
            }
            Self::Enable { name } => {
                (store.disable_user(&name, false).await.map(|()| "enabled"), name)
            }
            Self::Delete { name } => (store.delete_user(&name).await.map(|()| "deleted"), name),
        };
        let done = done.with_context(|| format!("the user {name}"))?;
        Ok(match json {
            true => format!("{}\n", json!({ "user": name, "done": done })),
            false => format!("{name}: {done}\n"),
        })
    }
}

async fn list(store: &Store, json: bool) -> anyhow::Result<String> {
    let users = store.users().await?;
    if json {
        return Ok(format!("{}\n", serde_json::to_string(&users)?));
    }
    let now = SystemTime::now();
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            let state = if user.disabled.is_some() { "disabled" } else { "enabled" };
            [user.name.to_string(), state.into(), ago(Some(user.created), now)]
        })
        .collect();
    Ok(table(["NAME", "STATE", "CREATED"], &rows))
}
