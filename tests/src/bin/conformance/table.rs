//! What is shown: a table, row by row as runs are over, and below a row what is not accounted for.

#![allow(clippy::print_stdout, reason = "talking to a person is what the program is for")]

use crate::differences::Accepted;
use crate::suites::Suite;
use crate::verdicts::Compared;

/// The first lines of the table.
pub(crate) fn head() {
    println!("| suite | way | without the tunnel | through it | differences | without a reason |");
    println!("| --- | --- | --- | --- | --- | --- |");
}

/// What the suites are called.
pub(crate) fn names(suites: &[&Suite]) {
    for suite in suites {
        println!("{:10} {}", suite.name, suite.what);
    }
    if suites.is_empty() {
        println!("there is no such suite: --list shows which there are");
    }
}

/// The row of a way. Returns whether all is well: something was run, and `accepted` has a reason
/// for each difference.
pub(crate) fn row(compared: &Compared, accepted: &Accepted) -> bool {
    let Compared { suite, way, without, through } = compared;
    let differences = compared.differences();
    let unexplained: Vec<_> =
        differences.iter().filter(|difference| !accepted.has(suite, way, difference)).collect();
    println!(
        "| {suite} | {way} | {} | {} | {} | {} |",
        without.counted(),
        through.counted(),
        differences.len(),
        unexplained.len(),
    );
    for difference in &unexplained {
        println!(
            "  {suite}, {way}: {} is {:?} without and {:?} through the tunnel",
            difference.case, difference.without, difference.through
        );
    }
    unexplained.is_empty() && !without.is_empty()
}
