//! Connections that change to another protocol: WebSocket most of all.
//!
//! HTTP/1.1 asks for it by headers (RFC 9110, section 7.8), HTTP/2 by a method (RFC 8441). The local
//! service is asked by headers, whatever the visitor speaks.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use data_encoding::BASE64;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{HeaderName, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use shared::visit::patience::Passed;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::account::Account;
use super::body::ToVisitor;
use super::carry::{Carry, Ended};
use super::upstream::Kept;
use super::visitor::Visitor;
use super::{given, hops};
use crate::visit::Listed;

/// What a WebSocket's two ends agree on by (RFC 6455, section 4.1).
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");

/// The other end's part of it.
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// A visitor's wish for another protocol.
pub(super) struct Upgrade {
    visitor: OnUpgrade,
    protocol: HeaderValue,
    /// It was asked for by the method.
    is_extended: bool,
}

impl Upgrade {
    /// What a request of HTTP/2 wishes for, if it does.
    pub(super) fn extended(request: &mut Request<Incoming>) -> Option<Self> {
        let protocol = request.extensions().get::<Protocol>()?.as_str();
        let protocol = HeaderValue::from_str(protocol).ok().filter(|one| !hops::is_http(one))?;
        Some(Self { visitor: hyper::upgrade::on(request), protocol, is_extended: true })
    }

    /// What a request of HTTP/1.1 wishes for.
    pub(super) fn by_headers(visitor: OnUpgrade, protocol: HeaderValue) -> Self {
        Self { visitor, protocol, is_extended: false }
    }

    /// Whether it was asked for by the method.
    pub(super) fn is_extended(&self) -> bool {
        self.is_extended
    }

    /// Passes the wish on.
    pub(super) fn ask(&self, request: &mut Parts) {
        hops::ask_for(&mut request.headers, self.protocol.clone());
        if self.is_extended {
            request.method = Method::GET;
            request.extensions.remove::<Protocol>();
            let mut key = [0; 16];
            key[..8].copy_from_slice(&shared::kit::backoff::random().to_be_bytes());
            key[8..].copy_from_slice(&shared::kit::backoff::random().to_be_bytes());
            let key = HeaderValue::from_str(&BASE64.encode(&key)).expect("base64 is plain");
            request.headers.insert(KEY, key);
        }
    }
}

/// The local service has changed to the other protocol: from now on bytes go both ways, until both
/// have ended or one breaks off.
pub(super) fn change(
    upgrade: Upgrade,
    visitor: Arc<Visitor>,
    mut response: Response<Incoming>,
    account: Arc<Account>,
    (kept, listed): (Kept, Listed),
) -> Response<ToVisitor> {
    let local = hyper::upgrade::on(&mut response);
    let (mut head, _) = response.into_parts();
    let protocol = head.headers.get(UPGRADE).cloned();
    hops::remove(&mut head.headers);
    if upgrade.is_extended {
        head.status = StatusCode::OK;
        head.headers.remove(ACCEPT);
    } else {
        hops::ask_for(&mut head.headers, protocol.unwrap_or(upgrade.protocol));
    }
    let theirs = upgrade.visitor;
    let http = Arc::clone(&visitor.http);
    // By HTTP/2 it is a stream that ends or is reset, and others go on beside it.
    let reset = upgrade.is_extended.then(given::change);
    // hyper is done with the request as soon as it is answered.
    let changed = visitor.activity.changes();
    http.tasks.spawn(async move {
        // What it takes up goes with the task.
        let _taken = (kept, changed);
        match tokio::try_join!(theirs, local) {
            Ok(both) => {
                // What read and wrote it is gone, and this may go on for days.
                account.lets_go_of_head();
                carry(&visitor, both, (&account, &listed), reset).await;
            }
            Err(err) => {
                account.aborted();
                debug!("a connection did not change to another protocol: {err}");
            }
        }
    });
    Response::from_parts(head, ToVisitor::Changed)
}

/// Copies both ways. What does not come to its end is reset for the visitor, and not closed.
async fn carry(
    visitor: &Visitor,
    both: (Upgraded, Upgraded),
    (account, listed): (&Account, &Listed),
    reset: Option<CancellationToken>,
) {
    let patience = visitor.http.edge().config.now().patience();
    let others = reset.is_some().then(|| Arc::clone(&visitor.activity));
    // It has the two ends, which go behind this.
    let mut carry = Carry::new(both, (account, listed), patience, others);
    let ended = listed.ending().unless_cut(pin!(carry.run())).await;
    if ended.as_ref().is_some_and(Ended::is_of_time) {
        account.timed_out();
    }
    match &ended {
        Some(Ended::Completed) => return account.completed(),
        Some(Ended::BrokeOff(err)) => debug!("an upgraded connection broke off: {err}"),
        Some(Ended::TimedOut(Passed::Stall)) => {
            debug!("an upgraded connection stalled for too long");
        }
        Some(Ended::TimedOut(Passed::HalfClosed)) => {
            debug!("an upgraded connection was half closed for too long");
        }
        None => debug!("an upgraded connection was cut off by an operator"),
    }
    account.aborted();
    match reset {
        Some(reset) => reset.cancel(),
        None => visitor.broke_off.store(true, Ordering::Relaxed),
    }
}
