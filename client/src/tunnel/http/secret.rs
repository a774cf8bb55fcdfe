//! What visitors have to know, and where it stands.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use shared::kit::small_file;
use shared::token::Hidden;

use super::super::BadTunnel;

/// A secret, or the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretText {
    Given(Hidden),
    In(PathBuf),
}

/// The longest file with secrets, in bytes: more logins than fit the options of a tunnel.
const LONGEST_FILE: u64 = 64 * 1024;

impl SecretText {
    /// What is given, or what is in the file that `option` names. `bad` says what is wrong with it.
    pub(super) fn read(
        &self,
        option: &'static str,
        bad: fn(&str) -> Option<&'static str>,
    ) -> Result<Hidden, BadTunnel> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::In(file) => {
                let text = read(file, option)?;
                let secret = text.trim();
                match bad(secret) {
                    None => Ok(Hidden(secret.to_owned())),
                    Some(what) => Err(bad_file(file, option, what)),
                }
            }
        }
    }

    /// One of both, if there is one.
    pub(super) fn of(
        given: Option<Hidden>,
        file: Option<PathBuf>,
        options: (&'static str, &'static str),
    ) -> Result<Option<Self>, BadTunnel> {
        match (given, file) {
            (Some(_), Some(_)) => Err(BadTunnel::Both(options.0, options.1)),
            (Some(secret), None) => Ok(Some(Self::Given(secret))),
            (None, file) => Ok(file.map(Self::In)),
        }
    }
}

/// The logins in the file that `option` names, a line each. One at least: without any, everybody
/// would come in.
pub(super) fn logins(file: &Path, option: &'static str) -> Result<Vec<Hidden>, BadTunnel> {
    let text = read(file, option)?;
    let mut logins = Vec::new();
    for (line, login) in (1..).zip(text.lines().map(str::trim_end)) {
        if login.is_empty() {
            continue;
        }
        if let Some(what) = bad_login(login) {
            return Err(bad_file(file, option, &format!("line {line}: {what}")));
        }
        logins.push(Hidden(login.to_owned()));
    }
    match logins.is_empty() {
        true => Err(bad_file(file, option, "there is nobody in it")),
        false => Ok(logins),
    }
}

/// What the file that `option` names holds.
pub(super) fn read(file: &Path, option: &'static str) -> Result<String, BadTunnel> {
    small_file::read_text(file, LONGEST_FILE).map_err(|err| match err.kind() {
        ErrorKind::FileTooLarge => bad_file(file, option, "it is longer than 64 KiB"),
        _ => bad_file(file, option, &err.to_string()),
    })
}

pub(super) fn bad_file(file: &Path, option: &'static str, what: &str) -> BadTunnel {
    BadTunnel::File { option, what: format!("{}: {what}", file.display()) }
}

/// What is wrong with a login, if anything is.
pub(crate) fn bad_login(text: &str) -> Option<&'static str> {
    let good = text.split_once(':').is_some_and(|(user, password)| {
        !user.is_empty() && !password.is_empty() && !text.chars().any(char::is_control)
    });
    (!good).then_some("expected USER:PASSWORD")
}

/// What is wrong with something that stands in a header or a query, if anything is.
pub(crate) fn bad_token(text: &str) -> Option<&'static str> {
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    (!good).then_some("expected characters of ASCII without blanks")
}

/// What is wrong with a secret of somebody else's making, if anything is.
pub(crate) fn bad_line(text: &str) -> Option<&'static str> {
    let good = !text.is_empty() && !text.chars().any(char::is_control);
    (!good).then_some("expected one line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_files_are_checked_and_not_told() {
        let folder = std::env::temp_dir().join(format!("sallyport-logins-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("logins");
        let logins = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let logins = logins(&file, "auth-file").map_err(|err| err.to_string())?;
            Ok::<_, String>(logins.into_iter().map(|login| login.0).collect::<Vec<_>>())
        };
        assert_eq!(logins("ann:one\r\n\nben:t wo:\n").unwrap(), ["ann:one", "ben:t wo:"]);
        let err = logins("ann:one\nhunter2\n").unwrap_err();
        assert!(err.starts_with("'auth-file': "), "{err}");
        assert!(err.ends_with("logins: line 2: expected USER:PASSWORD"), "{err}");
        assert!(logins("\n").unwrap_err().ends_with("there is nobody in it"));

        std::fs::write(&file, " abc\n").unwrap();
        let secret = SecretText::In(file.clone());
        assert_eq!(secret.read("token-file", bad_token).unwrap().0, "abc");
        std::fs::write(&file, "a b").unwrap();
        let err = secret.read("token-file", bad_token).unwrap_err().to_string();
        assert!(err.contains("without blanks") && !err.contains("a b"), "{err}");
        std::fs::remove_dir_all(folder).unwrap();
        assert!(secret.read("token-file", bad_token).unwrap_err().to_string().contains("No such"));
    }
}
