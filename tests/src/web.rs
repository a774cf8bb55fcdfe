//! HTTP: a local service that remembers what it was asked, a client of an HTTP tunnel that a test
//! plays, and visitors.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use shared::carry::mux::MuxStream;
use shared::control::protocol::{
    EntranceRequest, FromRelay, HttpOptions, PathPrefix, PublicAddress, Refusal, TunnelOutcome,
    TunnelRequest, WebHost,
};
use shared::visit::stream::DataStream;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::local::Local;
use crate::rogue::{self, RogueClient};
use crate::tasks::Tasks;
use crate::wait::within;
use crate::world::World;

/// The body of an answer.
pub type Answered = UnsyncBoxBody<Bytes, Infallible>;

/// A domain for tunnels, which needs no DNS: visitors name it, and connect to loopback.
pub const DOMAIN: &str = "t.example";

/// A local service that speaks HTTP/1.1 and remembers the requests.
#[derive(Debug)]
pub struct WebService {
    local: Local,
    seen: Arc<Mutex<Vec<Request<Bytes>>>>,
}

/// A client of one HTTP tunnel.
#[derive(Debug)]
pub struct WebClient {
    /// How visitors write where they come in.
    pub public: PublicAddress,
    close: CancellationToken,
    tasks: Tasks,
}

/// A visitor's connection, for one request after the other.
#[derive(Debug)]
pub struct Visitor {
    sender: client::conn::http1::SendRequest<Full<Bytes>>,
    _tasks: Tasks,
}

/// A relay that serves HTTP for subdomains of [`DOMAIN`].
pub fn with_http(settings: &mut relay::Settings) {
    settings.web.http = Some("127.0.0.1:0".parse().expect("an address"));
    settings.web.domain = Some(DOMAIN.parse().expect("a domain"));
    // Nobody proves whose other hosts are.
    settings.domains.any_host = true;
}

/// A body that is there as a whole.
pub fn whole(body: impl Into<Bytes>) -> Answered {
    Full::new(body.into()).boxed_unsync()
}

/// A request of a path, for the tunnel `app`.
pub fn get(path: &str) -> hyper::http::request::Builder {
    Request::get(path).header("host", format!("app.{DOMAIN}"))
}

impl WebService {
    /// Answers everything with 200 and `ok`.
    pub async fn start() -> Self {
        Self::start_with(|_| Response::new(whole("ok"))).await
    }

    /// Answers by `answer`.
    pub async fn start_with(
        answer: impl Fn(&Request<Bytes>) -> Response<Answered> + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, remembered) = (Arc::new(answer), Arc::clone(&seen));
        let local = Local::start(move |socket| {
            let (answer, seen) = (Arc::clone(&answer), Arc::clone(&remembered));
            let service = service_fn(move |request: Request<Incoming>| {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let request = Request::from_parts(head, body);
                    let response = answer(&request);
                    seen.lock().push(request);
                    Ok::<_, hyper::Error>(response)
                }
            });
            async move {
                let io = TokioIo::new(socket);
                // It ends as the relay likes.
                drop(server::conn::http1::Builder::new().serve_connection(io, service).await);
            }
        })
        .await;
        Self { local, seen }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.local.addr()
    }

    /// The requests that have come since the last call, in the order of their answers.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut self.seen.lock())
    }

    /// The only request that has come since the last call.
    pub fn request(&self) -> Request<Bytes> {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }
}

impl WebClient {
    /// Serves the tunnel `app`, at the subdomain of the same name, by the service at `local`.
    pub async fn open(world: &World, options: HttpOptions, local: SocketAddr) -> Self {
        let opened = Self::try_open(world, options, local).await;
        opened.unwrap_or_else(|refusal| panic!("not opened: {refusal}"))
    }

