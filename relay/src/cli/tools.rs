//! What the program does besides running a relay: it keeps users, tokens and host names, and sets a
//! relay up.
//!
//! These have arguments of their own, which would not go together with the settings.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use shared::kit::answer;
use shared::token::{ON_COMMAND_LINE, is_among};

use super::backup::{FromFile, ToFile};
use super::domain::{DnsAt, DomainTool};
use super::init::Init;
use super::load::{command, load, start};
use super::token::TokenTool;
use super::user::UserTool;
use crate::admin::openapi;
use crate::config::Config;
use crate::data::DataFolder;
use crate::store::{Place, Store};

#[derive(Debug, Parser)]
#[command(name = "relay", version, max_term_width = 80, disable_help_subcommand = true)]
struct Tools {
    #[command(subcommand)]
    tool: Tool,
}

/// What the program does besides running a relay.
#[derive(Debug, Subcommand)]
enum Tool {
    /// Set a relay up: a folder with a certificate, a user and a token, and a configuration
    Init(Init),
    /// Create, list, disable and delete users
    User {
        #[command(flatten)]
        at: At,
        #[command(subcommand)]
        tool: UserTool,
    },
    /// Create, list, revoke and rotate tokens
    Token {
        #[command(flatten)]
        at: At,
        #[command(subcommand)]
        tool: TokenTool,
    },
    /// Say whose host names are: domains that are proven in DNS, and subdomains
    Domain {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        dns: DnsAt,
        #[command(subcommand)]
        tool: DomainTool,
    },
    /// Print the OpenAPI document of the API
    Openapi,
    /// Copy users and tokens into a file, also while a relay runs
    Backup {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        to: ToFile,
    },
    /// Put a backup in place, while no relay runs
    Restore {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        from: FromFile,
    },
}

/// Where users and tokens are kept. Without any of these, where the relay's configuration file says.
#[derive(Debug, Args)]
struct At {
    /// The relay's configuration file [default: /etc/sallyport/relay.toml, if it is there]
    #[arg(long, global = true, env = "RELAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// The relay's data folder [env: RELAY_DATA]
    // The variables are read with the file: a flag says more than any of them.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "database")]
    data: Option<PathBuf>,

    /// The relay's PostgreSQL [env: RELAY_DATABASE]
    #[arg(long, global = true, value_name = "URL")]
    database: Option<String>,

    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

/// Does what the arguments name, if it is something else than to run a relay. Returns the exit
/// status. `None`: they are the settings of a relay.
///
/// # Errors
///
/// What is wrong with the arguments; also that help is wanted.
pub fn run_tool(args: &[OsString]) -> Result<Option<ExitCode>, clap::Error> {
    if is_among(args) {
        // Before anything is said of it, and of the other arguments.
        return Err(command().error(ErrorKind::ValueValidation, ON_COMMAND_LINE));
    }
    let first = args.get(1).and_then(|arg| arg.to_str());
    match first {
        Some(first) if Tools::command().find_subcommand(first).is_some() => {
            Tools::try_parse_from(args).map(|tools| Some(tools.tool.run()))
        }
        _ => Ok(None),
    }
}

/// The tools, for whoever lists what the program can do.
pub(super) fn commands() -> Vec<clap::Command> {
    Tools::command().get_subcommands().cloned().collect()
}

impl Tool {
    /// Does it and tells of it. Returns the exit status.
    fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(self.outcome()),
            Err(err) => Err(err).context("cannot start the runtime"),
        };
        match outcome {
            Ok(Answer::Text(text)) => answer::print(text.as_bytes()),
            Ok(Answer::Token { text, which }) => match answer::write(text.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(err) => answer::failed(&format_args!(
                    "cannot write to stdout: {err}\na token was made that nobody has seen; another \
                     one in its place: relay token rotate {which}"
                )),
            },
            Err(err) => answer::failed(&format_args!("{err:#}")),
        }
    }

    async fn outcome(self) -> anyhow::Result<Answer> {
        match self {
            Self::Init(init) => init.run().await,
            Self::User { at, tool } => {
                let makes = matches!(tool, UserTool::Create { .. });
                Ok(Answer::Text(tool.run(&at.store(makes).await?, at.json).await?))
            }
            Self::Token { at, tool } => {
                let answer = tool.run(&at.store(false).await?, at.json).await?;
                Ok(answer.with_place(&at.words()))
            }
            Self::Domain { at, dns, tool } => {
                let config = at.config(&dns.args())?;
                Ok(Answer::Text(tool.run(&at.store(false).await?, &config, at.json).await?))
            }
            Self::Openapi => Ok(Answer::Text(openapi().to_owned())),
            Self::Backup { at, to } => Ok(Answer::Text(to.run(&at.store(false).await?).await?)),
            Self::Restore { at, from } => Ok(Answer::Text(from.run(|| at.folder()).await?)),
        }
    }
}

