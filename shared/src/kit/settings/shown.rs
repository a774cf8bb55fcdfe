//! Settings as a file again: what would run, and what would become different.

use std::fmt;

use super::merge::Origin;

/// One setting, as it would be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: &'static str,
    /// Its value, `None` if it is not set; of a secret what tells it from another.
    pub value: Option<String>,
    /// Whether its value is a secret.
    pub is_secret: bool,
}

/// A setting that has become different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its key.
    pub key: &'static str,
    /// The value that it had, `None` if it was not set.
    pub old: Option<String>,
    /// The value that it has.
    pub new: Option<String>,
}

/// A setting as a line of a file, with its origin as a comment.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// The setting.
    pub row: &'a Row,
    /// Where its value comes from.
    pub origin: Origin,
}

/// Where the comments begin, if the value leaves room.
const COMMENTS: usize = 40;

impl Change {
    /// From one value to another, if they differ.
    pub fn between(
        key: &'static str,
        old: impl fmt::Display,
        new: impl fmt::Display,
    ) -> Option<Self> {
        let (old, new) = (old.to_string(), new.to_string());
        (old != new).then_some(Self { key, old: Some(old), new: Some(new) })
    }
}

impl Row {
    /// A setting that has a value.
    pub fn new(key: &'static str, value: impl fmt::Display) -> Self {
        Self { key, value: Some(value.to_string()), is_secret: false }
    }

    /// A setting that may have none.
    pub fn optional(key: &'static str, value: Option<&str>) -> Self {
        Self { key, value: value.map(str::to_owned), is_secret: false }
    }

    /// A setting that nobody sees. `fingerprint` tells one value from another.
    pub fn secret(key: &'static str, fingerprint: Option<String>) -> Self {
        let value = fingerprint.map(|fingerprint| format!("(secret {fingerprint})"));
        Self { key, value, is_secret: true }
    }
}

/// What is different in `new`; both lists have the same keys in the same order.
pub fn changes(old: Vec<Row>, new: Vec<Row>) -> Vec<Change> {
    let pairs = old.into_iter().zip(new).filter(|(old, new)| old.value != new.value);
    pairs.map(|(old, new)| Change { key: new.key, old: old.value, new: new.value }).collect()
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { key, value, is_secret } = self.row;
        let setting = match value {
            Some(value) if *is_secret => format!("# {key} is {value}"),
            Some(value) => format!("{key} = {}", quoted(value)),
            None => format!("# {key} is not set"),
        };
        match value {
            Some(_) => write!(f, "{setting:COMMENTS$} # {}", self.origin),
            None => f.write_str(&setting),
        }
    }
}

/// Such as `~ grace: 30s -> 1m`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        write!(f, "~ {}: {} -> {}", self.key, text(&self.old), text(&self.new))
    }
}

/// `value` as TOML has it: numbers and truths as they are, all else as a string.
pub fn quoted(value: &str) -> String {
    let number = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    if number || matches!(value, "true" | "false") {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in value.replace("${", "$${").chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{File, References};
    use super::*;

    #[test]
    fn what_is_shown_reads_back_as_what_it_was() {
        let values =
            ["4444", "-1", "+1", "007", "true", "30s", "", "a \"b\" \\ \n\t\u{7f}é", "${A}"];
        for value in values {
            let row = Row::new("key", value);
            let text = Shown { row: &row, origin: Origin::File("b.toml".into(), 3) }.to_string();
            let references = References { variable: &|_| None, folder: Path::new("/") };
            let file = File::parse(Path::new("a.toml"), &text, &[], references).unwrap();
            assert_eq!(file.entry("key").map(|entry| entry.value.as_str()), Some(value), "{text}");
            assert!(text.ends_with(" # b.toml:3"), "{text}");
        }
    }

    #[test]
    fn what_became_different_is_shown_with_both_values() {
        let old =
            vec![Row::new("grace", "30s"), Row::new("hold", "5m"), Row::optional("log", None)];
        let new = vec![Row::new("grace", "1m"), Row::new("hold", "5m"), Row::new("log", "debug")];
        let lines: Vec<String> = changes(old, new).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["~ grace: 30s -> 1m", "~ log: not set -> debug"]);
    }
}
