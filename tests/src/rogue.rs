//! Clients and relays that speak yamux well and then do not play by the rules.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::{AsyncWriteExt, FutureExt};
use rustls::ClientConfig;
use shared::carry::Carry;
use shared::carry::Role;
use shared::carry::mux::{self, Inbound, Mux, MuxStream};
use shared::carry::tls::Tls;
use shared::control::channel::Control;
use shared::control::protocol::{
    EntranceRequest, FromClient, FromRelay, HEARTBEAT, Hello, InstanceId, MAX_MESSAGE,
    TunnelAnswer, TunnelOutcome, TunnelRequest, VERSION, Welcome,
};
use shared::kit::net::Rules;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;
use crate::wait::within;

/// A client that a test plays.
#[derive(Debug)]
pub struct RogueClient {
    /// Opens streams.
    pub mux: Mux,
    /// The streams that the relay opens.
    pub inbound: Inbound,
    /// The control stream.
    pub control: Control<Compat<yamux::Stream>, FromRelay, FromClient>,
    close: CancellationToken,
    driver: Tasks,
}

/// A relay that a test plays.
#[derive(Debug)]
pub struct RogueRelay {
    listener: TcpListener,
}

/// One client of a [`RogueRelay`], before it is welcomed.
#[derive(Debug)]
pub struct RogueSession {
    /// Opens streams.
    pub mux: Mux,
    /// The control stream.
    pub control: Control<Compat<yamux::Stream>, FromClient, FromRelay>,
    /// What the client said first.
    pub hello: Hello,
    close: CancellationToken,
    driver: Tasks,
}

/// A tunnel at any port.
pub fn request(name: &str) -> TunnelRequest {
    TunnelRequest {
        name: name.parse().expect("a name"),
        entrances: vec![EntranceRequest::Tcp { port: None, prefer: None }],
        local: String::new(),
        withdraw: false,
        healthy: true,
        destination: false,
        rules: Rules::default(),
        http: None,
    }
}

/// The answer that a tunnel is open, at a port where nobody is.
pub fn open_at_1(name: &str) -> TunnelAnswer {
    let public = vec!["tcp://localhost:1".parse().expect("an address")];
    let name = name.parse().expect("a name");
    TunnelAnswer { name, outcome: TunnelOutcome::Open { public } }
}

/// A first message that asks for these tunnels.
pub fn hello(tunnels: &[&str]) -> Hello {
    let request = |name: &&str| request(name);
    Hello {
        version: VERSION,
        agent: "test".into(),
        instance: InstanceId::random(),
        connection: 0,
        max_streams: 1000,
        server: "localhost".parse().expect("a host"),
        credential: None,
        tunnels: tunnels.iter().map(request).collect(),
    }
}

impl RogueClient {
    /// Connects and says `hello`.
    pub async fn connect(control: SocketAddr, hello: Hello) -> Self {
        let socket = within("a connection", TcpStream::connect(control)).await;
        Self::over(socket.expect("a connection to the control port"), hello).await
    }

    /// Says `hello` over TLS to a relay on 127.0.0.1.
    pub async fn connect_tls(control: SocketAddr, config: ClientConfig, hello: Hello) -> Self {
        let socket = within("a connection", TcpStream::connect(control)).await;
        let socket = socket.expect("a connection to the control port");
        let name = "127.0.0.1".try_into().expect("a name");
        let tls = within("a handshake", Tls::connect(Arc::new(config), name, socket)).await;
        Self::over(tls.expect("TLS"), hello).await
    }

    async fn over(carrier: impl Carry + Send + 'static, hello: Hello) -> Self {
        within("a stream", Self::try_over(carrier, hello)).await.expect("a session")
    }

    /// Says `hello` over `carrier`, unless the relay ends the connection before that.
    pub async fn try_over(carrier: impl Carry + Send + 'static, hello: Hello) -> Option<Self> {
        let (mux, inbound, driver) = mux::start(carrier, Role::Client, 1000);
        let (mut tasks, close) = (Tasks::new(), CancellationToken::new());
        let closing = close.clone();
        tasks.spawn(async {
            drop(driver.run(closing.cancelled_owned().map(|()| mux::CLOSE)).await)
        });
        let stream = mux.open().await.ok()?;
        let mut control = Control::new(stream.io.compat(), MAX_MESSAGE);
        control.send(&FromClient::Hello(hello)).await.ok()?;
        Some(Self { mux, inbound, control, close, driver: tasks })
    }

