//! WebSockets: a local service with pages beside them, and visitors.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Message, ServerBuilder, WebSocketStream};

use crate::local::Local;
use crate::wait::within;
use crate::web::{Answered, whole};

/// What the key of a WebSocket is put together with (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A local service whose WebSockets send back each message; everything else is answered by `page`.
pub async fn beside<P, F>(page: P) -> Local
where
    P: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Answered>> + Send + 'static,
{
    Local::start(move |socket| serve(socket, page.clone())).await
}

async fn serve<P, F>(socket: TcpStream, page: P)
where
    P: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Answered>> + Send + 'static,
{
    let changes = Arc::new(Mutex::new(None));
    let (page, changing) = (Arc::new(page), Arc::clone(&changes));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (page, changing) = (Arc::clone(&page), Arc::clone(&changing));
        async move {
            if request.headers().contains_key(UPGRADE) {
                *changing.lock() = Some(hyper::upgrade::on(&mut request));
                return Ok(accepted(&request));
            }
            Ok::<_, Infallible>(page(request).await)
        }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    // Whoever is there may leave at any time.
    drop(serving.with_upgrades().await);
    let changed = changes.lock().take();
    if let Some(changed) = changed {
        echo(changed).await;
    }
}

/// The answer to a request for a WebSocket.
fn accepted(request: &Request<Incoming>) -> Response<Answered> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).expect("the key of a WebSocket");
    let both = [key.as_bytes(), GUID.as_bytes()].concat();
    let accept = BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &both).as_ref());
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept);
    response.body(whole("")).expect("an answer")
}

async fn echo(changed: OnUpgrade) {
    let Ok(io) = changed.await else { return };
    let mut socket = ServerBuilder::new().serve(TokioIo::new(io));
    // What is said at the end is answered by the library.
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// A visitor's WebSocket.
#[derive(Debug)]
pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Connects to `addr` and opens one at `host`, by HTTP/1.1.
    pub async fn open(addr: SocketAddr, host: &str) -> Self {
        let stream = within("a connection", TcpStream::connect(addr)).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let uri = format!("ws://{host}/socket").parse().expect("an address");
        let builder = ClientBuilder::from_uri(uri);
        let opened = within("a WebSocket", builder.connect_on(stream)).await;
        Self(opened.expect("a WebSocket").0)
    }

    /// Sends a message and expects it back.
    pub async fn expect_echo(&mut self, text: &str) {
        let sending = self.0.send(Message::text(text.to_owned()));
        within("a message to be taken", sending).await.expect("a message is taken");
        let echo = within("an echo", self.0.next()).await.expect("an echo").expect("an echo");
        assert_eq!(echo.as_text(), Some(text));
    }

    /// Closes it, as both ends agree.
    pub async fn close(mut self) {
        within("a close", self.0.close()).await.expect("a close");
        let rest = within("the end", self.0.next()).await;
        let is_close = rest.as_ref().is_none_or(|rest| rest.as_ref().is_ok_and(Message::is_close));
        assert!(is_close, "{rest:?} instead of the end");
    }
}
