//! The certificates that visitors see.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::{CertificateOrder, Metrics};

/// Says the name of each certificate and when it expires, in seconds since 1970.
type Expiries = Arc<dyn Fn() -> Vec<(String, u64)> + Send + Sync>;

/// When each certificate expires, as is asked for at each scrape.
#[derive(Clone)]
struct Expiry {
    desc: Desc,
    all: Expiries,
}

impl Metrics {
    /// Counts an order of a certificate that is over.
    pub(crate) fn certificate_order(&self, outcome: CertificateOrder) {
        self.0.relay.certificate_orders[outcome as usize].inc();
    }

    /// Shows when certificates expire, as `all` says at each scrape.
    ///
    /// # Errors
    ///
    /// It is shown already.
    pub(crate) fn show_certificates(
        &self,
        all: impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static,
    ) -> prometheus::Result<()> {
        let name = "relay_certificate_expiry_timestamp_seconds".to_owned();
        let help = "When a certificate that visitors see expires, in seconds since 1970.".into();
        let desc = Desc::new(name, help, vec!["name".into()], HashMap::new())?;
        self.0.relay.registry.register(Box::new(Expiry { desc, all: Arc::new(all) }))
    }
}

impl Collector for Expiry {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = (self.all)().into_iter().map(|(name, expires)| {
            let (mut metric, mut gauge, mut label) =
                (Metric::default(), Gauge::default(), LabelPair::default());
            gauge.set_value(expires as f64);
            label.set_name("name".into());
            label.set_value(name);
            metric.set_gauge(gauge);
            metric.set_label(vec![label]);
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(metrics.collect());
        // A family without a metric does not encode.
        if family.get_metric().is_empty() { Vec::new() } else { vec![family] }
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expiry")
    }
}
