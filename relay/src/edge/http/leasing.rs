//! The connection for a request: at whichever client has one and lets the request in.

use std::sync::Arc;
use std::time::Duration;

use hyper::http::HeaderValue;
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;

use super::admit::{Admission, counted};
use super::upstream::{Lease, Wanted};
use super::{Http, options};
use crate::inspect::Tap;
use crate::limits::Source;
use crate::placement::{Attempt, Miss};
use crate::tunnel::{Candidate, Conditions};
use crate::web::{Arrival, Fault, Verdict};

/// How long a connection for a request is looked for, at whichever clients: one of them may not reach
/// its local service, and says so when its own limit for that is over.
const PLACE_TIMEOUT: Duration = Duration::from_secs(30);

/// A request that needs a connection.
pub(super) struct Leasing<'a> {
    pub(super) http: &'a Http,
    pub(super) admission: &'a mut Admission,
    pub(super) head: &'a Parts,
    pub(super) target: &'a PathAndQuery,
    pub(super) arrival: &'a Arrival,
    pub(super) passed: &'a mut Vec<Arc<Conditions>>,
    pub(super) wanted: Wanted<'a>,
    /// Of the body, as far as it is known, in bytes.
    pub(super) length: u64,
    /// What browsers are told of TLS: as the client says that it goes to.
    pub(super) hsts: &'a mut Option<HeaderValue>,
    /// What takes it down, if anything does.
    pub(super) tap: Option<&'a Tap>,
}

impl Attempt for Leasing<'_> {
    type Served = (Lease, Option<Arc<Conditions>>);
    type Error = Verdict;

    const PATIENCE: Duration = PLACE_TIMEOUT;

    fn says_little(why: &Verdict) -> bool {
        use Fault::{ClientBusy, NoClient, TooManyAtOnce};
        matches!(why, Verdict::Fault(NoClient | ClientBusy | TooManyAtOnce))
    }

    fn source(&self) -> Option<Source> {
        self.wanted.source
    }

    async fn with(&mut self, client: &Candidate) -> Result<Self::Served, Miss<Verdict>> {
        if let Some(tap) = self.tap {
            tap.placed();
        }
        let admitted = self.admission.admit_to(self.http, client, self.arrival.visitor);
        admitted.map_err(|fault| Miss::Nowhere(fault.into()))?;
        let conditions = client.conditions();
        if let Some(conditions) = conditions {
            self.pass(conditions).map_err(Miss::Nowhere)?;
        }
        let said = conditions.map(|conditions| &**conditions);
        *self.hsts = options::hsts(said, self.arrival);
        if options::max_body(said).is_some_and(|most| self.length > most) {
            return Err(Miss::Nowhere(Fault::BodyTooLarge.into()));
        }
        let lease = self.http.upstream.lease(client, self.wanted).await;
        Ok((lease.map_err(|miss| miss.map(Verdict::from))?, conditions.cloned()))
    }
}

impl Leasing<'_> {
    /// Has a request pass the policy of a client that it may go to, unless it has before: each says
    /// for itself whom it lets in.
    fn pass(&mut self, conditions: &Arc<Conditions>) -> Result<(), Verdict> {
        if self.passed.iter().any(|passed| Arc::ptr_eq(passed, conditions)) {
            return Ok(());
        }
        if let Some(policy) = &conditions.policy {
            let admitted = policy.admit(self.head, self.target, self.arrival);
            admitted.map_err(|verdict| counted(self.http, verdict))?;
        }
        self.passed.push(Arc::clone(conditions));
        Ok(())
    }
}
