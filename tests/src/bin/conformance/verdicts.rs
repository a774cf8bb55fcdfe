//! What a suite says of each of its cases.

use std::collections::{BTreeMap, BTreeSet};

/// What is said of a case that a run does not know.
const ABSENT: &str = "absent";

/// The verdict of each case, by its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdicts(BTreeMap<String, String>);

/// What a suite says without the tunnel and through it, in one way.
#[derive(Debug)]
pub(crate) struct Compared {
    /// Which suite.
    pub(crate) suite: &'static str,
    /// By which way visitors came.
    pub(crate) way: &'static str,
    /// What it says of the local service itself.
    pub(crate) without: Verdicts,
    /// What it says of the same service through the tunnel.
    pub(crate) through: Verdicts,
}

/// A case whose verdict is another one through the tunnel.
#[derive(Debug)]
pub(crate) struct Difference<'a> {
    pub(crate) case: &'a str,
    pub(crate) without: &'a str,
    pub(crate) through: &'a str,
}

impl Verdicts {
    /// Adds a case. A name that is there already is told apart by a number.
    pub(crate) fn add(&mut self, case: &str, verdict: impl Into<String>) {
        let mut name = case.to_owned();
        let mut number = 1;
        while self.0.contains_key(&name) {
            number += 1;
            name = format!("{case}#{number}");
        }
        self.0.insert(name, verdict.into());
    }

    /// How many cases there are, by their verdicts: the word up to the first blank counts.
    pub(crate) fn counted(&self) -> String {
        let mut counts = BTreeMap::<&str, usize>::new();
        for verdict in self.0.values() {
            *counts.entry(verdict.split(' ').next().unwrap_or_default()).or_default() += 1;
        }
        let counts: Vec<_> =
            counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        counts.join(", ")
    }

    /// Whether nothing was run.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, case: &str) -> &str {
        self.0.get(case).map_or(ABSENT, String::as_str)
    }
}

impl Compared {
    /// Where the two differ, in the order of the names.
    pub(crate) fn differences(&self) -> Vec<Difference<'_>> {
        let cases: BTreeSet<_> = self.without.0.keys().chain(self.through.0.keys()).collect();
        let both = cases.into_iter().map(|case| Difference {
            case,
            without: self.without.of(case),
            through: self.through.of(case),
        });
        both.filter(|both| both.without != both.through).collect()
    }
}
