//! What a run found out, and the files that say it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Error, Result};
use serde::Serialize;
use serde_json::Value;

use crate::contenders::Contender;
use crate::figures::{Metric, Reading};
use crate::machine::Machine;
use crate::statistics::Summary;

mod chart;
mod table;

/// What a run leaves beside its charts.
const JSON: &str = "report.json";
const MARKDOWN: &str = "report.md";

/// All results of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Who was measured, and what each says of its version.
    pub(crate) versions: BTreeMap<Contender, String>,
    /// In the order of measuring.
    pub(crate) rows: Vec<Row>,
    pub(crate) failures: Vec<Failure>,
    /// Whether the run was ended before everything was measured.
    pub(crate) interrupted: bool,
}

/// One metric, of all contenders.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) metric: &'static Metric,
    pub(crate) values: BTreeMap<Contender, Vec<f64>>,
}

/// A measurement that did not succeed.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) figure: String,
    pub(crate) contender: Contender,
    pub(crate) error: String,
}

impl Report {
    /// A report of nothing yet.
    pub(crate) fn new(machine: Machine, versions: BTreeMap<Contender, String>) -> Self {
        Self { machine, versions, rows: Vec::new(), failures: Vec::new(), interrupted: false }
    }

    /// Adds the outcome of one measurement.
    pub(crate) fn add(
        &mut self,
        figure: &str,
        contender: Contender,
        measured: Result<Vec<Reading>, Error>,
    ) {
        match measured {
            Ok(readings) => {
                for (metric, value) in readings {
                    self.row(metric).values.entry(contender).or_default().push(value);
                }
            }
            Err(error) => self.failures.push(Failure {
                figure: figure.to_owned(),
                contender,
                error: format!("{error:#}"),
            }),
        }
    }

