//! Requests for the relay's own board.

use axum::body::Body;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use super::body::{FromVisitor, ToVisitor};
use super::forwarded::Way;
use super::host::RequestedHost;
use super::{Http, answers};
use crate::web::Fault;

/// Hands a request over to whoever answers for the relay. What is read there and sent there is for
/// nobody else, so it goes by TLS alone.
///
/// # Errors
///
/// Nobody takes it, or it cannot be sent to where there is TLS.
pub(super) async fn answer(
    http: &Http,
    head: Parts,
    body: FromVisitor,
    way: &Way,
    host: &RequestedHost,
) -> Result<Response<ToVisitor>, Fault> {
    if !way.tls {
        return to_https(http, &head, host);
    }
    let request = Request::from_parts(head, Body::new(body));
    let answer = http.edge.board.ask(request, way.visitor).await?;
    Ok(answer.map(ToVisitor::of_relay))
}

/// Sends whoever has come without TLS to the same place with it.
fn to_https(http: &Http, head: &Parts, host: &RequestedHost) -> Result<Response<ToVisitor>, Fault> {
    let port = match http.edge.registry.front().https_port() {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let location = format!("https://{}{port}{path}", host.name());
    let location = HeaderValue::try_from(location);
    let location = location.map_err(|_| Fault::BadRequest("Its target is none."))?;
    Ok(answers::redirect(StatusCode::PERMANENT_REDIRECT, location))
}
