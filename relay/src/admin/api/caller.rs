//! Who asks the API, and what is theirs.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, FORWARDED, VIA};
use axum::http::request::Parts;
use shared::control::protocol::RefusalCode;
use shared::token::Scope;
use tracing::debug;

use super::Api;
use super::problem::{Code, Problem};
use crate::access::{Owner, Principal};
use crate::store::Name;

/// How long whoever has shown too many wrong tokens is told to wait: about as long as they have to.
const PAUSE: Duration = Duration::from_secs(30);

/// By which way a request has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// It has come to the admin port, and from this machine.
    pub(crate) is_local: bool,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Whoever works on the relay's own machine, as long as nobody could say who they are.
    Operator,
    /// The holder of a token.
    Holder(Principal),
}

impl Caller {
    /// Whether everything is theirs.
    pub(crate) fn is_admin(&self) -> bool {
        match self {
            Self::Operator => true,
            Self::Holder(principal) => principal.rights().has_scope(Scope::Admin),
        }
    }

    /// Whose things are theirs, unless everything is.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Operator => None,
            Self::Holder(principal) => Some(principal.owner()),
        }
    }

    /// Whether something of this owner is theirs.
    pub(crate) fn may_see(&self, owner: &str) -> bool {
        self.is_admin()
            || match self {
                Self::Operator => true,
                Self::Holder(principal) => {
                    principal.rights().has_scope(Scope::Own)
                        && principal.owner().to_string() == owner
                }
            }
    }

    /// Goes on if everything is theirs.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(crate) fn must_be_admin(&self) -> Result<(), Problem> {
        match self.is_admin() {
            true => Ok(()),
            false => Err(Problem::forbidden(
                "this is for admins: a token needs the scope `admin` for it",
            )),
        }
    }

    /// Goes on if they may act for an owner: see [`Caller::may_see`].
    ///
    /// # Errors
    ///
    /// They may not.
    pub(crate) fn must_be(&self, owner: &str) -> Result<(), Problem> {
        match self.may_see(owner) {
            true => Ok(()),
            false => Err(Problem::forbidden("that is somebody else's")),
        }
    }

    /// Themselves, if they are a user.
    pub(crate) fn user(&self) -> Option<Name> {
        match self.owner()? {
            Owner::User(name) => name.parse().ok(),
            Owner::Anybody | Owner::Shared | Owner::Subject(_) => None,
        }
    }

    /// Whether something is not theirs to do that others of the same owner may.
    pub(crate) fn is_limited(&self) -> bool {
        match self {
            Self::Operator => false,
            Self::Holder(principal) => principal.rights().are_limited(),
        }
    }

    /// As they stand in the log of changes.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Operator => "(operator)".to_owned(),
            Self::Holder(principal) => principal.owner().to_string(),
        }
    }

    /// What they may do, for themselves to read.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        match self {
            Self::Operator => vec![Scope::Own, Scope::Admin, Scope::Metrics],
            Self::Holder(principal) => {
                let all = [Scope::Own, Scope::Admin, Scope::Metrics];
                all.into_iter().filter(|scope| principal.rights().has_scope(*scope)).collect()
            }
        }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let way = *parts.extensions.get::<Way>().ok_or_else(|| {
            Problem::new(Code::Internal, "the relay does not know where the request comes from")
        })?;
        match bearer(&parts.headers)? {
            Some(token) => holder(api, way, token).await,
            None if is_operator(api, way, &parts.headers) => Ok(Self::Operator),
            None => Err(Problem::unauthenticated(
                "say who you are: `Authorization: Bearer TOKEN`, with a token that has a scope \
                 (relay token create --scope own|admin)",
            )),
        }
    }
}

impl OptionalFromRequestParts<Api> for Caller {
    type Rejection = Problem;

    /// Whoever says nothing is nobody; who says something that is not good is told.
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Option<Self>, Problem> {
        match <Self as FromRequestParts<Api>>::from_request_parts(parts, api).await {
            Ok(caller) => Ok(Some(caller)),
            Err(_) if !parts.headers.contains_key(AUTHORIZATION) => Ok(None),
            Err(problem) => Err(problem),
        }
    }
}

/// The token that a request comes with.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && all.next().is_none() => {
            Ok(Some(token.trim()))
        }
        _ => Err(Problem::unauthenticated("the API takes `Authorization: Bearer TOKEN` alone")),
    }
}

async fn holder(api: &Api, way: Way, token: &str) -> Result<Caller, Problem> {
    if !api.limits.tries(way.peer) {
        return Err(Problem::too_many_requests(
            "too many wrong tokens have come from there: wait",
            PAUSE,
        ));
    }
    let principal = match api.access.holder(token).await {
        Ok(principal) => {
            api.limits.succeeded(way.peer);
            principal
        }
        Err(refusal) if refusal.code == RefusalCode::Unavailable => {
            return Err(Problem::new(Code::Unavailable, refusal.message));
        }
        Err(refusal) => {
            api.limits.failed(way.peer);
            debug!("the API lets nobody in with that: {refusal}");
            return Err(Problem::unauthenticated(refusal.message));
        }
    };
    let caller = Caller::Holder(principal);
    if caller.scopes().is_empty() {
        return Err(Problem::forbidden(
            "the token is good for tunnels alone: the API needs one with a scope (relay token \
             create --scope own|admin)",
        ));
    }
    Ok(caller)
}

/// Whether it is somebody at the relay's own machine who cannot say who they are, because the relay
/// knows nobody. What a proxy passes on is from somewhere else.
fn is_operator(api: &Api, way: Way, headers: &HeaderMap) -> bool {
    let passed_on = headers.contains_key(FORWARDED)
        || headers.contains_key(VIA)
        || headers.contains_key("x-forwarded-for")
        || headers.contains_key("x-real-ip");
    way.is_local && api.store.is_none() && !passed_on
}
