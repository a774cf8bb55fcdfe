//! The link between clients and relay. A test can cut, stall, slow down and mend it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::tasks::Tasks;

/// A TCP proxy in front of the control port.
#[derive(Debug)]
pub struct Wire {
    addr: SocketAddr,
    condition: watch::Sender<Condition>,
    /// The connection that was cut last, counted from 0 in the order they were made.
    cut_off: watch::Sender<Option<usize>>,
    _tasks: Tasks,
}

/// How the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Everything passes.
    Whole,
    /// Everything passes, at so many bytes a second each way.
    Slow(u32),
    /// Nothing passes, and nobody is told.
    Stalled,
    /// Connections are reset, and new ones too.
    Cut,
}

impl Wire {
    /// A link to the control port at `relay`.
    pub async fn to(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let addr = listener.local_addr().expect("a listener with an address");
        let condition = watch::Sender::new(Condition::Whole);
        let cut_off = watch::Sender::new(None);
        let (watching, watching_cuts) = (condition.subscribe(), cut_off.subscribe());
        let mut tasks = Tasks::new();
        tasks.spawn(async move {
            let mut links = Tasks::new();
            for number in 0.. {
                let (near, _) = listener.accept().await.expect("a connection to the wire");
                let mut cuts = watching_cuts.clone();
                let cut = async move {
                    drop(cuts.wait_for(|cut| *cut == Some(number)).await);
                };
                links.spawn(link(near, relay, watching.clone(), cut));
            }
        });
        Self { addr, condition, cut_off, _tasks: tasks }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Resets what goes through, and whatever tries to, until the link is mended.
    pub fn cut(&self) {
        self.condition.send_replace(Condition::Cut);
    }

    /// Resets one connection, counted from 0 in the order they were made.
    pub fn cut_off(&self, number: usize) {
        self.cut_off.send_replace(Some(number));
    }

    /// Lets nothing pass any more, as if a cable had been pulled.
    pub fn stall(&self) {
        self.condition.send_replace(Condition::Stalled);
    }

    /// Lets so many bytes a second pass each way, in small pieces.
    pub fn slow_down(&self, bytes_per_second: u32) {
        self.condition.send_replace(Condition::Slow(bytes_per_second));
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        self.condition.send_replace(Condition::Whole);
    }
}

async fn link(
    near: TcpStream,
    relay: SocketAddr,
    mut condition: watch::Receiver<Condition>,
    cut_off: impl Future<Output = ()>,
) {
    let Ok(far) = TcpStream::connect(relay).await else {
        return drop(near.set_zero_linger());
    };
    for socket in [&near, &far] {
        drop(socket.set_nodelay(true));
        // Small, so that a slow link fills up soon.
        let socket = SockRef::from(socket);
        drop(socket.set_recv_buffer_size(64 * 1024));
        drop(socket.set_send_buffer_size(64 * 1024));
    }
    let (near_reader, near_writer) = near.into_split();
    let (far_reader, far_writer) = far.into_split();
    let (mut up, mut down) = ((near_reader, far_writer), (far_reader, near_writer));
    let (watching_up, watching_down) = (condition.clone(), condition.clone());
    let passed =
        async { tokio::try_join!(pass(&mut up, watching_up), pass(&mut down, watching_down)) };
    let ended_well = tokio::select! {
        passed = passed => passed.is_ok(),
        _ = condition.wait_for(|now| *now == Condition::Cut) => false,
        () = cut_off => false,
    };
    if !ended_well {
        // Each socket has one half in each direction.
        drop(up.1.as_ref().set_zero_linger());
        drop(down.1.as_ref().set_zero_linger());
    }
}

/// Passes bytes one way until they end.
async fn pass(
    (reader, writer): &mut (OwnedReadHalf, OwnedWriteHalf),
    mut condition: watch::Receiver<Condition>,
) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let open = condition.wait_for(|now| *now != Condition::Stalled).await;
        let now = *open.map_err(io::Error::other)?;
        let n = tokio::select! {
            n = reader.read(&mut buffer) => n?,
            _ = condition.changed() => continue,
        };
        if n == 0 {
            return writer.shutdown().await;
        }
        if let Condition::Slow(rate) = now {
            let time = Duration::from_secs_f64(n as f64 / f64::from(rate));
            tokio::time::sleep(time).await;
        }
        // What was read before a stall must not pass during it.
        let open = condition.wait_for(|now| *now != Condition::Stalled).await;
        drop(open.map_err(io::Error::other)?);
        writer.write_all(&buffer[..n]).await?;
    }
}
