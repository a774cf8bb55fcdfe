//! `relay token`: what lets clients in.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;
use shared::kit::args;
use shared::token::{GrantArgs, Token, TokenId};

use super::table::{ago, left, table};
use super::tools::{Answer, say};
use crate::store::{Name, NewToken, Store, TokenRecord};

/// Which token somebody means: by its id, or by the name that it has among those of its user.
#[derive(Clone, Debug)]
pub(super) enum Which {
    Id(TokenId),
    Named(Name, Name),
}

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
        /// Its id, or USER/NAME
        #[arg(value_name = "TOKEN")]
        which: Which,
    },
    /// Put a new token in the place of this one, with the same rights, and print it
    Rotate {
        /// Its id, or USER/NAME
        #[arg(value_name = "TOKEN")]
        which: Which,
        /// How long the new one is good, such as 30d [default: until this one would have ended]
        #[arg(long, value_name = "TIME", value_parser = args::positive_duration)]
        expires: Option<Duration>,
        /// How long this one goes on being good, so that its holders can be given the new one, such
        /// as 1h [default: not at all]
        #[arg(long, value_name = "TIME", value_parser = args::positive_duration)]
        overlap: Option<Duration>,
    },
}

impl TokenTool {
    pub(super) async fn run(self, store: &Store, json: bool) -> anyhow::Result<Answer> {
        let text = match self {
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
                return Ok(shown(&token, &user, &name, json));
            }
            Self::List { user } => {
                let mut tokens = store.tokens().await?;
                tokens.retain(|token| user.as_ref().is_none_or(|user| token.owner == *user));
                match json {
                    true => format!("{}\n", serde_json::to_string(&tokens)?),
                    false => list(&tokens)?,
                }
            }
            Self::Revoke { which } => {
                let id = which.find(store).await?.id;
                store.revoke_token(id).await.with_context(|| format!("the token {id}"))?;
                match json {
                    true => format!("{}\n", json!({ "id": id, "done": "revoked" })),
                    false => format!("{id}: revoked\n"),
                }
            }
            Self::Rotate { which, expires, overlap } => {
                let old = which.find(store).await?;
                if !old.is_in_use() {
                    bail!("the token {} has been revoked or replaced already", old.id);
                }
                let TokenRecord { id, grant, .. } = old;
                let now = SystemTime::now();
                let grant = match expires {
                    Some(time) => grant.ending(now, time),
                    None => grant,
                };
                if grant.ends().is_some_and(|end| end <= now) {
                    bail!("the token {id} has expired: --expires says how long a new one is good");
                }
                let token = Token::random();
                let (new, verifier) = (token.id(), token.verifier());
                let made = store.rotate_token(id, new, verifier, &grant, overlap).await;
                let made = made.with_context(|| format!("the token {id}"))?;
                if let Some(time) = overlap.filter(|_| !json) {
                    say(&format!("The token {id} is good for {} more.", args::time(time)));
                }
                return Ok(shown(&token, &made.owner, &made.name, json));
            }
        };
        Ok(Answer::Text(text))
    }
}

impl Which {
    /// What is kept of it. Of those that are called so it is the one that is in use.
    async fn find(&self, store: &Store) -> anyhow::Result<TokenRecord> {
        let found = match self {
            Self::Id(id) => store.token(*id).await?,
            Self::Named(user, name) => store
                .tokens()
                .await?
                .into_iter()
                .find(|token| token.is_in_use() && token.owner == *user && token.name == *name),
        };
        found.with_context(|| match self {
            Self::Id(id) => format!("there is no token {id}: `relay token list` shows all"),
            Self::Named(user, name) => {
                format!("{user} has no token {name} in use: `relay token list` shows all")
            }
        })
    }
}

impl FromStr for Which {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "a token is named by its id, 16 characters, or by USER/NAME";
        let Some((user, name)) = text.split_once('/') else {
            return text.parse().map(Self::Id).map_err(|_| EXPECTED);
        };
        let name_of = |text: &str| text.parse().map_err(|_| EXPECTED);
        Ok(Self::Named(name_of(user)?, name_of(name)?))
    }
}

/// A new token: on stdout alone, so that it can go into a file.
fn shown(token: &Token, user: &Name, name: &Name, json: bool) -> Answer {
    let id = token.id();
    if json {
        let made = json!({ "id": id, "user": user, "name": name, "token": token.to_string() });
        return Answer::Token { text: format!("{made}\n"), which: id.to_string() };
    }
    say(&format!(
        "The token {id} ({user}/{name}). It is not shown again; give it to the client by `client \
         login`,\nCLIENT_TOKEN or --token-file."
    ));
    Answer::Token { text: format!("{token}\n"), which: id.to_string() }
}

fn list(tokens: &[TokenRecord]) -> anyhow::Result<String> {
    let now = SystemTime::now();
    let mut rows = Vec::new();
    for token in tokens {
        let ends = token.ends();
        let state = match token {
            TokenRecord { revoked: Some(_), .. } => "revoked",
            TokenRecord { owner_disabled: true, .. } => "disabled",
            _ if ends.is_some_and(|end| end <= now) => "expired",
            TokenRecord { replaced: Some(_), .. } => "replaced",
            _ => "good",
        };
        rows.push([
            token.id.to_string(),
            token.owner.to_string(),
            token.name.to_string(),
            state.into(),
            left(ends, now),
            ago(token.last_used, now),
            serde_json::to_string(&token.grant)?,
        ]);
    }
    Ok(table(["ID", "USER", "NAME", "STATE", "EXPIRES", "USED", "RIGHTS"], &rows))
}