    /// The same, unless the relay does not like the options.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub async fn try_open(
        world: &World,
        options: HttpOptions,
        local: SocketAddr,
    ) -> Result<Self, Refusal> {
        Self::try_serve(world, &tunnel("app", options), local).await
    }

    /// Serves whatever is asked for by the service at `local`.
    ///
    /// # Errors
    ///
    /// The relay refuses it.
    pub async fn try_serve(
        world: &World,
        request: &TunnelRequest,
        local: SocketAddr,
    ) -> Result<Self, Refusal> {
        Self::try_serve_at(world.addrs.control, request, local).await
    }

    /// The same of a relay whose control port is at `control`.
    ///
    /// # Errors
    ///
    /// The relay refuses it.
    pub async fn try_serve_at(
        control: SocketAddr,
        request: &TunnelRequest,
        local: SocketAddr,
    ) -> Result<Self, Refusal> {
        let mut hello = rogue::hello(&[]);
        hello.tunnels = vec![request.clone()];
        let mut client = RogueClient::connect(control, hello).await;
        let mut answers = match client.receive().await {
            FromRelay::Welcome(welcome) => welcome.tunnels,
            FromRelay::Refused(refusal) => return Err(refusal),
            other => panic!("{other:?} instead of a welcome"),
        };
        let public = match answers.remove(0).outcome {
            TunnelOutcome::Open { mut public } => public.remove(0),
            TunnelOutcome::Refused(refusal) => return Err(refusal),
            TunnelOutcome::Closed => panic!("closed before it was open"),
        };
        let (mut tasks, close) = (Tasks::new(), CancellationToken::new());
        tasks.spawn(serve(client, local, close.clone()));
        Ok(Self { public, close, tasks })
    }

    /// Ends the session.
    pub async fn close(self) {
        self.close.cancel();
        within("the client to end", self.tasks.join()).await;
    }
}

/// An HTTP tunnel at the subdomain of its name.
pub fn tunnel(name: &str, options: HttpOptions) -> TunnelRequest {
    let at = WebHost::Subdomain(name.parse().expect("a subdomain"));
    let path: PathPrefix = "/".parse().expect("a path");
    TunnelRequest {
        entrances: vec![EntranceRequest::Http { at, path }],
        http: Some(options),
        ..rogue::request(name)
    }
}

/// Connects each stream to the service, until the session ends.
async fn serve(mut client: RogueClient, local: SocketAddr, close: CancellationToken) {
    let mut streams = Tasks::new();
    loop {
        tokio::select! {
            biased;
            () = close.cancelled() => return client.close().await,
            stream = client.inbound.next() => match stream {
                Some(stream) => streams.spawn(connect(stream, local)),
                None => return,
            },
        }
    }
}

async fn connect(stream: MuxStream, local: SocketAddr) {
    let Ok((mut stream, _)) = DataStream::accept(stream).await else { return };
    let mut service = TcpStream::connect(local).await.expect("a local service");
    // A visitor may go at any time.
    if stream.connected().await.is_ok()
        && copy_bidirectional(&mut stream, &mut service).await.is_ok()
    {
        drop(stream.close().await);
    }
}

impl Visitor {
    /// Connects to the relay's port for HTTP.
    pub async fn connect(world: &World) -> Self {
        Self::connect_to(world.addrs.http.expect("a relay that serves HTTP")).await
    }

    /// Connects to a port for HTTP.
    pub async fn connect_to(addr: SocketAddr) -> Self {
        let socket = within("a connection", TcpStream::connect(addr)).await;
        let io = TokioIo::new(socket.expect("a connection"));
        let (sender, connection) = client::conn::http1::handshake(io).await.expect("HTTP");
        let mut tasks = Tasks::new();
        tasks.spawn(async { drop(connection.await) });
        Self { sender, _tasks: tasks }
    }

    /// Sends a request and waits for the whole answer.
    pub async fn ask(&mut self, request: Request<impl Into<Bytes>>) -> Response<Bytes> {
        let (head, body) = self.begin(request).await.into_parts();
        let body = within("the end of an answer", body.collect()).await;
        Response::from_parts(head, body.expect("a whole answer").to_bytes())
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn begin(&mut self, request: Request<impl Into<Bytes>>) -> Response<Incoming> {
        let request = request.map(|body| Full::new(body.into()));
        within("room for a request", self.sender.ready()).await.expect("a connection");
        within("an answer", self.sender.send_request(request)).await.expect("an answer")
    }
}

/// Sends one request on a connection of its own and waits for the whole answer.
pub async fn ask(world: &World, request: Request<impl Into<Bytes>>) -> Response<Bytes> {
    Visitor::connect(world).await.ask(request).await
}
