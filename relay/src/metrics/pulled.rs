//! Numbers that somebody else keeps.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// Says how much there is.
pub(super) type Value = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A counter or a gauge whose value is asked for at each scrape.
#[derive(Clone)]
pub(super) struct Pulled {
    desc: Desc,
    kind: MetricType,
    value: Value,
}

impl Pulled {
    /// # Errors
    ///
    /// What is no name for a metric, and an empty help.
    pub(super) fn new(
        name: &str,
        help: &str,
        kind: MetricType,
        value: Value,
    ) -> prometheus::Result<Self> {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())?;
        Ok(Self { desc, kind, value })
    }
}

impl Collector for Pulled {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let value = (self.value)() as f64;
        let mut metric = Metric::default();
        if self.kind == MetricType::GAUGE {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        } else {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(vec![metric]);
        vec![family]
    }
}