    /// Writes `report.json`, `report.md` and a chart for each metric.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self).context("writing the report as JSON")?;
        write(directory, JSON, &json)?;
        write(directory, MARKDOWN, &self.to_markdown())?;
        for row in &self.rows {
            write(directory, &chart_of(row.metric.name), &chart::svg(row))?;
        }
        Ok(())
    }

    /// Removes what an earlier run has written, so that nobody takes it for this one's: its report,
    /// and the charts that it names.
    pub(crate) fn remove_earlier(directory: &Path) -> Result<()> {
        let json = fs::read(directory.join(JSON)).unwrap_or_default();
        let report: Value = serde_json::from_slice(&json).unwrap_or_default();
        let rows = report["rows"].as_array().into_iter().flatten();
        let charts = rows.filter_map(|row| row["metric"]["name"].as_str()).map(chart_of);
        // The list of charts goes last: who is interrupted here can do it again.
        for name in charts.chain([MARKDOWN.to_owned(), JSON.to_owned()]) {
            match fs::remove_file(directory.join(&name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing the last run's {name}"));
                }
                _ => (),
            }
        }
        Ok(())
    }

    /// The report as a person reads it.
    pub(crate) fn to_markdown(&self) -> String {
        table::markdown(self)
    }

    fn row(&mut self, metric: &'static Metric) -> &mut Row {
        let place = self.rows.iter().position(|row| row.metric.name == metric.name);
        let place = place.unwrap_or_else(|| {
            self.rows.push(Row { metric, values: BTreeMap::new() });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }
}

impl Row {
    /// The middle and the spread of one contender's values, if it has any.
    pub(crate) fn summary(&self, contender: Contender) -> Option<Summary> {
        Summary::of(self.values.get(&contender)?)
    }

    /// The middle of one contender's values, if it has any.
    pub(crate) fn median(&self, contender: Contender) -> Option<f64> {
        Some(self.summary(contender)?.median)
    }

    /// Ours over the build before, round by round: what the machine did meanwhile was done to both.
    /// `None` unless both have as many rounds.
    pub(crate) fn over_before(&self, ours: Contender, before: Contender) -> Option<Summary> {
        let (ours, before) = (self.values.get(&ours)?, self.values.get(&before)?);
        let pairs = ours.iter().zip(before);
        let ratios: Vec<f64> = pairs.map(|(ours, before)| ours / before).collect();
        let complete = ours.len() == before.len() && ratios.iter().all(|ratio| ratio.is_finite());
        complete.then(|| Summary::of(&ratios)).flatten()
    }

    /// The best of the others' medians, of those for whom `counts` holds, if they can be compared.
    pub(crate) fn best_peer(&self, counts: impl Fn(Contender) -> bool) -> Option<f64> {
        if !self.metric.comparable {
            return None;
        }
        let peers = self.values.keys().filter(|peer| peer.is_peer() && counts(**peer));
        let medians = peers.filter_map(|peer| self.median(*peer));
        if self.metric.more_is_better {
            medians.max_by(f64::total_cmp)
        } else {
            medians.min_by(f64::total_cmp)
        }
    }
}

fn chart_of(metric: &str) -> String {
    format!("{metric}.svg")
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(directory.join(name), text).with_context(|| format!("writing {name}"))
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    fn row(comparable: bool, values: &[(Contender, &[f64])]) -> Row {
        let metric = Metric { name: "n", title: "t", unit: "u", more_is_better: true, comparable };
        let values = values.iter().map(|(contender, values)| (*contender, values.to_vec()));
        Row { metric: Box::leak(Box::new(metric)), values: values.collect() }
    }

    #[test]
    fn nothing_of_an_earlier_run_is_left_and_nothing_else_is_removed() {
        let directory = env::temp_dir().join(format!("bench-report-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        Report::remove_earlier(&directory).unwrap();
        let mut report = Report::new(Machine::look(), BTreeMap::new());
        report.rows.push(row(true, &[(Contender::Ours, &[4.0])]));
        report.write(&directory).unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
        fs::write(directory.join("somebody-elses.svg"), "").unwrap();
        Report::remove_earlier(&directory).unwrap();
        let left: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|file| file.unwrap().file_name()).collect();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(left, ["somebody-elses.svg"]);
    }

    #[test]
    fn builds_are_compared_round_by_round() {
        // The second round was on a machine of half the speed.
        let both = row(
            true,
            &[(Contender::Ours, &[4.0, 2.2, 4.4]), (Contender::Before, &[4.0, 2.0, 4.0])],
        );
        let ratio = both.over_before(Contender::Ours, Contender::Before).unwrap();
        assert!((ratio.median - 1.1).abs() < 1e-9, "{ratio:?}");
        assert_eq!(ratio.min, 1.0);
    }

    #[test]
    fn builds_are_not_compared_when_a_round_is_missing_or_nothing_was_measured() {
        let missing = row(true, &[(Contender::Ours, &[4.0, 2.0]), (Contender::Before, &[2.0])]);
        let over_before = |row: Row| row.over_before(Contender::Ours, Contender::Before);
        assert_eq!(over_before(missing), None);
        let nothing = row(true, &[(Contender::Ours, &[4.0]), (Contender::Before, &[0.0])]);
        assert_eq!(over_before(nothing), None);
    }

    #[test]
    fn peers_with_loads_of_their_own_size_are_not_compared() {
        let values: &[(Contender, &[f64])] =
            &[(Contender::Frp, &[3.0]), (Contender::Rathole, &[5.0])];
        assert_eq!(row(true, values).best_peer(|_| true), Some(5.0));
        assert_eq!(row(false, values).best_peer(|_| true), None);
    }

    #[test]
    fn ours_with_tls_is_compared_with_peers_that_encrypt() {
        let values: &[(Contender, &[f64])] =
            &[(Contender::Frp, &[9.0]), (Contender::FrpTls, &[3.0]), (Contender::Ssh, &[4.0])];
        assert_eq!(row(true, values).best_peer(Contender::is_encrypted), Some(4.0));
    }
}
