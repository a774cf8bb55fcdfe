//! Why a request to the API is not answered as it would like to be (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::store::StoreError;

/// Why a request is not answered, for its caller to act on and to read.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    /// How long it is of no use to try again.
    wait: Option<Duration>,
}

/// What a caller can tell one problem from another by. A code keeps its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The request is not laid out as it has to be, or asks for what there cannot be.
    Invalid,
    /// It does not say who asks, or what it says is not good.
    Unauthenticated,
    /// Whoever asks may not.
    Forbidden,
    /// There is no such thing, or it is somebody else's.
    NotFound,
    /// There is something of this name already, or what is there does not allow it.
    Conflict,
    /// It has changed since it was read.
    Changed,
    /// The request says too much.
    TooLarge,
    /// The body is in a form that is not understood.
    UnsupportedMediaType,
    /// The path takes no such method.
    MethodNotAllowed,
    /// Too many requests come from there.
    TooManyRequests,
    /// The relay keeps nothing, because it was started without `--data` or `--database`.
    NoStore,
    /// The store does not answer. Another try may succeed.
    Unavailable,
    /// A fault of the relay.
    Internal,
}

/// What is sent of a problem.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Body {
    /// A URI for the kind of problem: always `about:blank`, which leaves it to the status.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The text of the status.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What programs act on.
    code: Code,
    /// What people read: what is wrong, and what to do.
    detail: Cow<'static, str>,
}

/// What the document says of all calls.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "the document is made from it, and nothing else")]
pub(super) enum Problems {
    /// The request cannot be answered as it is.
    #[response(status = "4XX", content_type = "application/problem+json")]
    Refused(Body),
    /// The relay or its store cannot answer it.
    #[response(status = "5XX", content_type = "application/problem+json")]
    Failed(Body),
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), wait: None }
    }

    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Forbidden, detail)
    }

    pub(crate) fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unauthenticated, detail)
    }

    /// There is no such `what`, or it is not for the eyes of whoever asks: the two look alike.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// It may be tried again after `wait`.
    pub(crate) fn too_many_requests(detail: &'static str, wait: Duration) -> Self {
        Self { wait: Some(wait), ..Self::new(Code::TooManyRequests, detail) }
    }

    /// What is asked for has to last, and nothing does.
    pub(crate) fn no_store() -> Self {
        Self::new(
            Code::NoStore,
            "the relay keeps nothing: start it with --data DIR, or with --database URL",
        )
    }
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict | Self::NoStore => StatusCode::CONFLICT,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(err: StoreError) -> Self {
        match err {
            StoreError::NotFound => Self::new(Code::NotFound, "there is no such thing"),
            StoreError::Exists => Self::new(Code::Conflict, "there is one already"),
            err @ StoreError::Unavailable(_) => {
                let wait = Some(Duration::from_secs(1));
                Self { wait, ..Self::new(Code::Unavailable, format!("the store: {err}")) }
            }
            err => {
                // Only an operator can do something about it, and reads of it in the log.
                error!("the API cannot use the store: {err}");
                Self::new(Code::Internal, "the store failed: see the log of the relay")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { code, detail, wait } = self;
        let status = code.status();
        let title = status.canonical_reason().unwrap_or("Unknown");
        let body = Body { kind: "about:blank", title, status: status.as_u16(), code, detail };
        // Plain text and numbers: there is nothing in it that does not encode.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = wait {
            headers.insert(RETRY_AFTER, wait.as_secs().max(1).into());
        }
        (status, headers, json).into_response()
    }
}
