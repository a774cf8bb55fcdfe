//! `Expect: 100-continue` (RFC 9110, section 10.1.1): a visitor keeps the body back until the local
//! service wants it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{EXPECT, HeaderMap};
use hyper::{Request, StatusCode, Version};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::web::{BodyError, RequestBody};

/// How long a local service may take to say whether it wants the body. There are some that never do.
const PATIENCE: Duration = Duration::from_secs(1);

/// A body that is not looked at before it is wanted: a look has the visitor send it.
struct Expected {
    body: RequestBody,
    /// `None`: it is wanted.
    wanted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Whether a visitor keeps the body of a request back.
pub(super) fn keeps_back(headers: &HeaderMap) -> bool {
    let expects = headers.get(EXPECT).map(|expects| expects.as_bytes());
    expects.is_some_and(|expects| expects.eq_ignore_ascii_case(b"100-continue"))
}

/// Keeps a body back until `wanted` fires.
pub(super) fn keep_back(body: RequestBody, wanted: CancellationToken) -> RequestBody {
    let waiting = async move { drop(timeout(PATIENCE, wanted.cancelled_owned()).await) };
    RequestBody::Streamed(Box::pin(Expected { body, wanted: Some(Box::pin(waiting)) }))
}

/// Has the local service say by its answer to `request` that it wants the body. By HTTP/2 it cannot:
/// what it does not want it resets.
pub(super) fn ask(request: &mut Request<RequestBody>, wanted: &CancellationToken) {
    if request.version() == Version::HTTP_2 {
        return wanted.cancel();
    }
    let wanted = wanted.clone();
    hyper::ext::on_informational(request, move |said| {
        if said.status() == StatusCode::CONTINUE {
            wanted.cancel();
        }
    });
}

impl Body for Expected {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(wanted) = &mut this.wanted {
            ready!(wanted.as_mut().poll(cx));
            this.wanted = None;
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
