//! The samples of tunnels in Prometheus's text format.
//!
//! Names of tunnels, owners and labels need no escaping: their alphabets have no quote and no
//! backslash.

use std::time::Duration;

use super::histogram::Reading;
use super::of_tunnels::OfTunnels;
use super::tunnels::Labels;

/// Writes what comes before the samples of a metric.
pub(super) fn head(text: &mut String, metric: &OfTunnels) {
    let OfTunnels { name, kind, help, .. } = metric;
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

/// Where the samples of one metric of one tunnel go.
///
/// Lines are put together from their parts, without the standard library's formatting: a scrape may
/// have a hundred thousand of them, and takes less than half as long like this.
pub(super) struct Samples<'a> {
    pub(super) text: &'a mut String,
    /// The metric's name.
    pub(super) name: &'static str,
    pub(super) labels: &'a Labels,
}

impl Samples<'_> {
    /// The one sample that a tunnel has of the metric.
    pub(super) fn number(&mut self, number: impl itoa::Integer) {
        self.series("", []);
        self.end(number);
    }

    /// The one sample that a tunnel has of the metric, in seconds.
    pub(super) fn time(&mut self, time: Duration) {
        self.series("", []);
        seconds(self.text, time);
        self.text.push('\n');
    }

    /// One of several samples, which are told apart by a label.
    pub(super) fn labelled(&mut self, label: &str, value: &str, number: u64) {
        self.series("", [label, "=\"", value, "\","]);
        self.end(number);
    }

    /// All samples of a histogram.
    pub(super) fn histogram<const N: usize>(&mut self, reading: &Reading<N>) {
        let mut bound = String::new();
        for (time, count) in &reading.buckets {
            bound.clear();
            seconds(&mut bound, *time);
            self.series("_bucket", ["le=\"", &bound, "\","]);
            self.end(*count);
        }
        self.series("_bucket", ["le=\"+Inf\","]);
        self.end(reading.count);
        self.series("_sum", []);
        seconds(self.text, reading.sum);
        self.text.push('\n');
        self.series("_count", []);
        self.end(reading.count);
    }

    /// Begins a line: everything but the value.
    fn series<const N: usize>(&mut self, suffix: &str, labels: [&str; N]) {
        for part in [self.name, suffix, "{"] {
            self.text.push_str(part);
        }
        for part in labels {
            self.text.push_str(part);
        }
        let Labels { tunnel, owner } = self.labels;
        if let Some(owner) = owner {
            for part in ["owner=\"", owner, "\","] {
                self.text.push_str(part);
            }
        }
        for part in ["tunnel=\"", tunnel.as_str(), "\"} "] {
            self.text.push_str(part);
        }
    }

    /// Ends a line with its value.
    fn end(&mut self, number: impl itoa::Integer) {
        self.text.push_str(itoa::Buffer::new().format(number));
        self.text.push('\n');
    }
}

/// Writes a time in seconds, to the microsecond.
fn seconds(text: &mut String, time: Duration) {
    let mut digits = itoa::Buffer::new();
    text.push_str(digits.format(time.as_secs()));
    let micros = time.subsec_micros();
    if micros > 0 {
        text.push('.');
        // With a digit in front, so that the zeros behind the point stay.
        text.push_str(digits.format(1_000_000 + micros)[1..].trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_seconds() {
        let expected = [(0, "0"), (1, "0.000001"), (20_000, "0.02"), (3_600_000_000, "3600")];
        for (micros, text) in expected.into_iter().chain([(61_000_100, "61.0001")]) {
            let mut written = String::new();
            seconds(&mut written, Duration::from_micros(micros));
            assert_eq!(written, text);
        }
    }
}
