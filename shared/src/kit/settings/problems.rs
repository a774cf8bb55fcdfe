//! What is wrong with a file, each with its line.

use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong with a file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    path: PathBuf,
    problems: Vec<Problem>,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1; `None` if it concerns the whole file.
    pub line: Option<usize>,
    /// What is wrong, for a person.
    pub what: String,
}

impl Problem {
    /// Something that is wrong with `line`.
    pub fn at(line: usize, what: impl Into<String>) -> Self {
        Self { line: Some(line), what: what.into() }
    }
}

impl Problems {
    /// What is wrong with the file at `path`, in the order of its lines.
    pub fn new(path: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        Self { path: path.to_owned(), problems }
    }

    /// One thing that is wrong with the whole file at `path`.
    pub fn whole(path: &Path, what: impl Into<String>) -> Self {
        Self::new(path, vec![Problem { line: None, what: what.into() }])
    }

    /// `Ok` if there are none.
    ///
    /// # Errors
    ///
    /// There are some.
    pub fn none_in(path: &Path, problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self::new(path, problems)) }
    }
}

/// Each on a line of its own, as `PATH:LINE: what`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            let path = self.path.display();
            match problem.line {
                Some(line) => write!(f, "{separator}{path}:{line}: {}", problem.what)?,
                None => write!(f, "{separator}{path}: {}", problem.what)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
