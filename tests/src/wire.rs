//! The link between clients and relay. A test can cut, stall, slow down and mend it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::tasks::Tasks;

/// A TCP proxy in front of the control port.
#[derive(Debug)]
pub struct Wire {
    addr: SocketAddr,
    condition: watch::Sender<Conditions>,
    said: Said,
    _tasks: Tasks,
}

/// What was said first on each connection, by whoever made it.
type Said = Arc<Mutex<HashMap<usize, Vec<u8>>>>;

/// So much of it is remembered.
const REMEMBERED: usize = 16 * 1024;

/// How the link is: all of it, and one connection that is different, counted from 0 in the order
/// they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Conditions {
    all: Condition,
    one: Option<(usize, Condition)>,
    /// Whichever connection says this is stalled.
    silenced: Option<&'static str>,
}

impl Conditions {
    fn of(&self, number: usize, said: &Said) -> Condition {
        let is_silenced = |text| said.lock().get(&number).is_some_and(|said| contains(said, text));
        match self.one {
            _ if self.silenced.is_some_and(is_silenced) => Condition::Stalled,
            Some((one, condition)) if one == number => condition,
            _ => self.all,
        }
    }
}

fn contains(said: &[u8], text: &str) -> bool {
    said.windows(text.len()).any(|window| window == text.as_bytes())
}

/// How a connection is.
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
        let condition =
            watch::Sender::new(Conditions { all: Condition::Whole, one: None, silenced: None });
        let watching = condition.subscribe();
        let said = Said::default();
        let mut tasks = Tasks::new();
        let remembering = Arc::clone(&said);
        tasks.spawn(async move {
            let mut links = Tasks::new();
            for number in 0.. {
                let (near, _) = listener.accept().await.expect("a connection to the wire");
                let said = Arc::clone(&remembering);
                links.spawn(link(near, relay, number, watching.clone(), said));
            }
        });
        Self { addr, condition, said, _tasks: tasks }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Resets what goes through, and whatever tries to, until the link is mended.
    pub fn cut(&self) {
        self.all_are(Condition::Cut);
    }

    /// Resets one connection, counted from 0 in the order they were made.
    pub fn cut_one(&self, number: usize) {
        self.condition.send_modify(|now| now.one = Some((number, Condition::Cut)));
    }

    /// Lets nothing pass any more, as if a cable had been pulled.
    pub fn stall(&self) {
        self.all_are(Condition::Stalled);
    }

    /// Lets nothing pass on one connection, counted from 0 in the order they were made.
    pub fn stall_one(&self, number: usize) {
        self.condition.send_modify(|now| now.one = Some((number, Condition::Stalled)));
    }

    /// Lets nothing pass on each connection from the moment on in which this is said, early on, by
    /// whoever made it.
    pub fn stall_whoever_says(&self, text: &'static str) {
        self.condition.send_modify(|now| now.silenced = Some(text));
    }

    /// The newest connection on which this was said, early on, by whoever made it.
    pub fn on_which_was_said(&self, text: &str) -> Option<usize> {
        let said = self.said.lock();
        said.iter().filter(|(_, said)| contains(said, text)).map(|(number, _)| *number).max()
    }

    /// Lets so many bytes a second pass each way, in small pieces.
    pub fn slow_down(&self, bytes_per_second: u32) {
        self.all_are(Condition::Slow(bytes_per_second));
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        self.all_are(Condition::Whole);
    }

    fn all_are(&self, condition: Condition) {
        self.condition.send_replace(Conditions { all: condition, one: None, silenced: None });
    }
}

async fn link(
    near: TcpStream,
    relay: SocketAddr,
    number: usize,
    mut condition: watch::Receiver<Conditions>,
    said: Said,
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
    let of = |now: &Conditions| now.of(number, &said);
    let passed = async {
        tokio::try_join!(
            pass(&mut up, of, watching_up, |bytes| {
                let mut all = said.lock();
                let said = all.entry(number).or_default();
                let room = REMEMBERED.saturating_sub(said.len()).min(bytes.len());
                said.extend_from_slice(&bytes[..room]);
            }),
            pass(&mut down, of, watching_down, |_| ()),
        )
    };
    let ended_well = tokio::select! {
        // First: what was held back by a stall must not pass now.
        biased;
        _ = condition.wait_for(|now| of(now) == Condition::Cut) => false,
        passed = passed => passed.is_ok(),
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
    of: impl Fn(&Conditions) -> Condition,
    mut condition: watch::Receiver<Conditions>,
    heard: impl Fn(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let open = condition.wait_for(|now| of(now) != Condition::Stalled).await;
        let now = of(&*open.map_err(io::Error::other)?);
        let n = tokio::select! {
            n = reader.read(&mut buffer) => n?,
            _ = condition.changed() => continue,
        };
        if n == 0 {
            return writer.shutdown().await;
        }
        heard(&buffer[..n]);
        if let Condition::Slow(rate) = now {
            let time = Duration::from_secs_f64(n as f64 / f64::from(rate));
            // Unless the line becomes another one meanwhile.
            drop(timeout(time, condition.changed()).await);
        }
        // What was read before a stall must not pass during it.
        let open = condition.wait_for(|now| of(now) != Condition::Stalled).await;
        drop(open.map_err(io::Error::other)?);
        writer.write_all(&buffer[..n]).await?;
    }
}
