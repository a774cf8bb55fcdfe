//! The secret that a program is given: in a variable or in a file, never among its arguments, which
//! everybody on the machine can read.

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::fingerprint::fingerprint;
use super::secret::LONGEST;
use super::{BadSecret, PREFIX, Secret};
use crate::kit::settings::Origin;
use crate::kit::small_file;

/// A value that is not shown by accident, not even when it is not a good one.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl Hidden {
    /// What tells one value from another in a log, and tells nobody the value.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.0.as_bytes())
    }
}

impl FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(***)")
    }
}

/// The secret that is given as `text`, which comes from `origin`, or in `file`, or else in the first
/// of the files `otherwise` that is there.
///
/// # Errors
///
/// What is wrong, for a person; the secret is not in it.
pub fn given(
    text: Option<&Hidden>,
    origin: &Origin,
    file: Option<&Path>,
    otherwise: &[PathBuf],
) -> Result<Option<Secret>, String> {
    match (text, file) {
        (Some(_), _) if *origin == Origin::CommandLine => Err(ON_COMMAND_LINE.into()),
        (Some(_), Some(file)) => Err(format!(
            "there is a token in the environment or the configuration, and in {}: give one of them",
            file.display()
        )),
        (Some(text), None) => match text.0.parse() {
            Ok(secret) => Ok(Some(secret)),
            Err(err) => Err(format!("the token is not good: {err}")),
        },
        (None, Some(file)) => read(file).map(Some),
        (None, None) => {
            otherwise.iter().find(|file| file.exists()).map(|file| read(file)).transpose()
        }
    }
}

/// Whether a token is among the arguments of a program, wherever it stands there.
pub fn is_among(args: &[OsString]) -> bool {
    /// So many characters are more than any name or path that begins in the same way has.
    const LONG: usize = 64;
    let is_token = |text: &str| {
        let rest = text.strip_prefix(PREFIX).unwrap_or_default();
        rest.bytes().take_while(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')).count() >= LONG
    };
    args.iter().any(|arg| {
        let arg = arg.to_string_lossy();
        arg.match_indices(PREFIX).any(|(at, _)| is_token(&arg[at..]))
    })
}

/// What is said to a secret that has been given away already.
pub const ON_COMMAND_LINE: &str = "a token among the arguments can be read by everybody on this \
    machine: put it into a file for --token-file, or into the environment";

/// The longest file with a secret, in bytes: some white space may be around it.
const LONGEST_FILE: u64 = 2 * LONGEST as u64;

fn read(path: &Path) -> Result<Secret, String> {
    let about = |err: &dyn fmt::Display| format!("the token in {}: {err}", path.display());
    let text = small_file::read_text(path, LONGEST_FILE).map_err(|err| match err.kind() {
        ErrorKind::FileTooLarge => about(&BadSecret::TooLong),
        _ => about(&err),
    })?;
    text.parse().map_err(|err| about(&err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_one_place_and_is_not_told_to_anybody() {
        let folder = std::env::temp_dir().join(format!("sallyport-given-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("token");
        std::fs::write(&file, "correct horse battery\n").unwrap();
        let text = Hidden("correct horse battery".into());
        let env = Origin::Environment("CLIENT_TOKEN".into());
        let on_command_line = given(Some(&text), &Origin::CommandLine, None, &[]);
        assert!(on_command_line.unwrap_err().contains("--token-file"));
        let expected: Secret = text.0.parse().unwrap();

        assert_eq!(given(Some(&text), &env, None, &[]), Ok(Some(expected.clone())));
        assert_eq!(given(None, &env, Some(&file), &[]), Ok(Some(expected.clone())));
        let otherwise = [folder.join("not-there"), file.clone()];
        assert_eq!(given(None, &env, None, &otherwise), Ok(Some(expected)));
        assert_eq!(given(None, &env, None, &otherwise[..1]), Ok(None));
        assert!(
            given(Some(&text), &env, Some(&file), &[]).unwrap_err().contains("give one of them")
        );

        std::fs::write(&file, "hunter2").unwrap();
        let err = given(None, &env, Some(&file), &[]).unwrap_err();
        assert!(err.contains("can be guessed") && !err.contains("hunter2"), "{err}");
        assert!(given(None, &env, Some(&otherwise[0]), &[]).unwrap_err().contains("not-there"));
        std::fs::write(&file, "x".repeat(LONGEST * 4)).unwrap();
        let err = given(None, &env, Some(&file), &[]).unwrap_err();
        assert!(err.ends_with(&BadSecret::TooLong.to_string()), "{err}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
