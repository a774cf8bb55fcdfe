//! A file below the command line and the environment.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::{Entry, File};
use super::problems::{Problem, Problems};
use crate::kit::answer;
use crate::kit::nearest::did_you_mean;

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag.
    CommandLine,
    /// The environment variable of this name.
    Environment(String),
    /// This line of the file of this name.
    File(String, usize),
    /// It is as by default.
    Default,
}

/// The outcome of [`merge`].
#[derive(Clone, Debug)]
pub struct Merged {
    /// What every argument is.
    pub matches: ArgMatches,
    origins: HashMap<String, Origin>,
}

/// Why there is nothing merged.
#[derive(Debug)]
pub enum NotMerged {
    /// The command line or the environment: for [`clap::Error::exit`].
    Usage(clap::Error),
    /// The file.
    File(Problems),
}

impl Merged {
    /// Where the setting with this key comes from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Says that the setting with this key, if it is as by default, comes from a variable that has
    /// a say in what the default is.
    pub(super) fn default_from(&mut self, key: &str, variable: &str) {
        if let Some(origin @ Origin::Default) = self.origins.get_mut(key) {
            *origin = Origin::Environment(variable.to_owned());
        }
    }
}

/// Parses the arguments `args`, the program's name among them, with what `file` says in the place
/// of the defaults of `command`.
///
/// Every flag that has an environment variable is a setting, except those in `not_in_files`.
///
/// # Errors
///
/// What is wrong with the arguments, the environment or the file. The file's values have to be good
/// even where something else beats them.
pub fn merge(
    mut command: Command,
    args: &[OsString],
    file: Option<&File>,
    not_in_files: &[&str],
) -> Result<Merged, NotMerged> {
    let settings: Vec<Arg> =
        command.get_arguments().filter(|arg| is_setting(arg)).cloned().collect();
    let mut lines = HashMap::new();
    if let Some(file) = file {
        let known = settings.iter().filter(|arg| !not_in_files.contains(&key_of(arg)));
        let known: HashMap<&str, &Arg> = known.map(|arg| (key_of(arg), arg)).collect();
        let mut problems = Vec::new();
        for entry in &file.entries {
            match known.get(entry.key.as_str()) {
                None => problems.push(unknown(entry, known.keys().copied())),
                Some(arg) => match value_problem(arg, &entry.value) {
                    Some(what) => {
                        problems.push(entry.problem(format_args!("{}: {what}", entry.key)));
                    }
                    None => {
                        command = command
                            .mut_arg(arg.get_id(), |arg| arg.default_value(entry.value.clone()));
                        lines.insert(entry.key.as_str(), entry.line);
                    }
                },
            }
        }
        Problems::none_in(&file.path, problems).map_err(NotMerged::File)?;
    }
    let matches = command.try_get_matches_from(args).map_err(NotMerged::Usage)?;
    let name = file.and_then(|file| file.path.file_name()).unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let origins = settings.iter().map(|arg| {
        let key = key_of(arg);
        let line = lines.get(key).map(|line| Origin::File(name.clone(), *line));
        (key.to_owned(), origin(arg, &matches, line))
    });
    Ok(Merged { origins: origins.collect(), matches })
}

fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some() && arg.get_env().is_some()
}

fn key_of(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

fn origin(arg: &Arg, matches: &ArgMatches, in_file: Option<Origin>) -> Origin {
    match matches.value_source(arg.get_id().as_str()) {
        Some(ValueSource::CommandLine) => Origin::CommandLine,
        Some(ValueSource::EnvVariable) => {
            let variable = arg.get_env().unwrap_or_default();
            Origin::Environment(variable.to_string_lossy().into_owned())
        }
        _ => in_file.unwrap_or(Origin::Default),
    }
}

fn unknown<'a>(entry: &Entry, known: impl Iterator<Item = &'a str>) -> Problem {
    let hint = did_you_mean(&entry.key, known);
    Problem::at(entry.line, format!("unknown key '{}'{hint}", entry.key))
}

/// What is wrong with `value` for `arg`, if anything is: the argument is tried alone.
fn value_problem(arg: &Arg, value: &str) -> Option<String> {
    // A flag without a value is one with `true` or `false` here.
    let arg = arg.clone().env(Resettable::Reset).action(ArgAction::Set).num_args(1).global(false);
    let flag = format!("--{}={value}", key_of(&arg));
    let err = Command::new("").no_binary_name(true).arg(arg).try_get_matches_from([flag]).err()?;
    if let Some(source) = err.source() {
        return Some(source.to_string());
    }
    match err.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
            Some(format!("expected one of: {}", valid.join(", ")))
        }
        _ => Some(err.kind().to_string()),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(variable) => f.write_str(variable),
            Self::File(name, line) => write!(f, "{name}:{line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What is wrong alone: how the program is used is for whoever has just called it, whom
/// [`report`](NotMerged::report) tells.
impl fmt::Display for NotMerged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(err) => {
                let text = err.to_string();
                let (what, _usage) = text.split_once("\n\n").unwrap_or((&text, ""));
                let what = what.trim_end();
                f.write_str(what.strip_prefix("error: ").unwrap_or(what))
            }
            Self::File(problems) => problems.fmt(f),
        }
    }
}

