//! gRPC by tonic: a local service with a method of each kind, and whoever calls it.
//!
//! Messages are bytes, so that nothing has to be generated: what is in them is no matter of a relay.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::http::uri::PathAndQuery;
use hyper::http::{self, Uri};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, IntoRequest, Request, Response, Status, Streaming, client, server};
use tower_service::Service;

use crate::http::multiplexed::{Runs, handshake};
use crate::local::Local;
use crate::tasks::Tasks;
use crate::wait::within;

/// So many messages come from [`Notes`] before it breaks off.
pub const BEFORE_IT_BREAKS: usize = 3;

/// Messages that are bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Where a method of [`Notes`] is.
pub fn path(method: &str) -> PathAndQuery {
    format!("/test.Notes/{method}").parse().expect("a path")
}

/// A local service that speaks gRPC, without TLS. Its methods:
///
/// - `Same` answers with the message that it is given, and with what it is told beside it
/// - `Join` puts all messages together
/// - `Count` sends as many messages as it is asked for, each with its number
/// - `Echo` sends back each message as it comes
/// - `Wait` never answers
/// - `Deadline` answers with the time that its caller gives it, which would not be enough
/// - `Refuse` answers with a status alone
/// - `Break` sends [`BEFORE_IT_BREAKS`] messages, and then a status
#[derive(Debug)]
pub struct Notes {
    local: Local,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    now: AtomicUsize,
}

/// A call that is not over.
struct Call(Arc<Counts>);

impl Call {
    fn of(counts: &Arc<Counts>) -> Self {
        counts.now.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Notes {
    /// Starts it.
    pub async fn start() -> Self {
        let counts = Arc::new(Counts::default());
        let counting = Arc::clone(&counts);
        let local = Local::start(move |socket| {
            let counts = Arc::clone(&counting);
            async move {
                counts.connections.fetch_add(1, Ordering::Relaxed);
                let answering = service_fn(move |request| answer(Arc::clone(&counts), request));
                let serving = http2::Builder::new(Runs::default());
                // It ends as the relay likes.
                drop(serving.serve_connection(TokioIo::new(socket), answering).await);
            }
        })
        .await;
        Self { local, counts }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.local.addr()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// How many calls are not over: neither answered nor given up.
    pub fn now(&self) -> usize {
        self.counts.now.load(Ordering::Relaxed)
    }
}

async fn answer(
    counts: Arc<Counts>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, Infallible> {
    let call = Arc::new(Call::of(&counts));
    let mut grpc = server::Grpc::new(Plain);
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    Ok(match &*method {
        "Same" => grpc.unary(Method(same), request).await,
        "Join" => grpc.client_streaming(Method(join), request).await,
        "Count" => {
            let count = |request| streamed(Arc::clone(&call), count(&request));
            grpc.server_streaming(Method(count), request).await
        }
        "Echo" => {
            let echo = |request: Request<Streaming<Bytes>>| {
                streamed(Arc::clone(&call), request.into_inner().boxed())
            };
            grpc.streaming(Method(echo), request).await
        }
        "Wait" => grpc.unary(Method(|_: Request<Bytes>| pending::<Answer>()), request).await,
        "Deadline" => grpc.unary(Method(deadline), request).await,
        "Refuse" => grpc.unary(Method(refuse), request).await,
        "Break" => {
            let breaks = |_: Request<Bytes>| streamed(Arc::clone(&call), broken());
            grpc.server_streaming(Method(breaks), request).await
        }
        _ => Status::unimplemented(method).into_http(),
    })
}

/// What becomes of a call that has one answer.
type Answer = Result<Response<Bytes>, Status>;

/// Messages, and whatever ends them.
type Messages = BoxStream<'static, Result<Bytes, Status>>;

async fn same(request: Request<Bytes>) -> Answer {
    let (beside, _, message) = request.into_parts();
    let mut response = Response::new(message);
    *response.metadata_mut() = beside;
    Ok(response)
}

async fn join(request: Request<Streaming<Bytes>>) -> Answer {
    let messages: Vec<Bytes> = request.into_inner().try_collect().await?;
    Ok(Response::new(messages.concat().into()))
}

fn count(request: &Request<Bytes>) -> Messages {
    let most = std::str::from_utf8(request.get_ref()).ok().and_then(|text| text.parse().ok());
    let most: usize = most.expect("a number");
    stream::iter((0..most).map(|number| Ok(number.to_string().into()))).boxed()
}

fn broken() -> Messages {
    let messages = (0..BEFORE_IT_BREAKS).map(|number| Ok(number.to_string().into()));
    stream::iter(messages.chain([Err(refusal(Code::DataLoss))])).boxed()
}

/// Messages of a call that is over with the last one.
async fn streamed(call: Arc<Call>, messages: Messages) -> Result<Response<Messages>, Status> {
    let messages = stream::unfold((call, messages), async |(call, mut messages)| {
        Some((messages.next().await?, (call, messages)))
    });
    Ok(Response::new(messages.boxed()))
}

async fn refuse(_: Request<Bytes>) -> Answer {
    Err(refusal(Code::FailedPrecondition))
}

/// A status with everything that belongs to one.
fn refusal(code: Code) -> Status {
    let mut status =
        Status::with_details(code, "not now: 100 % \u{fc}", Bytes::from_static(&[0, 255]));
    status.metadata_mut().insert("x-why", "because".parse().expect("a value"));
    status
}

async fn deadline(request: Request<Bytes>) -> Answer {
    let text = request.metadata().get("grpc-timeout").and_then(|time| time.to_str().ok());
    let text = text.ok_or_else(|| Status::invalid_argument("no deadline"))?;
    // What it is to do would take longer.
    Err(Status::deadline_exceeded(text))
}

/// A function as a method.
struct Method<F>(F);

impl<F, Fut, Asked, Answered> Service<Request<Asked>> for Method<F>
where
    F: FnMut(Request<Asked>) -> Fut,
    Fut: Future<Output = Result<Response<Answered>, Status>>,
{
    type Response = Response<Answered>;
    type Error = Status;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Asked>) -> Fut {
        (self.0)(request)
    }
}

/// A visitor's connection for calls.
#[derive(Clone, Debug)]
pub struct Connection {
    sender: SendRequest<Body>,
    _tasks: Arc<Mutex<Tasks>>,
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}

/// Whoever calls [`Notes`].
#[derive(Clone, Debug)]
pub struct Caller(client::Grpc<Connection>);

impl Caller {
    /// Calls by `stream` what is at `origin`, such as `http://app.t.example`.
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        origin: &str,
    ) -> Self {
        let (sender, _tasks) = handshake(stream).await;
        let origin: Uri = origin.parse().expect("an origin");
        Self(client::Grpc::with_origin(Connection { sender, _tasks }, origin))
    }

    /// Ready for a call.
    pub async fn ready(&self) -> client::Grpc<Connection> {
        let mut grpc = self.0.clone();
        within("room for a call", grpc.ready()).await.expect("a connection");
        grpc
    }

    /// Calls a method that has one message and one answer.
    ///
    /// # Errors
    ///
    /// Its status.
    pub async fn ask(&self, method: &str, request: impl IntoRequest<Bytes>) -> Answer {
        self.ready().await.unary(request.into_request(), path(method), Plain).await
    }
}
