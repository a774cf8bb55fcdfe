//! A file of settings in TOML, read as far as this can be done without knowing the settings: keys
//! with values, and named sections with keys of their own.

use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::{Problem, Problems};
use super::references::References;
use crate::kit::small_file;

/// A file of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Whether nothing stands in it, not even a comment.
    pub is_blank: bool,
    /// What stands above all sections.
    pub entries: Vec<Entry>,
    /// The sections, `[GROUP.NAME]`, in the order of their lines.
    pub sections: Vec<Section>,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value as a flag would take it: references are resolved, numbers are in decimal.
    pub value: String,
    /// The value as it stands in the file, if that is something else: what a reference leads to may
    /// be a secret, or the wrong file altogether.
    pub written: Option<String>,
    /// The line of the key, counted from 1.
    pub line: usize,
}

/// The keys of one `[GROUP.NAME]`. An array is as many entries of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it is one of, such as `tunnels`.
    pub group: String,
    /// Its own name.
    pub name: String,
    /// The line of its name, counted from 1.
    pub line: usize,
    /// What it holds.
    pub entries: Vec<Entry>,
}

impl File {
    /// Reads the file at `path`, which may have sections of these `groups`. Relative references
    /// start from the file's folder, variables are those of this process.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is too large, is no TOML, or holds what no setting can be.
    pub fn read(path: &Path, groups: &[&str]) -> Result<Self, Problems> {
        let text = small_file::read_text(path, LARGEST).map_err(|err| match err.kind() {
            ErrorKind::FileTooLarge => {
                Problems::whole(path, "it is larger than any configuration (1 MiB)")
            }
            _ => Problems::whole(path, format!("cannot read it: {err}")),
        })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let variable = |name: &str| std::env::var(name).ok();
        Self::parse(path, &text, groups, References { variable: &variable, folder })
    }

    /// Reads `text`, which stands in the file at `path`. See [`File::read`].
    ///
    /// # Errors
    ///
    /// The text is no TOML, or holds what no setting can be.
    pub fn parse(
        path: &Path,
        text: &str,
        groups: &[&str],
        references: References<'_>,
    ) -> Result<Self, Problems> {
        let lines = LineNumbers::of(text);
        let table = DeTable::parse(text).map_err(|err| {
            let line = err.span().map(|span| lines.at(&span));
            Problems::new(path, vec![Problem { line, what: err.message().to_owned() }])
        })?;
        let mut reader = Reader { lines, references, problems: Vec::new() };
        let (mut entries, mut sections) = (Vec::new(), Vec::new());
        for (key, value) in table.get_ref().iter() {
            match value.get_ref() {
                DeValue::Table(members) if groups.contains(&key.get_ref().as_ref()) => {
                    reader.sections(key.get_ref(), members, &mut sections);
                }
                _ => entries.extend(reader.entry(key, value)),
            }
        }
        Problems::none_in(path, reader.problems)?;
        entries.sort_by_key(|entry| entry.line);
        sections.sort_by_key(|section| section.line);
        let is_blank = text.trim().is_empty();
        Ok(Self { path: path.to_owned(), is_blank, entries, sections })
    }

    /// The entry with this key above all sections.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Entry {
    /// That the value is not good: `why`, which may repeat it, unless it came by a reference.
    pub fn problem(&self, why: impl fmt::Display) -> Problem {
        Problem::at(
            self.line,
            match &self.written {
                None => why.to_string(),
                Some(written) => format!("{}: what '{written}' stands for is not good", self.key),
            },
        )
    }
}

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// Turns a table into entries, and notes what cannot be any.
struct Reader<'a> {
    lines: LineNumbers,
    references: References<'a>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn sections(&mut self, group: &str, members: &DeTable<'_>, sections: &mut Vec<Section>) {
        for (name, value) in members.iter() {
            let line = self.lines.at(&name.span());
            let name = name.get_ref().to_string();
            let DeValue::Table(table) = value.get_ref() else {
                let what = format!("expected a section such as [{group}.{name}], with keys below");
                self.problems.push(Problem::at(line, what));
                continue;
            };
            let mut entries: Vec<_> =
                table.iter().flat_map(|(key, value)| self.entries(key, value)).collect();
            entries.sort_by_key(|entry| entry.line);
            sections.push(Section { group: group.to_owned(), name, line, entries });
        }
    }

    /// An entry for each value of `key`.
    fn entries(&mut self, key: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Vec<Entry> {
        let DeValue::Array(values) = value.get_ref() else {
            return self.entry(key, value).into_iter().collect();
        };
        if values.is_empty() {
            let what = format!("{}: an empty list: leave it out", key.get_ref());
            self.problems.push(Problem::at(self.lines.at(&key.span()), what));
        }
        values.iter().filter_map(|value| self.entry(key, value)).collect()
    }

    fn entry(&mut self, key: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Option<Entry> {
        let line = self.lines.at(&key.span());
        let key = key.get_ref().to_string();
        match self.value(value.get_ref()) {
            Ok(resolved) => {
                let written = value.get_ref().as_str().filter(|written| **written != resolved);
                let written = written.map(str::to_owned);
                Some(Entry { key, value: resolved, written, line })
            }
            Err(what) => {
                self.problems.push(Problem::at(line, format!("{key}: {what}")));
                None
            }
        }
    }

    fn value(&self, value: &DeValue<'_>) -> Result<String, String> {
        match value {
            DeValue::String(text) => self.references.resolve(text).map_err(|err| err.to_string()),
            DeValue::Boolean(truth) => Ok(truth.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string())
                .map_err(|_| format!("the number {number} is too large")),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                let found = value.type_str();
                Err(format!("expected a string, a whole number, true or false, found {found}"))
            }
        }
    }
}

