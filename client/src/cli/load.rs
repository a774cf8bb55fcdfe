//! From the arguments of the process, and the file that they name, to what runs.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, CommandFactory, FromArgMatches};
use shared::kit::net::HostPort;
use shared::kit::settings::{
    Accepted, File, Loader, Merged, NotMerged, Origin, Problems, Row, Shown, quoted,
};
use shared::token::given;

use super::{Cli, Command, Output, login, tools};
use crate::config::{self, Config, TUNNELS};
use crate::tls::check_files;
use crate::tunnel::{Draft, Target, TunnelConfig, Written};

/// What a client accepts. The tunnels of a file are its sections.
const ACCEPTED: Accepted = Accepted { command, groups: &[TUNNELS], not_in_files: &["tunnel"] };

/// The local service of `default` if nothing is said.
const DEFAULT_LOCAL: HostPort = HostPort { host: None, port: 3000 };

/// The settings of a client, merged from everywhere.
#[derive(Debug)]
pub struct Loaded {
    /// How the client is set up.
    pub config: Config,
    /// What it logs and prints.
    pub output: Output,
    file: Option<PathBuf>,
    merged: Merged,
    /// Where each tunnel of `config` comes from.
    origins: Vec<Origin>,
}

/// The command line, which is the list of all settings. They may stand behind a subcommand too.
pub fn command() -> clap::Command {
    let settings = |arg: Arg| if arg.is_positional() { arg } else { arg.global(true) };
    // For the list in the help: they are looked for before the settings are.
    let tools = tools::commands().into_iter().map(|tool| {
        let about = tool.get_about().cloned().unwrap_or_default();
        clap::Command::new(tool.get_name().to_owned()).about(about)
    });
    Cli::command().mut_args(settings).subcommands(tools)
}

/// All that the program can do, for its manual and for shells. The settings stand before a
/// subcommand there.
pub fn documented() -> clap::Command {
    Cli::command().subcommands(tools::commands())
}

/// Looks at the arguments of the process: what it is to do instead of running, and what loads its
/// settings.
///
/// # Errors
///
/// What is wrong with the arguments; also that help or the version is wanted.
pub fn start(args: Vec<OsString>) -> Result<(Option<Command>, Loader), clap::Error> {
    let matches = command().try_get_matches_from(&args)?;
    let wanted = Cli::from_arg_matches(&matches)?.command;
    Ok((wanted, Loader::new(ACCEPTED, args, default_file())?))
}

/// The file that is read when no other is named.
fn default_file() -> Option<PathBuf> {
    Some(configuration_folder()?.join("client.toml"))
}

/// Where a user's configuration is.
pub(super) fn configuration_folder() -> Option<PathBuf> {
    let folder = |variable, below: &str| {
        let folder = std::env::var_os(variable).filter(|folder| !folder.is_empty())?;
        Some(PathBuf::from(folder).join(below))
    };
    let configuration = folder("XDG_CONFIG_HOME", "").or_else(|| folder("HOME", ".config"));
    Some(configuration?.join("sallyport"))
}

/// Loads the settings as they are now.
///
/// # Errors
///
/// What is wrong with the file, the arguments or the environment.
pub fn load(loader: &Loader) -> Result<Loaded, NotMerged> {
    let (merged, file) = loader.load()?;
    let cli = Cli::from_arg_matches(&merged.matches).map_err(NotMerged::Usage)?;
    let (tunnels, origins): (Vec<_>, Vec<_>) =
        tunnels(&cli, &merged, file.as_ref())?.into_iter().unzip();
    let in_file = origins.iter().any(|origin| matches!(origin, Origin::File(..)));
    let token = given(
        cli.token.as_ref(),
        &merged.origin("token"),
        cli.token_file.as_deref(),
        &login::stored(&cli.server.address),
    );
    let token = token.map_err(|err| usage(ErrorKind::ValueValidation, &err))?;
    let made = cli.into_settings(tunnels, token);
    let made = made.and_then(|(settings, output)| Ok((Config::new(settings)?, output)));
    let (config, output) = made.map_err(|err| match &file {
        Some(file) if in_file => NotMerged::File(Problems::whole(&file.path, err.to_string())),
        _ => usage(ErrorKind::ValueValidation, &err),
    })?;
    check_files(&config).map_err(|err| usage(ErrorKind::ValueValidation, &err))?;
    Ok(Loaded { config, output, file: file.map(|file| file.path), merged, origins })
}