impl Error for NotMerged {}

impl NotMerged {
    /// Tells a person, on stderr or, if it is help that was wanted, on stdout. Returns the exit
    /// status: 2, or 0 for help that could be written.
    pub fn report(&self) -> u8 {
        // Nobody is left to be told that stderr cannot be written.
        match self {
            Self::Usage(err) if err.use_stderr() => {
                drop(err.print());
                u8::try_from(err.exit_code()).unwrap_or(BAD_USAGE)
            }
            Self::Usage(help) => {
                let flushed = || io::stdout().flush();
                answer::status(help.print().and_then(|()| flushed()))
            }
            Self::File(problems) => {
                drop(writeln!(io::stderr(), "{problems}"));
                BAD_USAGE
            }
        }
    }
}

/// The exit status of a process that was not started as it should be.
pub const BAD_USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::builder::BoolishValueParser;
    use clap::value_parser;

    use super::super::references::References;
    use super::*;

    fn command() -> Command {
        let setting = |name: &'static str| Arg::new(name).long(name).env("SALLYPORT_NOT_SET");
        Command::new("program")
            .arg(setting("count").default_value("1").value_parser(value_parser!(u16).range(1..=9)))
            .arg(setting("json").action(ArgAction::SetTrue).value_parser(BoolishValueParser::new()))
            .arg(setting("format").value_parser(["text", "json"]))
            .arg(setting("path").env("PATH"))
            .arg(setting("config"))
            .arg(Arg::new("loud").long("loud").action(ArgAction::SetTrue))
    }

    fn merged(args: &[&str], text: &str) -> Result<Merged, String> {
        let variable = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
        let references = References { variable: &variable, folder: Path::new("/") };
        let file = File::parse(Path::new("a.toml"), text, &[], references).unwrap();
        let args: Vec<OsString> = [&["program"], args].concat().iter().map(Into::into).collect();
        merge(command(), &args, Some(&file), &["config"]).map_err(|err| err.to_string())
    }

    #[test]
    fn the_command_line_beats_the_environment_beats_the_file_beats_the_default() {
        let merged =
            merged(&["--format", "json"], "json = true\nformat = \"text\"\npath = \"x\"\n");
        let merged = merged.unwrap();
        assert_eq!(merged.matches.get_one::<u16>("count"), Some(&1));
        assert_eq!(merged.matches.get_one::<bool>("json"), Some(&true));
        assert_eq!(merged.matches.get_one::<String>("format").unwrap(), "json");
        assert_ne!(merged.matches.get_one::<String>("path").unwrap(), "x");
        assert_eq!(merged.origin("count"), Origin::Default);
        assert_eq!(merged.origin("json"), Origin::File("a.toml".into(), 1));
        assert_eq!(merged.origin("format"), Origin::CommandLine);
        assert_eq!(merged.origin("path"), Origin::Environment("PATH".into()));
    }

    #[test]
    fn every_mistake_in_a_file_is_named_with_its_line() {
        let text = "count = 10\njson = \"perhaps\"\nformat = \"xml\"\nfromat = \"text\"\n\
                    loud = true\nconfig = \"b.toml\"\nformat_ = 1\n";
        let problems = merged(&["--count", "2"], text).unwrap_err();
        let problems: Vec<&str> = problems.lines().collect();
        assert_eq!(
            problems,
            [
                "a.toml:1: count: 10 is not in 1..=9",
                "a.toml:2: json: value was not a boolean",
                "a.toml:3: format: expected one of: text, json",
                "a.toml:4: unknown key 'fromat': did you mean 'format'?",
                "a.toml:5: unknown key 'loud'",
                "a.toml:6: unknown key 'config'",
                "a.toml:7: unknown key 'format_': did you mean 'format'?",
            ]
        );
    }

    #[test]
    fn a_wrong_argument_is_told_without_how_the_program_is_used() {
        let problem = merged(&["--format", "xml"], "").unwrap_err();
        assert!(problem.starts_with("invalid value 'xml' for '--format"), "{problem}");
        assert!(!problem.contains("Usage") && !problem.contains("--help"), "{problem}");
        assert!(merged(&["--no"], "").unwrap_err().starts_with("unexpected argument '--no'"));
    }

    #[test]
    fn what_a_reference_stands_for_is_not_told() {
        let problems = merged(&[], "count = \"${SECRET}\"\nfromat = \"${SECRET}\"\n").unwrap_err();
        assert_eq!(
            problems,
            "a.toml:1: count: what '${SECRET}' stands for is not good\n\
             a.toml:2: unknown key 'fromat': did you mean 'format'?"
        );
    }
}