/// What whoever has called a tool is told.
pub(super) enum Answer {
    Text(String),
    /// There is a token in it that is not shown again.
    Token {
        text: String,
        /// What the tools call it, and where it is, as arguments.
        which: String,
    },
}

impl Answer {
    /// The same, with the arguments that say where users and tokens are.
    fn with_place(self, place: &str) -> Self {
        match self {
            Self::Token { text, which } => Self::Token { text, which: which + place },
            text @ Self::Text(_) => text,
        }
    }
}

impl At {
    /// The settings of the relay, as far as they are given here, and with these arguments.
    fn config(&self, more: &[String]) -> anyhow::Result<Config> {
        let mut args: Vec<OsString> = vec!["relay".into()];
        let file = self.config.iter();
        args.extend(file.flat_map(|path| ["--config".into(), path.clone().into()]));
        let database = self.database.iter();
        args.extend(database.flat_map(|url| ["--database".into(), url.into()]));
        args.extend(more.iter().map(Into::into));
        let (_, loader) = start(args)?;
        let loaded = load(&loader).map_err(|err| anyhow::anyhow!("{err}"))?;
        Ok(loaded.config)
    }

    /// What is named here goes before all that the relay is set up with. Unless the tool `makes` a
    /// store, it has to be there: a name with a mistake in it would be a new one.
    fn place(&self, makes: bool) -> anyhow::Result<Place> {
        let open = |folder: &Path| {
            if !makes && !Store::is_in(folder) {
                bail!("there are no users and tokens in {}: {HOW_TO_MAKE}", folder.display());
            }
            DataFolder::open(folder)
        };
        if let Some(folder) = &self.data {
            return Ok(Place::Folder(open(folder)?));
        }
        let config = self.config(&[])?;
        if let Some(url) = &config.database {
            return Ok(Place::Database(url.clone()));
        }
        Ok(Place::Folder(open(config.data.as_deref().context(NO_STORE)?)?))
    }

    /// What was said of the place, to be said again behind other arguments.
    fn words(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let said = [
            ("config", path(&self.config)),
            ("data", path(&self.data)),
            ("database", self.database.clone()),
        ];
        let said = said.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        said.map(|(flag, value)| format!(" --{flag} {}", for_a_shell(&value))).collect()
    }

    fn folder(&self) -> anyhow::Result<DataFolder> {
        match self.place(true)? {
            Place::Folder(folder) => Ok(folder),
            Place::Database(_) => bail!(NO_FILE),
        }
    }

    async fn store(&self, makes: bool) -> anyhow::Result<Store> {
        let place = self.place(makes)?;
        Store::open(&place).await.with_context(|| format!("cannot open {place}"))
    }
}

const NO_STORE: &str = "where are users and tokens kept? give --data DIR or --database URL, or set \
    one of them in the relay's configuration file; `relay init` makes a new one";

const HOW_TO_MAKE: &str = "`relay user create` makes the first one; --data names another folder";

const NO_FILE: &str = "users and tokens are kept in PostgreSQL, which has tools of its own for it; \
    --data DIR names a folder nevertheless";

/// The text as a shell takes it for one argument.
pub(super) fn for_a_shell(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:@=,+".contains(&byte);
    match text {
        plain if !plain.is_empty() && plain.bytes().all(is_plain) => plain.to_owned(),
        text => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// To stderr: stdout is for what was asked for.
pub(super) fn say(what: &str) {
    drop(writeln!(io::stderr(), "{what}"));
}
