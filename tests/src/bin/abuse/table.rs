//! What is shown: a table, row by row as attacks are over.

#![expect(clippy::print_stdout, reason = "talking to a person is what the program is for")]

use std::time::Instant;

use crate::attacks::Attack;
use crate::tenant::Seen;

/// The row of an attack that is over.
#[derive(Debug)]
pub(crate) struct Row {
    attack: String,
    told: String,
    echo: String,
    visit: String,
    entry: String,
    lost: String,
    /// What never may happen, and did.
    pub(crate) faults: Vec<String>,
}

/// The first lines of the table.
pub(crate) fn head() {
    println!(
        "Times in ms. A round trip is a visitor's, over a visit that is open, counted from when it \
         was due; a new visit ends with its first echo; `let in` is from the start of a new client \
         to its tunnel being live. Each: before the attack -> during it.\n"
    );
    println!(
        "| attack | what became of it | round trips p50, p99 | new visits p99 | let in p50, p99 \
         (clients) | lost: sessions, visits |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
}

/// What the attacks are called.
pub(crate) fn names(attacks: &[&Attack]) {
    for attack in attacks {
        println!("{:14} {}", attack.name, attack.what);
    }
    if attacks.is_empty() {
        println!("there is no such attack: --list shows which there are");
    }
}

impl Row {
    /// What the tenant has `seen` of an attack that began and ended then.
    pub(crate) fn of(
        attack: &Attack,
        told: String,
        seen: &Seen,
        [start, began, ended]: [Instant; 3],
        lost_sessions: usize,
    ) -> Self {
        let phases = [(start, began), (began, ended)];
        let both = |show: &dyn Fn(Instant, Instant) -> String| {
            phases.map(|(from, to)| show(from, to)).join(" -> ")
        };
        let echo = |from, to| {
            let figures = seen.echoes.between(from, to);
            format!("{}, {}", figures.at(0.5), figures.at(0.99))
        };
        let visit = |from, to| seen.visits.between(from, to).at(0.99).to_string();
        let entry = |from, to| {
            let figures = seen.entries.between(from, to);
            format!("{}, {} ({})", figures.at(0.5), figures.at(0.99), figures.count())
        };
        Self {
            attack: attack.what.to_owned(),
            told,
            echo: both(&echo),
            visit: both(&visit),
            entry: both(&entry),
            lost: format!("{lost_sessions}, {}", seen.broken()),
            faults: Vec::new(),
        }
    }

    /// The row of an attack in which something panicked, which has been shown.
    pub(crate) fn failed(attack: &Attack) -> Self {
        let none = || "-".to_owned();
        Self {
            attack: attack.what.to_owned(),
            told: none(),
            echo: none(),
            visit: none(),
            entry: none(),
            lost: none(),
            faults: vec!["it could not be carried out: see the panic".to_owned()],
        }
    }

    /// Something more to tell.
    pub(crate) fn note(&mut self, what: &str) {
        self.told = format!("{}; {what}", self.told);
    }

    /// Shows it.
    pub(crate) fn print(&self) {
        let Self { attack, told, echo, visit, entry, lost, faults } = self;
        let faults: String = faults.iter().map(|fault| format!(" **NEVER: {fault}.**")).collect();
        println!("| {attack} | {told}{faults} | {echo} | {visit} | {entry} | {lost} |");
    }
}
