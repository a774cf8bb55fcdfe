//! TLS at the control port.

use super::{Metrics, TlsHandshake};

/// A TLS handshake that goes on. One that is dropped was given up.
#[derive(Debug)]
pub(crate) struct TlsAttempt {
    metrics: Metrics,
    outcome: TlsHandshake,
}

impl TlsAttempt {
    /// It is over.
    pub(crate) fn ended(mut self, outcome: TlsHandshake) {
        self.outcome = outcome;
    }
}

impl Drop for TlsAttempt {
    fn drop(&mut self) {
        self.metrics.0.relay.tls_handshakes[self.outcome as usize].inc();
    }
}

impl Metrics {
    /// Counts a TLS handshake that has begun, by how it ends.
    pub(crate) fn tls_handshake(&self) -> TlsAttempt {
        TlsAttempt { metrics: self.clone(), outcome: TlsHandshake::GivenUp }
    }

    /// Shows when the certificate expires, in seconds since 1970. `None`: there is none.
    pub(crate) fn certificate_expires(&self, at: Option<u64>) {
        let (registry, gauge) = (&self.0.relay.registry, &self.0.relay.certificate_expiry);
        // Each fails when it is as it should be already.
        match at {
            Some(at) => {
                gauge.set(at.try_into().unwrap_or(i64::MAX));
                drop(registry.register(Box::new(gauge.clone())));
            }
            None => drop(registry.unregister(Box::new(gauge.clone()))),
        }
    }
}