    /// Sends what is queued and closes the connection.
    pub async fn close(self) {
        self.close.cancel();
        within("the session to close", self.driver.join()).await;
    }

    /// Connects and is welcomed for the tunnel `default`.
    pub async fn admitted(control: SocketAddr) -> Self {
        let mut client = Self::connect(control, hello(&["default"])).await;
        match client.receive().await {
            FromRelay::Welcome(_) => client,
            other => panic!("not welcomed but {other:?}"),
        }
    }

    /// The next message of the relay.
    pub async fn receive(&mut self) -> FromRelay {
        within("a message of the relay", self.control.receive()).await.expect("a message")
    }

    /// Says something.
    pub async fn say(&mut self, message: &FromClient) {
        within("the message to be taken", self.control.send(message)).await.expect("a session");
    }

    /// The next stream, with a visitor's `OPEN` somewhere in it.
    pub async fn stream(&mut self) -> yamux::Stream {
        raw(within("a stream of the relay", self.inbound.next()).await.expect("a stream"))
    }

    /// Waits until the relay has ended the session.
    pub async fn expect_end(&mut self) {
        let end = async { while self.control.receive().await.is_ok() {} };
        within("the relay to end the session", end).await;
    }
}

impl RogueRelay {
    /// A relay that answers nobody yet.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        Self { listener }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a listener with an address")
    }

    /// The next client's connection, before a word was said.
    pub async fn accept(&self) -> TcpStream {
        within("a client", self.listener.accept()).await.expect("a connection").0
    }

    /// The next client, which has said who it is.
    pub async fn greeted(&self) -> RogueSession {
        let socket = self.accept().await;
        let (mux, mut inbound, driver) = mux::start(socket, Role::Relay, 1000);
        let mut tasks = Tasks::new();
        let close = CancellationToken::new();
        let closing = close.clone();
        tasks.spawn(async {
            drop(driver.run(closing.cancelled_owned().map(|()| mux::CLOSE)).await)
        });
        let stream = within("a control stream", inbound.next()).await.expect("a stream");
        let mut control = Control::<_, FromClient, _>::new(stream.io.compat(), MAX_MESSAGE);
        let first = within("a Hello", control.receive()).await.expect("a message");
        let FromClient::Hello(hello) = first else { panic!("{first:?} comes before Hello") };
        mux.link().admit();
        RogueSession { mux, control, hello, close, driver: tasks }
    }

    /// The next client, welcomed as an honest relay would.
    pub async fn welcomed(&self) -> RogueSession {
        let mut session = self.greeted().await;
        let open = |request: &TunnelRequest| open_at_1(request.name.as_str());
        let welcome = Welcome {
            session: 1,
            heartbeat_ms: HEARTBEAT.as_millis() as u64,
            tunnels: session.hello.tunnels.iter().map(open).collect(),
        };
        session.control.send(&FromRelay::Welcome(welcome)).await.expect("a session");
        session
    }
}

impl RogueSession {
    /// Sends what is queued and closes the connection.
    pub async fn close(self) {
        self.close.cancel();
        within("the session to close", self.driver.join()).await;
    }

    /// A stream that begins with these bytes.
    pub async fn open(&self, bytes: &[u8]) -> yamux::Stream {
        let mut stream = raw(within("a stream", self.mux.open()).await.expect("a session"));
        write(&mut stream, bytes).await;
        stream
    }
}

/// A stream alone, for whoever speaks no records. The wire lets its frames through as long as the
/// session lasts.
fn raw(stream: MuxStream) -> yamux::Stream {
    let MuxStream { io, held } = stream;
    // Each FIN is one that the test wants.
    held.finishing(true);
    std::mem::forget(held);
    io
}

/// Writes bytes as they are.
pub async fn write(stream: &mut yamux::Stream, bytes: &[u8]) {
    within("bytes to be taken", stream.write_all(bytes)).await.expect("a stream that is open");
}

/// What comes on `stream` until it ends, in whatever way.
pub async fn read_to_end(stream: &mut yamux::Stream) -> Vec<u8> {
    use futures::AsyncReadExt as _;
    let mut bytes = Vec::new();
    drop(within("the end of a stream", stream.read_to_end(&mut bytes)).await);
    bytes
}
