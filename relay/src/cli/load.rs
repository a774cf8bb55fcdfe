//! From the arguments of the process, and the file that they name, to what runs.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use shared::kit::settings::{Accepted, Loader, Merged, NotMerged, Origin, Row, Shown};
use shared::kit::small_file;
use shared::token::{Hidden, given};

use super::domains::key_in;
use super::{Cli, Command, Logging, database, tools};
use crate::access::JwtKeys;
use crate::certs;
use crate::config::Config;
use crate::session::check_files;
use crate::web::Pages;

/// The file that is read when no other is named.
const DEFAULT_FILE: &str = "/etc/sallyport/relay.toml";

/// What a relay accepts.
const ACCEPTED: Accepted = Accepted { command, groups: &[], not_in_files: &[] };

/// The settings of a relay, merged from everywhere.
#[derive(Debug)]
pub struct Loaded {
    /// How the relay is set up.
    pub config: Config,
    /// How it logs.
    pub logging: Logging,
    file: Option<PathBuf>,
    merged: Merged,
}

/// The command line, which is the list of all settings. They may stand behind a subcommand too.
pub fn command() -> clap::Command {
    // For the list in the help: they are looked for before the settings are.
    let tools = tools::commands().into_iter().map(|tool| {
        let about = tool.get_about().cloned().unwrap_or_default();
        clap::Command::new(tool.get_name().to_owned()).about(about)
    });
    Cli::command().mut_args(|arg| arg.global(true)).subcommands(tools)
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
    Ok((wanted, Loader::new(ACCEPTED, args, Some(DEFAULT_FILE.into()))?))
}

/// Loads the settings as they are now.
///
/// # Errors
///
/// What is wrong with the file, the arguments or the environment.
pub fn load(loader: &Loader) -> Result<Loaded, NotMerged> {
    let (merged, file) = loader.load()?;
    let cli = Cli::from_arg_matches(&merged.matches).map_err(NotMerged::Usage)?;
    let origin = merged.origin("token");
    let usage = |text| NotMerged::Usage(command().error(ErrorKind::ValueValidation, text));
    let token =
        given(cli.token.as_ref(), &origin, cli.token_file.as_deref(), &[]).map_err(usage)?;
    let jwt_keys = cli.jwt_key.as_deref().map(jwt_keys).transpose().map_err(usage)?;
    let tsig_key = cli.domains.key_file().map(key_in).transpose().map_err(usage)?;
    let flag = |err: String| usage(format!("--{err}"));
    if let Some(Hidden(url)) = &cli.database {
        if merged.origin("database") == Origin::CommandLine && database::has_password(url) {
            return Err(usage(PASSWORD_ON_COMMAND_LINE.into()));
        }
        database::check_parameters(url).map_err(|err| flag(format!("database: {err}")))?;
    }
    let (config, logging) =
        cli.into_config(token, jwt_keys, tsig_key).map_err(|err| flag(err.to_string()))?;
    check_files(&config).map_err(flag)?;
    certs::check_files(&config.certificates).map_err(flag)?;
    config.domains.hook.as_deref().map(check_program).transpose().map_err(flag)?;
    if let Some(folder) = &config.web.error_pages {
        Pages::read(folder).map_err(|err| flag(format!("{err:#}")))?;
    }
    Ok(Loaded { config, logging, file: file.map(|file| file.path), merged })
}

/// Whether a program could be run.
fn check_program(program: &Path) -> Result<(), String> {
    let bad = |why: &str| Err(format!("dns-hook: {}: {why}", program.display()));
    match std::fs::metadata(program) {
        Ok(found) if found.is_file() => (),
        Ok(_) => return bad("it is no program but a folder, or the like"),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            return bad("there is no such program");
        }
        Err(err) => return bad(&err.to_string()),
    }
    #[cfg(unix)]
    if let Err(err) = rustix::fs::access(program, rustix::fs::Access::EXEC_OK) {
        return bad(&format!(
            "it cannot be run: {err}: let the relay's user do so, as by `chmod +x`"
        ));
    }
    Ok(())
}

/// What is said to a password that has been given away already.
const PASSWORD_ON_COMMAND_LINE: &str = "a password among the arguments can be read by everybody on \
    this machine: put the URL into RELAY_DATABASE or the configuration file, or the password into \
    PGPASSWORD or ~/.pgpass";

/// The keys in a file.
fn jwt_keys(path: &Path) -> Result<JwtKeys, String> {
    if path.to_string_lossy().starts_with(JwtKeys::SHARED) {
        return Err("--jwt-key: that is a key, and not the name of a file that has it".into());
    }
    let about = |err: &dyn fmt::Display| format!("--jwt-key: {}: {err}", path.display());
    let text = small_file::read_text(path, LONGEST_KEYS).map_err(|err| about(&err))?;
    JwtKeys::parse(&text).map_err(|err| about(&err))
}

/// The longest file of keys, in bytes.
const LONGEST_KEYS: u64 = 256 * 1024;

/// Every setting with its key, in the order of the flags.
pub(super) fn rows(config: &Config, logging: &Logging) -> Vec<Row> {
    let mut rows = config.rows();
    rows.extend(logging.rows());
    rows
}

/// What would run, as a file that would make it run.
impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "# What runs with {}", file.display())?,
            None => f.write_str("# What runs without a configuration file")?,
        }
        for row in &rows(&self.config, &self.logging) {
            let origin = self.merged.origin(row.key);
            write!(f, "\n{}", Shown { row, origin })?;
        }
        Ok(())
    }
}
