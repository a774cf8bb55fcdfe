//! A visitor with many requests at a time on one connection, by a library.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::tasks::Tasks;
use crate::wait::within;

/// The body of a request.
pub type Sent = UnsyncBoxBody<Bytes, Infallible>;

/// A visitor's connection by HTTP/2.
#[derive(Debug)]
pub struct Multiplexed {
    sender: http2::SendRequest<Sent>,
    _tasks: Arc<Mutex<Tasks>>,
}

/// Runs what a connection by HTTP/2 needs beside itself. It ends with the connection.
#[derive(Clone, Debug, Default)]
pub struct Runs(Arc<Mutex<Tasks>>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Runs {
    fn execute(&self, task: F) {
        self.0.lock().spawn(async { drop(task.await) });
    }
}

/// Begins to speak HTTP/2 by `stream`. The connection ends with its tasks.
pub(crate) async fn handshake<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (http2::SendRequest<B>, Arc<Mutex<Tasks>>)
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let tasks = Arc::new(Mutex::new(Tasks::new()));
    let builder = http2::Builder::new(Runs(Arc::clone(&tasks)));
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    tasks.lock().spawn(async { drop(connection.await) });
    (sender, tasks)
}

impl Multiplexed {
    /// Connects to `addr`.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(addr)).await.expect("a connection");
        Self::over(stream).await
    }

    /// Speaks by `stream`.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, _tasks) = handshake(stream).await;
        Self { sender, _tasks }
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// There is none.
    pub async fn begin(
        &self,
        request: Request<impl Into<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        self.begin_with(request.map(|body| Full::new(body.into()).boxed_unsync())).await
    }

    /// The same with a body that comes piece by piece.
    ///
    /// # Errors
    ///
    /// There is none.
    pub async fn begin_with(&self, request: Request<Sent>) -> hyper::Result<Response<Incoming>> {
        let mut sender = self.sender.clone();
        within("room for a request", sender.ready()).await?;
        within("an answer", sender.send_request(request)).await
    }

    /// Sends a request and waits for the whole answer.
    pub async fn ask(&self, request: Request<impl Into<Bytes>>) -> Response<Bytes> {
        let (head, body) = self.begin(request).await.expect("an answer").into_parts();
        let body = within("the end of an answer", body.collect()).await;
        Response::from_parts(head, body.expect("a whole answer").to_bytes())
    }

    /// Asks for `path` at `host`.
    pub async fn get(&self, host: &str, path: &str) -> Response<Bytes> {
        let request = Request::get(format!("http://{host}{path}")).body("");
        self.ask(request.expect("a request")).await
    }
}
