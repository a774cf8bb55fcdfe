//! `/certificates`: those that visitors see.

use axum::Json;
use axum::extract::State;

use super::Api;
use super::caller::Caller;
use super::page::{Page, PageQuery, Paging};
use super::problem::{Problem, Problems};
use crate::certs::CertificateNow;

/// All certificates that visitors see.
#[utoipa::path(
    get, path = "/certificates", tag = "certificates", operation_id = "list_certificates",
    params(PageQuery),
    responses((status = 200, body = Page<CertificateNow>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<CertificateNow>>, Problem> {
    caller.must_be_admin()?;
    Ok(Json(paging.of(api.certs.shown(), |certificate| certificate.name.clone())))
}