/// Where the lines of a text begin.
struct LineNumbers(Vec<usize>);

impl LineNumbers {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect())
    }

    /// The line in which `span` begins, counted from 1.
    fn at(&self, span: &Range<usize>) -> usize {
        self.0.partition_point(|begin| *begin <= span.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, String> {
        let variable = |name: &str| (name == "HOST").then(|| "relay.example".to_owned());
        let references = References { variable: &variable, folder: Path::new("/") };
        File::parse(Path::new("a.toml"), text, &["tunnels"], references)
            .map_err(|err| err.to_string())
    }

    #[test]
    fn keys_have_values_and_lines() {
        let text = "# a comment\nserver = \"${HOST}:4444\"\njson = true\nconnections = 0x1_0\n\
                    [tunnels.web]\nlocal = 80\n\n[tunnels.ssh]\nlocal = \"22\"\n";
        let file = parse(text).unwrap();
        let entry = |key: &str, value: &str, line| Entry {
            key: key.into(),
            value: value.into(),
            written: None,
            line,
        };
        let above = [
            Entry {
                written: Some("${HOST}:4444".into()),
                ..entry("server", "relay.example:4444", 2)
            },
            entry("json", "true", 3),
            entry("connections", "16", 4),
        ];
        assert_eq!(file.entries, above);
        let section = |name: &str, line, entries| Section {
            group: "tunnels".into(),
            name: name.into(),
            line,
            entries,
        };
        let sections = [
            section("web", 5, vec![entry("local", "80", 6)]),
            section("ssh", 8, vec![entry("local", "22", 9)]),
        ];
        assert_eq!(file.sections, sections);
    }

    #[test]
    fn an_array_in_a_section_is_several_values_of_its_key() {
        let text = "[tunnels.web]\nhost = [\"a\", \"${HOST}\", 1]\nlocal = 80\n";
        let entries = &parse(text).unwrap().sections[0].entries;
        let found: Vec<_> = entries.iter().map(|e| (&*e.key, &*e.value, e.line)).collect();
        let expected =
            [("host", "a", 2), ("host", "relay.example", 2), ("host", "1", 2), ("local", "80", 3)];
        assert_eq!(found, expected);
        let empty = parse("[tunnels.web]\nauth = []\n").unwrap_err();
        assert_eq!(empty, "a.toml:2: auth: an empty list: leave it out");
        assert!(parse("[tunnels.web]\nhost = [[1]]\n").unwrap_err().contains("found array"));
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_line() {
        let text = "a = 1.5\nb = [1]\nc = \"${OTHER}\"\nd = 99999999999999999999\n\
                    [tunnels]\nssh = 22\n[tunnels.web]\nlocal = { port = 80 }\n[other]\nx = 1\n";
        let problems = parse(text).unwrap_err();
        let problems: Vec<&str> = problems.lines().collect();
        let kinds = "expected a string, a whole number, true or false, found";
        assert_eq!(
            problems,
            [
                format!("a.toml:1: a: {kinds} float").as_str(),
                &format!("a.toml:2: b: {kinds} array"),
                "a.toml:3: c: the environment variable 'OTHER' is not set; '$${' is a plain '${'",
                "a.toml:4: d: the number 99999999999999999999 is too large",
                "a.toml:6: expected a section such as [tunnels.ssh], with keys below",
                &format!("a.toml:8: local: {kinds} table"),
                &format!("a.toml:9: other: {kinds} table"),
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_no_configuration() {
        let err = File::read(Path::new("/dev/zero"), &[]).unwrap_err().to_string();
        assert_eq!(err, "/dev/zero: it is larger than any configuration (1 MiB)");
    }

    #[test]
    fn what_is_no_toml_is_named_with_its_line() {
        let unclosed = parse("a = 1\nb = \"x\n").unwrap_err();
        assert!(unclosed.starts_with("a.toml:2: "), "{unclosed}");
        let twice = parse("a = 1\n\na = 2\n").unwrap_err();
        assert!(twice.starts_with("a.toml:3: duplicate key"), "{twice}");
    }
}
