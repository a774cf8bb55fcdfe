//! `relay token`: what lets clients in.

use std::time::SystemTime;

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;
use shared::token::{GrantArgs, Token, TokenId};

use super::table::{ago, left, table};
use super::tools::say;
use crate::store::{Name, NewToken, Store, TokenRecord};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenTool {
    /// Create a token and print it. It is not shown again
    Create {
        /// Whose it is
        #[arg(long, value_name = "NAME")]
        user: Name,
        /// What it is called, to be told from others of the user
        #[arg(long, value_name = "NAME")]
        name: Name,
        #[command(flatten)]
        grant: Box<GrantArgs>,
    },
    /// List tokens
    List {
        /// Only those of this user
        #[arg(long, value_name = "NAME")]
        user: Option<Name>,
    },
    /// Let nobody in with this token, nor with what was narrowed from it, and end the sessions that
    /// there are
    Revoke {
        /// Its id
        id: TokenId,
    },
    /// Put a new token in the place of this one, with the same rights, and print it
    Rotate {
        /// Its id
        id: TokenId,
    },
}

impl TokenTool {
    pub(super) async fn run(self, store: &Store, json: bool) -> anyhow::Result<String> {
        match self {
            Self::Create { user, name, grant } => {
                let token = Token::random();
                let new = NewToken {
                    id: token.id(),
                    owner: user.clone(),
                    name: name.clone(),
                    verifier: token.verifier(),
                    grant: grant.into_grant(SystemTime::now()),
                };
                store.create_token(&new).await.with_context(|| {
                    format!("the token {name} of {user}, who has to be there and have none of it")
                })?;
                Ok(shown(&token, &user, &name, json))
            }
            Self::List { user } => {
                let mut tokens = store.tokens().await?;
                tokens.retain(|token| user.as_ref().is_none_or(|user| token.owner == *user));
                if json {
                    return Ok(format!("{}\n", serde_json::to_string(&tokens)?));
                }
                list(&tokens)
            }
            Self::Revoke { id } => {
                store.revoke_token(id).await.with_context(|| format!("the token {id}"))?;
                Ok(match json {
                    true => format!("{}\n", json!({ "id": id, "done": "revoked" })),
                    false => format!("{id}: revoked\n"),
                })
            }
            Self::Rotate { id } => {
                let token = Token::random();
                let made = store.rotate_token(id, token.id(), token.verifier()).await;
                let made = made.with_context(|| format!("the token {id}"))?;
                Ok(shown(&token, &made.owner, &made.name, json))
            }
        }
    }
}

/// A new token: on stdout alone, so that it can go into a file.
fn shown(token: &Token, user: &Name, name: &Name, json: bool) -> String {
    if json {
        let id = token.id();
        let made = json!({ "id": id, "user": user, "name": name, "token": token.to_string() });
        return format!("{made}\n");
    }
    say(&format!(
        "The token {} ({user}/{name}). It is not shown again; give it to the client by `client \
         login`,\nCLIENT_TOKEN or --token-file.",
        token.id()
    ));
    format!("{token}\n")
}

fn list(tokens: &[TokenRecord]) -> anyhow::Result<String> {
    let now = SystemTime::now();
    let mut rows = Vec::new();
    for token in tokens {
        let state = match (token.revoked, token.owner_disabled) {
            (Some(_), _) => "revoked",
            (None, true) => "disabled",
            (None, false) if token.grant.ends().is_some_and(|end| end <= now) => "expired",
            (None, false) => "good",
        };
        rows.push([
            token.id.to_string(),
            token.owner.to_string(),
            token.name.to_string(),
            state.into(),
            left(token.grant.ends(), now),
            ago(token.last_used, now),
            serde_json::to_string(&token.grant)?,
        ]);
    }
    Ok(table(["ID", "USER", "NAME", "STATE", "EXPIRES", "USED", "RIGHTS"], &rows))
}
