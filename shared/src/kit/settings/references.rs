//! References within a value: `${NAME}` stands for an environment variable, `file:PATH` for what a
//! file holds. So secrets can stay out of a file that everybody may read.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::kit::small_file;

/// The most bytes that a referenced file may have: a value is a line, not a book.
const LONGEST: u64 = 64 * 1024;

/// What references refer to.
#[derive(Clone, Copy)]
pub struct References<'a> {
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The folder that relative paths start from.
    pub folder: &'a Path,
}

/// A reference that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadReference {
    /// The variable is not set, or is no text.
    Unset(String),
    /// There is no `}`.
    Open,
    /// The file cannot be read: why.
    Unreadable(PathBuf, String),
}

impl References<'_> {
    /// `text` with everything in it that is referred to. `$${` stands for `${`.
    pub(super) fn resolve(&self, text: &str) -> Result<String, BadReference> {
        match text.strip_prefix("file:") {
            None => self.expand(text),
            Some(path) => read(&self.folder.join(self.expand(path)?)),
        }
    }

    fn expand(&self, text: &str) -> Result<String, BadReference> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, reference) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str("${");
                rest = &reference[2..];
                continue;
            }
            expanded.push_str(before);
            let (name, behind) = reference[2..].split_once('}').ok_or(BadReference::Open)?;
            let value =
                (self.variable)(name).ok_or_else(|| BadReference::Unset(name.to_owned()))?;
            expanded.push_str(&value);
            rest = behind;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

/// What the file holds, without the end of its last line.
fn read(path: &Path) -> Result<String, BadReference> {
    let unreadable = |why: String| BadReference::Unreadable(path.to_owned(), why);
    let mut text = small_file::read_text(path, LONGEST).map_err(|err| match err.kind() {
        ErrorKind::FileTooLarge => unreadable("longer than 64 KiB".into()),
        _ => unreadable(err.to_string()),
    })?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

impl fmt::Debug for References<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("References").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl fmt::Display for BadReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(name) => {
                write!(f, "the environment variable '{name}' is not set; '$${{' is a plain '${{'")
            }
            Self::Open => f.write_str("'${' has no '}'; '$${' is a plain '${'"),
            Self::Unreadable(path, why) => write!(f, "cannot read {}: {why}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<String, String> {
        let variable = |name: &str| match name {
            "NAME" => Some("value".to_owned()),
            "REFERENCE" => Some("${NAME}".to_owned()),
            _ => None,
        };
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
        let references = References { variable: &variable, folder };
        references.resolve(text).map_err(|err| err.to_string())
    }

    #[test]
    fn variables_stand_anywhere_in_a_value() {
        let good = [
            ("", ""),
            ("plain $5 }", "plain $5 }"),
            ("${NAME}", "value"),
            ("a${NAME}b${NAME}", "avaluebvalue"),
            ("$${NAME}", "${NAME}"),
            ("$${${NAME}}", "${value}"),
            // What a variable holds is not looked at again.
            ("${REFERENCE}", "${NAME}"),
        ];
        for (text, value) in good {
            assert_eq!(resolve(text).as_deref(), Ok(value), "{text}");
        }
        assert!(resolve("${OTHER}").unwrap_err().contains("'OTHER' is not set"));
        assert!(resolve("a ${NAME").unwrap_err().contains("has no '}'"));
    }

    #[test]
    fn a_file_stands_for_a_whole_value() {
        let text = resolve("file:kit/settings/references.rs").unwrap();
        assert!(text.starts_with("//! References") && text.ends_with('}'), "{text}");
        assert!(resolve("file:kit").unwrap_err().contains("cannot read"));
        assert!(resolve("file:${NAME}").unwrap_err().contains("src/value: No such file"));
        assert!(resolve("file:/dev/zero").unwrap_err().contains("longer than 64 KiB"));
    }
}
