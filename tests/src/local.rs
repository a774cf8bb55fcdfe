//! Local services: what tunnels lead to, well behaved and not.

use std::future::Future;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::peer::Peer;
use crate::tasks::Tasks;
use crate::wait::within;

/// A service that answers by itself. It ends when dropped.
#[derive(Debug)]
pub struct Local {
    addr: SocketAddr,
    _tasks: Tasks,
}

impl Local {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves every connection by `handle`.
    pub async fn start<H, F>(handle: H) -> Self
    where
        H: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at((std::net::Ipv4Addr::LOCALHOST, 0).into(), handle).await
    }

    /// Serves every connection to `addr` by `handle`.
    pub async fn start_at<H, F>(addr: SocketAddr, handle: H) -> Self
    where
        H: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(addr).await.expect("an address on loopback");
        let addr = listener.local_addr().expect("a listener with an address");
        let mut tasks = Tasks::new();
        tasks.spawn(async move {
            let mut connections = Tasks::new();
            loop {
                let (socket, _) = listener.accept().await.expect("a connection to the service");
                connections.spawn(handle(socket));
            }
        });
        Self { addr, _tasks: tasks }
    }
}

/// Sends back what comes, and ends when the visitor does.
pub async fn echo() -> Local {
    Local::start(|socket| echo_from(socket, b"")).await
}

/// Says `greeting` before anybody asks, then sends back what comes.
pub async fn speaks_first(greeting: &'static [u8]) -> Local {
    Local::start(move |socket| echo_from(socket, greeting)).await
}

/// The same at a certain address.
pub async fn speaks_first_at(addr: SocketAddr, greeting: &'static [u8]) -> Local {
    Local::start_at(addr, move |socket| echo_from(socket, greeting)).await
}

/// Answers whatever is asked with these bytes, and ends.
pub async fn answers(answer: impl Fn() -> &'static [u8] + Clone + Send + 'static) -> Local {
    Local::start(move |mut socket| {
        let answer = answer.clone();
        async move {
            let mut request = [0; 4096];
            // Whoever asks may go away at any time.
            if tokio::io::AsyncReadExt::read(&mut socket, &mut request).await.is_ok() {
                drop(socket.write_all(answer()).await);
            }
        }
    })
    .await
}

async fn echo_from(mut socket: TcpStream, greeting: &'static [u8]) {
    // Visitors that are reset, and tests that end, take the connection away.
    drop(socket.set_nodelay(true));
    let (mut reader, mut writer) = socket.split();
    if writer.write_all(greeting).await.is_ok()
        && tokio::io::copy(&mut reader, &mut writer).await.is_ok()
    {
        drop(writer.shutdown().await);
    }
}

/// Answers only when the visitor has said everything: with how many bytes that were.
pub async fn counts_to_the_end() -> Local {
    Local::start(async |mut socket: TcpStream| {
        let mut sink = tokio::io::sink();
        if let Ok(bytes) = tokio::io::copy(&mut socket, &mut sink).await {
            drop(socket.write_all(format!("{bytes} bytes").as_bytes()).await);
        }
    })
    .await
}

/// Sends without end, whether anybody reads or not.
pub async fn endless() -> Local {
    Local::start(async |mut socket: TcpStream| {
        let piece = vec![7; 64 * 1024];
        while socket.write_all(&piece).await.is_ok() {}
    })
    .await
}

/// Takes what comes and never says anything.
pub async fn silent() -> Local {
    Local::start(async |mut socket: TcpStream| {
        drop(tokio::io::copy(&mut socket, &mut tokio::io::sink()).await);
    })
    .await
}

/// Accepts and does nothing more, not even read.
pub async fn deaf() -> Local {
    Local::start(async |socket: TcpStream| {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await
}

/// A service whose part the test plays.
#[derive(Debug)]
pub struct Played(TcpListener);

/// Nothing but a listener: the test accepts and answers.
pub async fn played() -> Played {
    Played(listener().await)
}

/// As [`played`], with a kernel that takes in little.
pub async fn played_narrow() -> Played {
    let listener = listener().await;
    SockRef::from(&listener).set_recv_buffer_size(4096).expect("a small buffer");
    Played(listener)
}

impl Played {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("a listener with an address")
    }

    /// The next connection.
    pub async fn accept(&self) -> Peer {
        let (socket, _) = within("a connection to the local service", self.0.accept())
            .await
            .expect("a connection");
        socket.into()
    }
}

/// An address at which nobody listens.
pub async fn nobody() -> SocketAddr {
    listener().await.local_addr().expect("a listener with an address")
}

/// A listener whose queue is full: it answers no connection, and refuses none.
#[derive(Debug)]
pub struct BlackHole {
    addr: SocketAddr,
    _listener: socket2::Socket,
    _queue: Vec<socket2::Socket>,
}

/// A port that swallows connections.
pub fn black_hole() -> BlackHole {
    let socket = || {
        use socket2::{Domain, Socket, Type};
        Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")
    };
    let listener = socket();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    // A backlog of zero still holds one; more than enough are tried.
    let queue = std::iter::repeat_with(|| {
        let socket = socket();
        socket.set_nonblocking(true).expect("a socket");
        drop(socket.connect(&addr));
        socket
    });
    let queue = queue.take(4).collect();
    let addr = addr.as_socket().expect("an IP address");
    BlackHole { addr, _listener: listener, _queue: queue }
}

impl BlackHole {
    /// Where it swallows.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn listener() -> TcpListener {
    // The backlog of tokio's own bind, 1024, is too small for a rush of two thousand.
    shared::kit::net::listen_on(([127, 0, 0, 1], 0).into(), shared::kit::net::Peers::Visitors)
        .expect("a port on loopback")
}
