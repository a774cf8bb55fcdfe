//! Whether there is room for a request, and what it takes up.

use std::net::IpAddr;
use std::sync::Arc;

use shared::control::protocol::TunnelName;
use shared::kit::logging::Rate;
use tracing::warn;

use super::Http;
use crate::config::Config;
use crate::edge::admit::{allowance, parts};
use crate::limits::{Account, Allowance, Part, Source};
use crate::metrics::Limit;
use crate::target::OpenError;
use crate::tunnel::{Candidate, Present, Tunnel};
use crate::web::{Fault, Verdict};

/// Sources that have as many requests under way as one may have.
static AT_ONCE: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "requests of sources that have too many under way: {more}");
});

/// What a request takes up in the accounts of whoever serves it.
pub(super) struct Admission {
    tunnel: Arc<Tunnel>,
    accounts: Arc<[Arc<Account>]>,
    parts: Box<[Part]>,
    present: Option<Present>,
    source: Option<Source>,
}

impl Admission {
    /// Room for one more request of `tunnel`, from a visitor at `ip`.
    pub(super) fn new(
        http: &Http,
        tunnel: &Arc<Tunnel>,
        config: &Config,
        ip: IpAddr,
    ) -> Result<Self, Fault> {
        if !config.rules.permit(ip) || !tunnel.permits(ip) {
            return Err(Fault::Denied);
        }
        let limits = &http.edge.limits;
        if limits.is_banned((ip, 0).into()) {
            http.edge.metrics.banned_connection();
            return Err(Fault::Denied);
        }
        let accounts = tunnel.accounts();
        let over = |limit| over(http, limit);
        let source = config.source(ip);
        let most = config.max_visitors;
        let present = match source {
            Some(source) => tunnel.request(source, most),
            None => tunnel.visitor(most),
        };
        let present = present.map_err(|limit| match (limit, source) {
            (Limit::TunnelSharePerSource, Some(source)) => {
                too_many_at_once(http, limit, (tunnel.name(), source))
            }
            _ => over(limit),
        })?;
        let parts = parts(&accounts).map_err(over)?;
        tunnel.arrives(limits.rules().new_visitors_per_tunnel).map_err(over)?;
        Ok(Self { tunnel: Arc::clone(tunnel), accounts, parts, present: Some(present), source })
    }

    /// Where it is counted, if it is.
    pub(super) fn source(&self) -> Option<Source> {
        self.source
    }

    /// Its place in the tunnel.
    pub(super) fn present(&mut self) -> Option<Present> {
        self.present.take()
    }

    /// What it takes up in the accounts of whoever serves it.
    pub(super) fn into_parts(self) -> Box<[Part]> {
        self.parts
    }

    /// What it may move.
    pub(super) fn allowance(&self, http: &Http) -> Option<Allowance> {
        allowance(&http.edge, &self.tunnel, &self.accounts)
    }

    /// Whether the client that the request is about to go to lets it in: it may not be the one that
    /// was there when it came, nor may the relay's rules be the same.
    pub(super) fn admit_to(
        &mut self,
        http: &Http,
        candidate: &Candidate,
        ip: IpAddr,
    ) -> Result<(), Fault> {
        if !candidate.permits(ip) {
            return Err(Fault::Denied);
        }
        if !Arc::ptr_eq(&self.accounts, candidate.accounts()) {
            self.accounts = Arc::clone(candidate.accounts());
            self.parts = Box::default();
            self.parts = parts(&self.accounts).map_err(|limit| over(http, limit))?;
        }
        Ok(())
    }
}

fn over(http: &Http, limit: Limit) -> Fault {
    http.edge.metrics.limit(limit);
    Fault::OverLimit
}

/// A source has as many requests under way as it may have: of a tunnel, or of the client behind.
pub(super) fn too_many_at_once(
    http: &Http,
    limit: Limit,
    (tunnel, source): (&TunnelName, Source),
) -> Fault {
    http.edge.metrics.limit(limit);
    if AT_ONCE.allows() {
        warn!(%tunnel, %source, "turned away: too many {}", limit.of_what());
    }
    Fault::TooManyAtOnce
}

/// Counts those whom a tunnel's policy turns away for being too many.
pub(super) fn counted(http: &Http, verdict: Verdict) -> Verdict {
    let limit = match verdict {
        Verdict::Fault(Fault::TooMany(_)) => Limit::RequestsPerSource,
        Verdict::Fault(Fault::TooManyGuesses(_)) => Limit::LoginsPerSource,
        _ => return verdict,
    };
    http.edge.metrics.limit(limit);
    verdict
}

impl From<OpenError> for Verdict {
    fn from(err: OpenError) -> Self {
        Self::Fault(err.into())
    }
}

impl From<OpenError> for Fault {
    fn from(err: OpenError) -> Self {
        match err {
            OpenError::Gone => Self::NoClient,
            OpenError::FullForSource => Self::TooManyAtOnce,
            OpenError::Full | OpenError::Unresponsive => Self::ClientBusy,
        }
    }
}
