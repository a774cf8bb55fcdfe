//! `/api/v1`: everything that an operator and each user can see and steer, for programs and for the
//! board.
//!
//! Whoever asks says who they are ([`caller`]), and is shown what is theirs and nothing else:
//! somebody else's thing looks like one that is not there. What goes wrong is said as a [`problem`].
//! The document that describes it all is made from the code ([`document`]).

mod bans;
mod caller;
mod certificates;
mod document;
mod domains;
mod events;
mod inspection;
mod me;
mod pace;
mod page;
mod problem;
mod repeats;
mod sessions;
mod statistics;
mod tags;
mod tokens;
mod tunnels;
mod users;
mod visits;
mod websockets;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Json, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::{Router, middleware};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::caller::Way;
pub(crate) use self::document::text as openapi;
use self::pace::Pace;
use self::problem::{Code, Problem};
use self::repeats::Repeats;
use super::About;
use super::live::Live;
use crate::access::Access;
use crate::certs::VisitorCerts;
use crate::inspect::Inspector;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::statistics::{History, Statistics};
use crate::store::Store;

/// The longest body of a request in bytes. The largest thing that is sent is the configuration of a
/// tunnel.
const LONGEST_BODY: usize = 64 * 1024;

/// What the API is about. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

pub(crate) struct Shared {
    parties: Parties,
    live: Live,
}

/// All whom the API asks.
pub(crate) struct Parties {
    pub(crate) registry: Registry,
    pub(crate) access: Access,
    pub(crate) inspector: Inspector,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) store: Option<Store>,
    pub(crate) certs: VisitorCerts,
    pub(crate) statistics: Statistics,
    pub(crate) history: History,
    pub(crate) about: About,
    pub(crate) stopping: CancellationToken,
}

impl Deref for Api {
    type Target = Parties;

    fn deref(&self) -> &Parties {
        &self.0.parties
    }
}

impl Api {
    pub(super) fn new(parties: Parties, live: Live) -> Self {
        Self(Arc::new(Shared { parties, live }))
    }

    /// What happens.
    fn live(&self) -> &Live {
        &self.0.live
    }

    /// What has to last.
    ///
    /// # Errors
    ///
    /// Nothing does, on this relay.
    fn store(&self) -> Result<&Store, Problem> {
        self.store.as_ref().ok_or_else(Problem::no_store)
    }

    /// All that is below `/api/v1`.
    pub(super) fn router(self) -> Router {
        let (router, _) = routes().split_for_parts();
        let router = router
            .route("/openapi.json", axum::routing::get(document::serve))
            .fallback(async || {
                Problem::new(Code::NotFound, "the API has no such path: see /api/docs")
            })
            .method_not_allowed_fallback(async || {
                Problem::new(Code::MethodNotAllowed, "the path takes no such method: see /api/docs")
            })
            .layer(DefaultBodyLimit::max(LONGEST_BODY))
            .with_state(self);
        // Around all of it, and not around each method of each path: to change something is to look
        // at it first.
        let tagged = middleware::from_fn(tags::check).layer(router);
        Router::new()
            .fallback_service(tagged)
            .layer(middleware::from_fn_with_state(Repeats::default(), repeats::check))
            .layer(middleware::from_fn_with_state(Pace::new(), pace::check))
    }
}

/// Everything there is to call, with what the document says of it.
fn routes() -> OpenApiRouter<Api> {
    document::begin()
        .routes(routes!(me::get))
        .routes(routes!(me::health))
        .routes(routes!(tunnels::list))
        .routes(routes!(tunnels::get))
        .merge(inspection::routes())
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::get, sessions::end))
        .routes(routes!(visits::list))
        .routes(routes!(visits::cut))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::get, users::change, users::delete))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::get, tokens::revoke))
        .routes(routes!(tokens::rotate))
        .routes(routes!(bans::list))
        .routes(routes!(bans::lift))
        .routes(routes!(domains::list))
        .routes(routes!(certificates::list))
        .routes(routes!(statistics::moved))
        .routes(routes!(statistics::history))
        .routes(routes!(events::follow))
        .routes(routes!(websockets::user))
        .routes(routes!(websockets::tunnel))
}

/// The parameters behind the `?` of a request.
struct Params<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|err| Problem::invalid(err.body_text()))
    }
}

/// The JSON that a request comes with.
struct Content<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Content<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(content)) => Ok(Self(content)),
            Err(err @ JsonRejection::MissingJsonContentType(_)) => {
                Err(Problem::new(Code::UnsupportedMediaType, err.body_text()))
            }
            Err(err) if err.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let most = format!("the body has {LONGEST_BODY} bytes at most");
                Err(Problem::new(Code::TooLarge, most))
            }
            Err(err) => Err(Problem::invalid(err.body_text())),
        }
    }
}