/// The tunnels, each with its origin. Those in the file count only where none is named in another
/// place: whoever tries something out must not take over the tunnels of the client that serves
/// them.
fn tunnels(
    cli: &Cli,
    merged: &Merged,
    file: Option<&File>,
) -> Result<Vec<(TunnelConfig, Origin)>, NotMerged> {
    let in_file = file.map(config::tunnels).transpose().map_err(NotMerged::File)?;
    let bad = |err| usage(ErrorKind::ValueValidation, &err);
    let read = |draft: Draft| draft.read().map_err(bad);
    let default = |local: &Target| Draft::default_tunnel(local.clone()).map_err(bad).and_then(read);
    let local_from = merged.origin("local");
    let on_command_line = |origin: &Origin| *origin == Origin::CommandLine;
    if cli.target.is_some() && on_command_line(&local_from) {
        return Err(usage(ErrorKind::ArgumentConflict, &"there is TARGET, and --local as well"));
    }
    let one = cli.command.as_ref().and_then(Command::one_tunnel).transpose().map_err(bad)?;
    if cli.target.is_some() && one.is_some() {
        return Err(usage(ErrorKind::ArgumentConflict, &"there are two targets"));
    }
    let is_one = one.is_some();
    let mut tunnels = Vec::new();
    if let Some(one) = one {
        tunnels.push((read(one)?, Origin::CommandLine));
    }
    // Whoever asks for one tunnel means that, whatever the environment says.
    let counts = |origin: &Origin| !is_one || on_command_line(origin);
    match (&cli.target, &cli.local, &local_from) {
        (Some(target), _, _) => tunnels.push((default(target)?, Origin::CommandLine)),
        (None, None, _) | (None, Some(_), Origin::File(..)) => (),
        (None, Some(local), _) if counts(&local_from) => {
            tunnels.push((default(local)?, local_from.clone()));
        }
        (None, Some(_), _) => (),
    }
    let origin = merged.origin("tunnel");
    let named = cli.tunnel.iter().flat_map(|tunnels| &tunnels.0).filter(|_| counts(&origin));
    for draft in named {
        tunnels.push((read(draft.clone())?, origin.clone()));
    }
    if !tunnels.is_empty() {
        return Ok(tunnels);
    }
    if let Some(local) = &cli.local {
        tunnels.push((default(local)?, local_from));
    }
    let name = file.and_then(|file| file.path.file_name()).unwrap_or_default().to_string_lossy();
    tunnels.extend(in_file.into_iter().flatten().map(|config::TunnelInFile { tunnel, line }| {
        (tunnel, Origin::File(name.clone().into_owned(), line))
    }));
    if tunnels.is_empty() {
        tunnels.push((default(&Target::tcp(DEFAULT_LOCAL))?, Origin::Default));
    }
    Ok(tunnels)
}

/// The reason and usage, with status 2.
fn usage(kind: ErrorKind, reason: &dyn fmt::Display) -> NotMerged {
    NotMerged::Usage(command().error(kind, reason))
}

impl Loaded {
    /// Every setting with its key, in the order of the flags. The tunnels are not among them.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Output { filter, format, json, qr, status } = &self.output;
        let mut rows = self.config.rows();
        rows.push(Row::new("json", json));
        rows.push(Row::new("qr", qr));
        rows.push(Row::new("status", status));
        rows.push(Row::new("log", filter));
        rows.push(Row::new("log-format", format));
        rows
    }
}

/// What would run, as a file that would make it run.
impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "# What runs with {}", file.display())?,
            None => f.write_str("# What runs without a configuration file")?,
        }
        for row in &self.rows() {
            let origin = self.merged.origin(row.key);
            write!(f, "\n{}", Shown { row, origin })?;
        }
        for (tunnel, origin) in self.config.tunnels.iter().zip(&self.origins) {
            write!(f, "\n\n[{TUNNELS}.{}] # {origin}", tunnel.name)?;
            write!(f, "\nlocal = {}", quoted(&tunnel.target().to_string()))?;
            for Written { name, values, is_secret } in tunnel.options() {
                match &values[..] {
                    _ if is_secret => {
                        write!(f, "\n# {name} is (secret {})", values.join("), (secret "))?;
                    }
                    [value] => write!(f, "\n{name} = {}", quoted(value))?,
                    values => {
                        let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
                        write!(f, "\n{name} = [{}]", values.join(", "))?;
                    }
                }
            }
        }
        Ok(())
    }
}
