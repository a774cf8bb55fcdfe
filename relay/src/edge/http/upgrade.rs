//! Connections that change to another protocol: WebSocket most of all.
//!
//! HTTP/1.1 asks for it by headers (RFC 9110, section 7.8), HTTP/2 by a method (RFC 8441). The local
//! service is asked by headers, whatever the visitor speaks.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use data_encoding::BASE64;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{HeaderName, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tracing::debug;

use super::account::{Account, UsedUp};
use super::body::{Stopped, ToVisitor};
use super::hops;
use super::upstream::Kept;
use super::visitor::Visitor;

/// What a WebSocket's two ends agree on by (RFC 6455, section 4.1).
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");

/// The other end's part of it.
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// So much is read at a time.
const CHUNK: usize = 16 * 1024;

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
    kept: Kept,
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
    let tasks = visitor.http.tasks.clone();
    let is_by_headers = !upgrade.is_extended;
    tasks.spawn(async move {
        // What it takes up goes with the task.
        let _taken = kept;
        match tokio::try_join!(theirs, local) {
            Ok((theirs, local)) => {
                let broke_off = is_by_headers.then_some(&*visitor.broke_off);
                carry(theirs, local, &account, broke_off).await;
            }
            Err(err) => {
                account.aborted();
                debug!("a connection did not change to another protocol: {err}");
            }
        }
    });
    Response::from_parts(head, ToVisitor::Changed)
}

/// Copies both ways. What breaks off ends both; `broke_off` is told, so that the visitor's socket is
/// reset and not closed.
async fn carry(
    visitor: Upgraded,
    local: Upgraded,
    account: &Account,
    broke_off: Option<&AtomicBool>,
) {
    let (visitor_in, visitor_out) = tokio::io::split(TokioIo::new(visitor));
    let (local_in, local_out) = tokio::io::split(TokioIo::new(local));
    let inward = copy(
        visitor_in,
        local_out,
        |cx| account.poll_inward(cx),
        |bytes| account.moved_inward(bytes),
    );
    let outward = copy(
        local_in,
        visitor_out,
        |cx| account.poll_outward(cx),
        |bytes| account.moved_outward(bytes),
    );
    // They have the two ends, which go behind this.
    let (mut inward, mut outward) = (std::pin::pin!(inward), std::pin::pin!(outward));
    match tokio::try_join!(inward.as_mut(), outward.as_mut()) {
        Ok(_) => account.completed(),
        Err(err) => {
            account.aborted();
            if let Some(broke_off) = broke_off {
                broke_off.store(true, Ordering::Relaxed);
            }
            debug!("an upgraded connection broke off: {err}");
        }
    }
}

/// Copies one way to its end, as much at a time as `may` lets it. `moved` learns how much that is.
async fn copy(
    mut from: ReadHalf<TokioIo<Upgraded>>,
    mut to: WriteHalf<TokioIo<Upgraded>>,
    may: impl Fn(&mut Context<'_>) -> Poll<Result<(), UsedUp>>,
    moved: impl Fn(usize),
) -> std::io::Result<()> {
    loop {
        let chunk = poll_fn(|cx| {
            ready!(may(cx)).map_err(|used_up| std::io::Error::other(Stopped::from(used_up)))?;
            poll_chunk(&mut from, cx)
        });
        let chunk = chunk.await?;
        if chunk.is_empty() {
            return to.shutdown().await;
        }
        moved(chunk.len());
        to.write_all(&chunk).await?;
        to.flush().await?;
    }
}

/// Reads what there is. Nothing is kept while there is nothing: thousands wait for the next message.
fn poll_chunk(
    from: &mut ReadHalf<TokioIo<Upgraded>>,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<Vec<u8>>> {
    let mut space = [const { MaybeUninit::uninit() }; CHUNK];
    let mut chunk = ReadBuf::uninit(&mut space);
    ready!(Pin::new(from).poll_read(cx, &mut chunk))?;
    Poll::Ready(Ok(chunk.filled().to_vec()))
}
