//! Bodies that are held until it is known who has signed them.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::HeaderMap;
use hyper::body::Body;
use tokio::time::timeout;

use super::Http;
use super::body::Stopped;
use crate::metrics::Limit;
use crate::web::policy::{MOST_SIGNED, Webhook};
use crate::web::{BodyError, Fault, RequestBody};

/// How long a body may take to come. Senders give up on their own requests before that.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Reads a body and lets it on from memory, if it is signed as `webhook` wants it.
///
/// # Errors
///
/// It is not, or cannot be read.
pub(super) async fn check(
    http: &Http,
    webhook: &Webhook,
    head: &HeaderMap,
    body: RequestBody,
) -> Result<RequestBody, Fault> {
    let signature = webhook.signature(head, SystemTime::now())?;
    if body.size_hint().lower() > MOST_SIGNED as u64 {
        return Err(Fault::BodyTooLarge);
    }
    let turn =
        webhook.turn().await.inspect_err(|_| http.edge.metrics.limit(Limit::SignedBodies))?;
    let body = timeout(READ_WITHIN, whole(body)).await.map_err(|_| Fault::RequestTimeout)??;
    signature.check(&body)?;
    // Who sent it is known from here on.
    drop(turn);
    if body.is_empty() {
        return Ok(RequestBody::Empty);
    }
    let never = |never| match never {};
    Ok(RequestBody::Streamed(Box::pin(Full::new(body).map_err(never))))
}

async fn whole(mut body: RequestBody) -> Result<Bytes, Fault> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|err| fault_of(&err))?.into_data() else { continue };
        if bytes.len() + data.len() > MOST_SIGNED {
            return Err(Fault::BodyTooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

fn fault_of(err: &BodyError) -> Fault {
    match err.downcast_ref::<Stopped>() {
        Some(Stopped::TooLarge) => Fault::BodyTooLarge,
        Some(Stopped::OverLimit) => Fault::OverLimit,
        None => Fault::BadRequest("Its body broke off."),
    }
}
