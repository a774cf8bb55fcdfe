//! What is done with the requests of an HTTP tunnel.

mod choices;
mod secret;
mod values;

use shared::control::protocol::{HttpOptions, PathPrefix};

use super::hosts::Hosts;

pub(super) use self::choices::{
    BALANCES, HttpChoices, HttpParts, SENDERS, balance, name_of, sender,
};
pub(super) use self::secret::{SecretText, bad_line, bad_login, bad_token};
pub(super) use self::values::{header_name, long_enough, not_empty, whole_seconds};

/// A tunnel of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTunnel {
    /// By which hosts the public reaches it.
    pub(super) hosts: Hosts,
    /// What the paths of its requests begin with.
    pub(super) path: PathPrefix,
    /// What is done with them, as it is written.
    pub(super) choices: HttpChoices,
    /// The same, as the relay is told: with what files hold.
    pub(super) options: HttpOptions,
}
