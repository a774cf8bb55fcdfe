//! The samples of tunnels in Prometheus's text format.
//!
//! Names of tunnels and of labels need no escaping: their alphabets have no quote and no backslash.

use std::fmt::{Display, Write};

use super::histogram::Reading;
use super::list::OfTunnels;

/// Writes what comes before the samples of a metric.
pub(super) fn head(text: &mut String, metric: &OfTunnels) {
    let OfTunnels { name, kind, help, .. } = metric;
    write(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

/// Where the samples of one metric of one tunnel go.
pub(super) struct Samples<'a> {
    pub(super) text: &'a mut String,
    /// The metric's name.
    pub(super) name: &'static str,
    pub(super) tunnel: &'a str,
}

impl Samples<'_> {
    /// The one sample that a tunnel has of the metric.
    pub(super) fn number(&mut self, number: impl Display) {
        self.sample("", number);
    }

    /// One of several samples, which are told apart by a label.
    pub(super) fn labelled(&mut self, label: &str, value: &str, number: u64) {
        let (name, tunnel) = (self.name, self.tunnel);
        let line = format_args!("{name}{{{label}=\"{value}\",tunnel=\"{tunnel}\"}} {number}\n");
        write(self.text, line);
    }

    /// All samples of a histogram.
    pub(super) fn histogram<const N: usize>(&mut self, reading: &Reading<N>) {
        for (bound, count) in &reading.buckets {
            self.bucket(bound.as_secs_f64(), *count);
        }
        self.bucket("+Inf", reading.count);
        self.sample("_sum", reading.sum.as_secs_f64());
        self.sample("_count", reading.count);
    }

    fn bucket(&mut self, bound: impl Display, count: u64) {
        let (name, tunnel) = (self.name, self.tunnel);
        let line = format_args!("{name}_bucket{{tunnel=\"{tunnel}\",le=\"{bound}\"}} {count}\n");
        write(self.text, line);
    }

    fn sample(&mut self, suffix: &str, number: impl Display) {
        let (name, tunnel) = (self.name, self.tunnel);
        let line = format_args!("{name}{suffix}{{tunnel=\"{tunnel}\"}} {number}\n");
        write(self.text, line);
    }
}

fn write(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes everything");
}
