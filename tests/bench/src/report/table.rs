//! The report as a Markdown table, aligned so that it reads as plain text too.

use std::fmt::Write;

use super::{Report, Row};
use crate::contenders::Contender;
use crate::statistics::Summary;

/// The whole report.
pub(super) fn markdown(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "Commit {}, Linux {}, {} ({} cores, load before the run {}).\n",
        machine.commit, machine.kernel, machine.cpu, machine.cores, machine.load_before
    );
    let versions: Vec<String> = report
        .versions
        .iter()
        .filter(|(_, version)| !version.is_empty())
        .map(|(contender, version)| format!("{}: {version}", contender.name()))
        .collect();
    if !versions.is_empty() {
        text += &format!("{}.\n", versions.join("; "));
    }
    let encrypted = report.versions.keys().filter(|contender| contender.is_encrypted());
    let encrypted: Vec<&str> = encrypted.map(|contender| contender.name()).collect();
    if !encrypted.is_empty() {
        text += &format!("Encrypted: {}; the others are not.\n", encrypted.join(", "));
    }
    text += "Medians, with the lowest and highest of all rounds; everything on loopback.\n";
    if report.interrupted {
        text += "The run was interrupted: not everything was measured.\n";
    }
    text.push('\n');
    let (web, tunnels): (Vec<&Row>, Vec<&Row>) =
        report.rows.iter().partition(|row| row.metric.is_web());
    let tables = [(tunnels, tunnel_comparisons as fn(&_) -> _), (web, web_comparisons)];
    let tables = tables.into_iter().filter(|(rows, _)| !rows.is_empty());
    let tables = tables.map(|(rows, comparisons)| aligned(&cells(report, &rows, comparisons)));
    text += &tables.collect::<Vec<_>>().join("\n");
    for failure in &report.failures {
        // A failed write to a string does not happen.
        write!(
            text,
            "\n{} of {} failed: {}",
            failure.figure,
            failure.contender.name(),
            failure.error
        )
        .ok();
    }
    text
}

/// What a row is compared by, and the number of it.
type Comparison = (&'static str, fn(&Row) -> String);

/// Tunnels that pass on connections.
fn tunnel_comparisons(contenders: &[Contender]) -> Vec<Comparison> {
    let mut comparisons: Vec<Comparison> = vec![
        ("ours / best peer", |row| ratio(row, Contender::Ours, row.best_peer(|_| true))),
        ("ours / two hops", |row| ratio(row, Contender::Ours, row.median(Contender::TwoHops))),
    ];
    if contenders.contains(&Contender::Before) {
        comparisons
            .push(("ours / before", |row| over_before(row, Contender::Ours, Contender::Before)));
    }
    if contenders.contains(&Contender::OursTls) {
        comparisons.push(("ours TLS / best encrypted peer", |row| {
            ratio(row, Contender::OursTls, row.best_peer(Contender::is_encrypted))
        }));
    }
    comparisons
}

/// Servers of the web, and our tunnel that knows nothing of it.
fn web_comparisons(contenders: &[Contender]) -> Vec<Comparison> {
    let mut comparisons: Vec<Comparison> = vec![
        ("ours web / ours", |row| ratio(row, Contender::OursWeb, row.median(Contender::Ours))),
        ("ours web / frp web", |row| ratio(row, Contender::OursWeb, row.median(Contender::FrpWeb))),
        ("ours web / best proxy", |row| {
            ratio(row, Contender::OursWeb, row.best_peer(Contender::is_proxy))
        }),
    ];
    if contenders.contains(&Contender::Before) {
        comparisons
            .push(("ours / before", |row| over_before(row, Contender::Ours, Contender::Before)));
    }
    if contenders.contains(&Contender::BeforeWeb) {
        comparisons.push(("ours web / before web", |row| {
            over_before(row, Contender::OursWeb, Contender::BeforeWeb)
        }));
    }
    comparisons
}

/// The table of those rows; those who have no value in them have no column.
fn cells(
    report: &Report,
    rows: &[&Row],
    comparisons: fn(&[Contender]) -> Vec<Comparison>,
) -> Vec<Vec<String>> {
    let has_value = |contender| rows.iter().any(|row| row.values.contains_key(contender));
    let contenders: Vec<Contender> =
        report.versions.keys().filter(|contender| has_value(contender)).copied().collect();
    let comparisons = comparisons(&contenders);
    let mut header = vec!["figure".to_owned(), "unit".to_owned()];
    header.extend(contenders.iter().map(|contender| contender.name().to_owned()));
    header.extend(comparisons.iter().map(|(name, _)| (*name).to_owned()));
    let mut cells = vec![header];
    for row in rows {
        let mut line = vec![row.metric.title.to_owned(), row.metric.unit.to_owned()];
        line.extend(contenders.iter().map(|contender| value(row, *contender)));
        line.extend(comparisons.iter().map(|(_, compare)| compare(row)));
        cells.push(line);
    }
    cells
}

fn value(row: &Row, contender: Contender) -> String {
    let Some(summary) = row.summary(contender) else { return "-".to_owned() };
    let median = number(summary.median);
    let (min, max) = (number(summary.min), number(summary.max));
    if min == max { median } else { format!("{median} ({min}..{max})") }
}

fn ratio(row: &Row, ours: Contender, other: Option<f64>) -> String {
    match (row.summary(ours), other) {
        (Some(ours), Some(other)) if other > 0.0 => format!("{:.2}x", ours.median / other),
        _ => "-".to_owned(),
    }
}

fn over_before(row: &Row, ours: Contender, before: Contender) -> String {
    row.over_before(ours, before).map_or_else(
        || "-".to_owned(),
        |Summary { median, min, max }| format!("{median:.2}x ({min:.2}..{max:.2})"),
    )
}

/// Three digits that count, or all before the point.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default())
        .collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let (header, body) = rows.split_at(rows.len().min(1));
    let header = header.iter().map(|row| line(row)).collect::<String>();
    let body = body.iter().map(|row| line(row)).collect::<String>();
    header + &line(&rule) + &body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_three_digits_that_count() {
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(4_498.4), "4498");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "long".to_owned()], vec!["bb".to_owned(), "c".to_owned()]];
        assert_eq!(aligned(&rows), "| a  | long |\n| -- | ---- |\n| bb | c    |\n");
    }
}
