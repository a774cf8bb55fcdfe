//! A tunnel: a public port, and the clients that claim it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use shared::control::protocol::TunnelName;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tracing::{Span, info_span};

use crate::claims::Claims;
use crate::metrics::{Counted, Metrics, TunnelMetrics};
use crate::target::Target;

/// One tunnel. It outlives its clients by a while, so that one that comes back finds its port.
#[derive(Debug)]
pub(crate) struct Tunnel {
    name: TunnelName,
    port: u16,
    span: Span,
    series: TunnelMetrics,
    metrics: Metrics,
    visitors: Arc<Semaphore>,
    most_visitors: usize,
    state: Mutex<State>,
    /// Told when the last claim goes.
    vacated: Notify,
}

#[derive(Debug, Default)]
struct State {
    claims: Claims,
    /// Set while there is a claim.
    served: Option<Counted>,
}

impl Tunnel {
    /// A tunnel that nobody serves yet.
    pub(crate) fn new(
        name: TunnelName,
        port: u16,
        most_visitors: usize,
        metrics: &Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            series: metrics.tunnel(&name),
            span: info_span!(parent: None, "tunnel", tunnel = %name),
            name,
            port,
            metrics: metrics.clone(),
            visitors: Arc::new(Semaphore::new(most_visitors)),
            most_visitors,
            state: Mutex::default(),
            vacated: Notify::new(),
        })
    }

    pub(crate) fn name(&self) -> &TunnelName {
        &self.name
    }

    /// The public port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The span for all that is logged about the tunnel.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn metrics(&self) -> &TunnelMetrics {
        &self.series
    }

    /// Room for one more visitor, if there is.
    pub(crate) fn visitor(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.visitors).try_acquire_owned().ok()
    }

    /// The sessions that could serve a visitor: those of each client, the one that serves first.
    pub(crate) fn targets(&self) -> Vec<Vec<Target>> {
        self.state.lock().claims.targets()
    }

    /// Points the tunnel at `target` until the claim is dropped.
    pub(crate) fn claim(self: &Arc<Self>, target: Target) -> Claim {
        let mut state = self.state.lock();
        let generation = state.claims.add(target);
        state.served.get_or_insert_with(|| self.metrics.served_tunnel());
        Claim { tunnel: Arc::clone(self), generation }
    }

    /// Whether a client claims the tunnel.
    pub(crate) fn is_claimed(&self) -> bool {
        !self.state.lock().claims.is_empty()
    }

    /// Whether nobody claims or visits the tunnel.
    pub(crate) fn is_unused(&self) -> bool {
        !self.is_claimed() && self.visitors.available_permits() == self.most_visitors
    }

    /// Resolves when nobody has claimed the tunnel for `hold`.
    pub(crate) async fn abandoned(&self, hold: Duration) {
        loop {
            // A permit of an earlier time costs one more round.
            self.vacated.notified().await;
            let generation = self.state.lock().claims.generation();
            sleep(hold).await;
            let state = self.state.lock();
            if state.claims.is_empty() && state.claims.generation() == generation {
                return;
            }
        }
    }
}

/// A session's hold on a tunnel. Dropping it gives the tunnel to the client before.
#[derive(Debug)]
#[must_use = "dropping a claim gives the tunnel up"]
pub(crate) struct Claim {
    tunnel: Arc<Tunnel>,
    generation: u64,
}

impl Claim {
    pub(crate) fn tunnel(&self) -> &Tunnel {
        &self.tunnel
    }

    /// Whether new visitors come to this claim's session, or another of the same client.
    pub(crate) fn is_live(&self) -> bool {
        self.tunnel.state.lock().claims.is_live(self.generation)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.tunnel.state.lock();
        state.claims.remove(self.generation);
        if state.claims.is_empty() {
            state.served = None;
            self.tunnel.vacated.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::carry::mux;
    use shared::control::protocol::InstanceId;

    use super::*;
    use crate::target::ConnectionId;

    fn target() -> Target {
        let (io, _) = tokio::io::duplex(64);
        let (mux, _, _) = mux::start(io, yamux::Mode::Server, 1);
        Target::new(ConnectionId { instance: InstanceId::random(), number: 0 }, mux, 1)
    }

    fn tunnel() -> Arc<Tunnel> {
        let metrics = Metrics::new().unwrap();
        Tunnel::new("web".parse().unwrap(), 20000, 10, &metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_is_claimed_again_is_not_abandoned() {
        let tunnel = tunnel();
        let hold = Duration::from_secs(60);
        let abandoned = tunnel.abandoned(hold);
        let mut abandoned = std::pin::pin!(abandoned);
        drop(tunnel.claim(target()));
        let half = sleep(hold / 2);
        tokio::select! {
            () = &mut abandoned => panic!("too early"),
            () = half => (),
        }
        drop(tunnel.claim(target()));
        tokio::select! {
            () = &mut abandoned => panic!("the hold starts again with each claim"),
            () = sleep(hold - Duration::from_secs(1)) => (),
        }
        abandoned.await;
    }
}
