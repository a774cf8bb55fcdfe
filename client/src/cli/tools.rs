//! What the program does besides running a client: it stores a token, and makes narrower ones.
//!
//! These have arguments of their own, which would not go together with the settings.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use shared::kit::answer;
use shared::kit::settings::Origin;
use shared::token::{Grant, GrantArgs, Hidden, ON_COMMAND_LINE, Secret, Token, given, is_among};

use super::load::command;
use super::login;
use super::server::Server;

#[derive(Debug, Parser)]
#[command(name = "client", version, max_term_width = 80, disable_help_subcommand = true)]
struct Tools {
    #[command(subcommand)]
    tool: Tool,
}

/// What the program does besides running a client.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Store a token for a relay, so that it need not be given any more
    Login(Relay),
    /// Forget the token of a relay
    Logout(Relay),
    /// Make a token that can do less, or look at one
    #[command(subcommand)]
    Token(TokenTool),
}

/// Which relay.
#[derive(Debug, Args)]
pub struct Relay {
    /// The relay's control port
    #[arg(long, env = "CLIENT_SERVER", value_name = "HOST:PORT", default_value = "127.0.0.1:4444")]
    server: Server,
}

/// What can be done with a token, without a relay.
#[derive(Debug, Subcommand)]
pub enum TokenTool {
    /// Print a token that can do what this one can, and only what is given here
    Narrow {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        grant: Box<GrantArgs>,
    },
    /// Print what there is to know of a token, and not the token itself
    Show {
        #[command(flatten)]
        which: Which,
    },
}

/// Which token.
#[derive(Debug, Args)]
pub struct Which {
    #[command(flatten)]
    relay: Relay,

    /// A file with the token [default: CLIENT_TOKEN, or what `client login` has stored]
    #[arg(long, env = "CLIENT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The tool that the arguments name. `None`: they are the settings of a client.
///
/// # Errors
///
/// What is wrong with the arguments; also that help is wanted.
pub fn tool(args: &[OsString]) -> Result<Option<Tool>, clap::Error> {
    if is_among(args) {
        // Before anything is said of it, and of the other arguments.
        return Err(command().error(ErrorKind::ValueValidation, ON_COMMAND_LINE));
    }
    let first = args.get(1).and_then(|arg| arg.to_str());
    match first {
        Some(first) if Tools::command().find_subcommand(first).is_some() => {
            Tools::try_parse_from(args).map(|tools| Some(tools.tool))
        }
        _ => Ok(None),
    }
}

/// The tools, for whoever lists what the program can do.
pub(super) fn commands() -> Vec<clap::Command> {
    Tools::command().get_subcommands().cloned().collect()
}

impl Tool {
    /// Does it. Returns the exit status.
    pub fn run(self) -> ExitCode {
        match self.outcome() {
            Ok(answer) => answer::print(answer.as_bytes()),
            Err(reason) => {
                // Nobody is left to be told of a failure.
                drop(writeln!(io::stderr(), "error: {reason}"));
                ExitCode::FAILURE
            }
        }
    }

    fn outcome(self) -> Result<String, String> {
        match self {
            Self::Login(relay) => login::login(&relay.server.address).map(|()| String::new()),
            Self::Logout(relay) => login::logout(&relay.server.address).map(|()| String::new()),
            Self::Token(TokenTool::Narrow { which, grant }) => {
                let grant = grant.into_grant(SystemTime::now());
                if grant == Grant::default() {
                    return Err(
                        "say what the token is to be limited to, such as --tunnel 'web-*' \
                                or --expires 2h"
                            .into(),
                    );
                }
                let narrowed = which
                    .token("cannot be narrowed")?
                    .narrow(&grant)
                    .map_err(|err| err.to_string())?;
                Ok(format!("{narrowed}\n"))
            }
            Self::Token(TokenTool::Show { which }) => {
                describe(&which.token("is not shown: what it allows stands in its own claims")?)
            }
        }
    }
}

impl Which {
    /// The token that is meant. `jwt` says what is not done with a JSON Web Token.
    fn token(&self, jwt: &str) -> Result<Token, String> {
        let text = std::env::var("CLIENT_TOKEN").ok().filter(|text| !text.is_empty()).map(Hidden);
        // A file that is named is meant.
        let text = text.filter(|_| self.token_file.is_none());
        let origin = Origin::Environment("CLIENT_TOKEN".into());
        let otherwise = login::stored(&self.relay.server.address);
        let secret = given(text.as_ref(), &origin, self.token_file.as_deref(), &otherwise)?;
        match secret {
            Some(Secret::Token(token)) => Ok(token),
            Some(Secret::Jwt(_)) => Err(format!("a JSON Web Token {jwt}")),
            None => Err("there is no token: set CLIENT_TOKEN, or give --token-file".into()),
        }
    }
}

/// What there is to know of a token: its name, and what each link of its chain allows.
fn describe(token: &Token) -> Result<String, String> {
    let mut text = format!("id: {}\n", token.id());
    for grant in token.presented().grants().map_err(|err| err.to_string())? {
        let json = serde_json::to_string(&grant).map_err(|err| err.to_string())?;
        text += &format!("narrowed to: {json}\n");
    }
    Ok(text)
}
