//! What is shown: a table, row by row as runs are over, and below a row what is not accounted for.

#![expect(clippy::print_stdout, reason = "talking to a person is what the program is for")]

use std::collections::BTreeSet;

use crate::differences::Accepted;
use crate::suites::Suite;
use crate::verdicts::{Compared, Difference};

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

/// The row of a suite that cannot be run.
pub(crate) fn panicked(suite: &Suite) {
    println!("| {} | - | - | - | - | it cannot be run: see the panic |", suite.name);
}

/// What stands below the last row of a run that was ended.
pub(crate) fn interrupted() {
    println!("interrupted: of the suite that was running there is nothing");
}

/// The row of a way. Returns whether all is well: something was run, and `accepted` has a reason
/// for each difference, or it was not there in the run `before`.
pub(crate) fn row(compared: &Compared, accepted: &Accepted, before: Option<&Compared>) -> bool {
    let Compared { suite, way, without, through } = compared;
    let earlier: Option<BTreeSet<_>> =
        before.map(|before| accepted.lacks(before).iter().map(|one| one.case).collect());
    let was_there = |case| earlier.as_ref().is_none_or(|cases| cases.contains(case));
    let (lasting, passing): (Vec<_>, Vec<_>) =
        accepted.lacks(compared).into_iter().partition(|difference| was_there(difference.case));
    println!(
        "| {suite} | {way} | {} | {} | {} | {} |",
        without.counted(),
        through.counted(),
        compared.differences().len(),
        lasting.len(),
    );
    let mut gone = before.map(|before| accepted.lacks(before)).unwrap_or_default();
    gone.retain(|one| lasting.iter().chain(&passing).all(|other| other.case != one.case));
    let chance = ", in one of two runs";
    for (differences, when) in [(&lasting, ""), (&passing, chance), (&gone, chance)] {
        for Difference { case, without, through } in differences {
            println!(
                "  {suite}, {way}: {case} is {without:?} without and {through:?} through the \
                 tunnel{when}"
            );
        }
    }
    lasting.is_empty() && !without.is_empty()
}
