//! The differences that `docs/conformance.md` gives reasons for: the rows of its table are what is
//! accepted, so that none is without a reason that can be read.

use crate::verdicts::{Compared, Difference};

/// The page with the table.
const PAGE: &str = include_str!("../../../../docs/conformance.md");

/// The rows of the table.
#[derive(Debug)]
pub(crate) struct Accepted(Vec<Row>);

#[derive(Debug)]
struct Row {
    suite: String,
    ways: Vec<String>,
    cases: Vec<String>,
    without: String,
    through: String,
}

impl Accepted {
    /// What the page says.
    pub(crate) fn documented() -> Self {
        Self::read(PAGE)
    }

    fn read(page: &str) -> Self {
        Self(page.lines().filter_map(Row::read).collect())
    }

    /// The differences without a reason.
    pub(crate) fn lacks<'a>(&self, way: &'a Compared) -> Vec<Difference<'a>> {
        let mut differences = way.differences();
        differences.retain(|difference| !self.has(way.suite, way.way, difference));
        differences
    }

    /// Whether there is a reason for `difference`.
    fn has(&self, suite: &str, way: &str, difference: &Difference<'_>) -> bool {
        let word = |verdict: &str| verdict.split(' ').next().unwrap_or_default().to_owned();
        self.0.iter().any(|row| {
            row.suite == suite
                && row.ways.iter().any(|other| other == way)
                && row.cases.iter().any(|case| case == difference.case)
                && row.without == word(difference.without)
                && row.through == word(difference.through)
        })
    }
}

impl Row {
    /// A line of the table, or none: its cases stand in backquotes, with commas between them.
    fn read(line: &str) -> Option<Self> {
        let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let columns: Vec<_> = line.split(" | ").collect();
        let [suite, ways, cases, without, through, why] = columns[..] else { return None };
        if why.is_empty() || !cases.starts_with('`') {
            return None;
        }
        let list = |text: &str| {
            text.split(',').map(|one| one.trim().trim_matches('`').to_owned()).collect()
        };
        Some(Self {
            suite: suite.to_owned(),
            ways: list(ways),
            cases: list(cases),
            without: without.to_owned(),
            through: through.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| suite | ways | cases | without | through | why |\n\
                         | --- | --- | --- | --- | --- | --- |\n\
                         | h2spec | http, https | `http2/5.1/1`, `http2/5.1/2` | failed | passed | so |\n";

    #[test]
    fn only_what_stands_in_the_table_is_accepted() {
        let accepted = Accepted::read(TABLE);
        let difference = |case, without, through| Difference { case, without, through };
        let better = difference("http2/5.1/2", "failed", "passed and how");
        assert!(accepted.has("h2spec", "https", &better));
        assert!(!accepted.has("h2spec", "tcp", &better));
        assert!(!accepted.has("autobahn", "https", &better));
        assert!(!accepted.has("h2spec", "https", &difference("http2/5.1/3", "failed", "passed")));
        assert!(!accepted.has("h2spec", "https", &difference("http2/5.1/2", "passed", "failed")));
    }

    #[test]
    fn every_row_of_the_page_is_understood() {
        let (_, differences) = PAGE.split_once("## Differences").expect("the part of that name");
        let rows = differences.lines().filter(|line| line.starts_with("| ")).skip(2);
        assert_eq!(rows.count(), Accepted::documented().0.len());
    }
}
