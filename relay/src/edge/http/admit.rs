//! Whether there is room for a request, and what it takes up.

use std::net::IpAddr;
use std::sync::Arc;

use super::Http;
use crate::config::Config;
use crate::edge::admit::{allowance, parts};
use crate::limits::{Account, Allowance, Part};
use crate::metrics::Limit;
use crate::target::OpenError;
use crate::tunnel::{Candidate, Present, Tunnel};
use crate::web::{Fault, Verdict};

/// What a request takes up in the accounts of whoever serves it.
pub(super) struct Admission {
    tunnel: Arc<Tunnel>,
    accounts: Arc<[Arc<Account>]>,
    parts: Box<[Part]>,
    present: Option<Present>,
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
        let present = tunnel.visitor(config.max_visitors).map_err(over)?;
        let parts = parts(&accounts).map_err(over)?;
        tunnel.arrives(limits.rules().new_visitors_per_tunnel).map_err(over)?;
        Ok(Self { tunnel: Arc::clone(tunnel), accounts, parts, present: Some(present) })
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
            OpenError::Full | OpenError::Unresponsive => Self::ClientBusy,
        }
    }
}
