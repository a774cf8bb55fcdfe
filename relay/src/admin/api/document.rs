//! What the API is, as an OpenAPI document (3.1) made from the code.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::Api;
use super::problem::Body;
use crate::admin::live::Told;

/// What the document says of the API as a whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sallyport relay",
        description = "Everything that an operator and each user can see and steer. Whoever asks \
            says who they are with a token that has a scope, and is shown what is theirs. Lists \
            come in pages; errors are `application/problem+json` (RFC 9457).",
    ),
    servers((url = "/api/v1")),
    // Nothing else names them: an event is no body as a whole, and problems are in all answers.
    components(schemas(Told<'static>, Body)),
    modifiers(&Bearer),
    security(("bearer" = [])),
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// A router that describes itself.
pub(super) fn begin() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
}

/// The document as JSON, for people to read as well.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (_, document) = super::routes().split_for_parts();
        // It is made of what encodes: a test reads it.
        document.to_pretty_json().unwrap_or_default() + "\n"
    });
    &TEXT
}

/// `/openapi.json`.
pub(super) async fn serve() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], text())
}
