//! Everything that Prometheus sees, piece by piece.

use super::Metrics;
use super::of_tunnels::OF_TUNNELS;
use super::text::{Samples, head};
use super::tunnels::Labels;

/// So many tunnels are looked up at a time, while tunnels can neither open nor close. Their samples
/// of one metric are about 32 KiB at most, and that is what a reader at a crawl makes the relay
/// hold.
const PAGE: usize = 64;

/// One scrape. Each piece is made when it is asked for, so that whoever reads slowly holds no more
/// than one; together they are a text in Prometheus's format.
#[derive(Debug)]
pub(crate) struct Scrape {
    metrics: Metrics,
    /// What there is once in the relay, until it has been handed out.
    relay: Option<String>,
    /// The place in the list of the tunnels' metrics.
    at: usize,
    /// The last tunnel of that metric that has been handed out.
    after: Option<Labels>,
}

impl Scrape {
    pub(super) fn new(metrics: Metrics, relay: String) -> Self {
        Self { metrics, relay: Some(relay), at: 0, after: None }
    }
}

impl Iterator for Scrape {
    type Item = String;

    /// The next piece. It is never empty.
    fn next(&mut self) -> Option<String> {
        if let Some(relay) = self.relay.take() {
            return Some(relay);
        }
        let mut text = String::new();
        // Most tunnels may be idle, and a page of them nothing to show.
        while text.is_empty() {
            let metric = OF_TUNNELS.get(self.at)?;
            if self.after.is_none() {
                head(&mut text, metric);
            }
            let page = self.metrics.0.tunnels.page(self.after.as_ref(), PAGE);
            for series in &page {
                if let Some(shown) = series.shown() {
                    let (name, labels) = (metric.name, series.labels());
                    metric.write(&shown, &mut Samples { text: &mut text, name, labels });
                }
            }
            self.after = page.last().map(|series| series.labels().clone());
            if page.len() < PAGE {
                (self.at, self.after) = (self.at + 1, None);
            }
        }
        Some(text)
    }
}
