//! What a client says of a tunnel that it claims.

use std::sync::Arc;

use shared::kit::net::Rules;

use super::Health;
use crate::web::Policy;

/// A local service, as the client that claims a tunnel for it describes it.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// How the client writes it.
    pub(crate) local: String,
    pub(crate) health: Health,
    /// Whether the client wants to know where visitors have connected to.
    pub(crate) destination: bool,
    /// What the client says of visitors. `None`: nothing.
    pub(crate) conditions: Option<Arc<Conditions>>,
}

/// What a client says of the visitors of a tunnel.
#[derive(Debug, PartialEq)]
pub(crate) struct Conditions {
    /// Who may visit.
    pub(crate) rules: Rules,
    /// What is done with requests.
    pub(crate) policy: Option<Policy>,
}
