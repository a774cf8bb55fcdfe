//! A counter that somebody else keeps.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Metric, MetricFamily, MetricType};

/// A counter whose value is asked for at each scrape.
#[derive(Clone, Debug)]
pub(super) struct PulledCounter {
    desc: Desc,
    value: fn() -> u64,
}

impl PulledCounter {
    /// # Errors
    ///
    /// What is no name for a metric, and an empty help.
    pub(super) fn new(name: &str, help: &str, value: fn() -> u64) -> prometheus::Result<Self> {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())?;
        Ok(Self { desc, value })
    }
}

impl Collector for PulledCounter {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut counter = Counter::default();
        counter.set_value((self.value)() as f64);
        let mut metric = Metric::default();
        metric.set_counter(counter);
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(vec![metric]);
        vec![family]
    }
}
