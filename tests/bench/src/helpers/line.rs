//! A line between client and relay, with a delay and a rate.
//!
//! Each direction has one [`Bottleneck`] that all connections share, with a bounded queue before
//! it; what has passed it arrives after the delay. A sender that finds the queue full waits, in the
//! order of coming: a real queue would drop, and TCP would slow down and repeat. Nor does TCP's
//! slow start show, since the line itself confirms what it has read. [Losses](loss) are delays
//! only.
//!
//! So that nothing hides in the line's own sockets, their kernel buffers are 64 KiB. A new
//! connection costs what it would on a real line: it reaches the far side after one delay, and the
//! near side's first byte sets out after two, when the answer to its greeting would be back.
//!
//! Threads and blocking sockets, since a sleeping thread wakes within some 50 us, and an
//! asynchronous timer within a millisecond only.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use socket2::{Domain, Protocol, Socket, Type};

use self::bottleneck::Bottleneck;
use self::loss::Losses;

mod bottleneck;
mod loss;

/// What a line is like.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LineArgs {
    /// Where the line starts.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Where it leads.
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// Delay each way, in microseconds.
    #[arg(long)]
    pub(crate) delay: u64,
    /// Rate each way, in Mbit/s.
    #[arg(long)]
    pub(crate) rate: u64,
    /// What waits before the bottleneck at most, in bytes.
    #[arg(long)]
    pub(crate) queue: usize,
    /// Segments lost each way, per million.
    #[arg(long, default_value_t = 0)]
    pub(crate) loss: u64,
}

pub(super) fn run(args: &LineArgs) -> Result<()> {
    let socket = socket_with_small_buffers()?;
    socket.set_reuse_address(true).context("reusing the line's address")?;
    socket.bind(&args.listen.into()).context("binding the line")?;
    socket.listen(BACKLOG).context("listening on the line")?;
    let listener = TcpListener::from(socket);
    super::announce(listener.local_addr().context("asking for the line's address")?)?;

    let line = Arc::new(Line {
        to: args.to,
        delay: Duration::from_micros(args.delay),
        loss: args.loss,
        there: Bottleneck::new(args.rate, args.queue),
        back: Bottleneck::new(args.rate, args.queue),
    });
    for number in 0.. {
        let (near, _) = listener.accept().context("accepting on the line")?;
        let line = Arc::clone(&line);
        let accepted = Instant::now();
        start_thread("connection", move || line.carry(near, accepted, number))?;
    }
    Ok(())
}

struct Line {
    to: SocketAddr,
    delay: Duration,
    loss: u64,
    there: Bottleneck,
    back: Bottleneck,
}

impl Line {
    fn carry(self: Arc<Self>, near: TcpStream, accepted: Instant, number: u64) -> Result<()> {
        sleep_until(accepted + self.delay);
        let socket = socket_with_small_buffers()?;
        socket.connect(&self.to.into()).context("connecting to the end of the line")?;
        let far = TcpStream::from(socket);
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;

        let line = Arc::clone(&self);
        let (from, to) = (far.try_clone()?, near.try_clone()?);
        start_thread("back", move || line.carry_one_way(from, to, &line.back, 2 * number))?;
        sleep_until(accepted + 2 * self.delay);
        self.carry_one_way(near, far, &self.there, 2 * number + 1)
    }

    fn carry_one_way(
        &self,
        mut from: TcpStream,
        to: TcpStream,
        bottleneck: &Bottleneck,
        number: u64,
    ) -> Result<()> {
        let (sender, arrivals) = sync_channel(PACKETS_UNDER_WAY);
        start_thread("arrivals", move || deliver(to, arrivals))?;
        let mut losses = Losses::new(self.loss, number);
        let mut buffer = [0; PACKET];
        loop {
            // A reset ends a direction as an end of input does: the line is no judge of that.
            let read = from.read(&mut buffer).unwrap_or_default();
            if read == 0 {
                return Ok(());
            }
            let passed = bottleneck.pass(read);
            let again = if losses.hit(read) { 2 * self.delay } else { Duration::ZERO };
            sender.send((passed + self.delay + again, buffer[..read].to_vec()))?;
        }
    }
}

/// What is on its way: when it arrives, and the bytes.
type Packet = (Instant, Vec<u8>);

/// Writes what has arrived, in order: what is late holds up what comes after it.
fn deliver(mut to: TcpStream, arrivals: Receiver<Packet>) -> Result<()> {
    for (arrival, bytes) in arrivals {
        sleep_until(arrival);
        to.write_all(&bytes)?;
    }
    Ok(to.shutdown(Shutdown::Write)?)
}

fn sleep_until(instant: Instant) {
    thread::sleep(instant.saturating_duration_since(Instant::now()));
}

/// Starts a thread that ends with its connection, or with the process: the line owns nothing that
/// would have to be put back.
fn start_thread(name: &str, work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let builder = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    builder
        .spawn(move || {
            // What goes wrong on one connection is seen by its two ends.
            work().ok();
        })
        .context("starting a thread of the line")?;
    Ok(())
}

fn socket_with_small_buffers() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
        .context("making a socket of the line")?;
    socket.set_recv_buffer_size(KERNEL_BUFFER).context("bounding a kernel buffer")?;
    socket.set_send_buffer_size(KERNEL_BUFFER).context("bounding a kernel buffer")?;
    Ok(socket)
}

/// What the kernel may hide from the queue, on each side of each connection.
const KERNEL_BUFFER: usize = 64 * 1024;

/// What is read and sent as one. Small beside the queue, so that connections alternate in it.
const PACKET: usize = 16 * 1024;

/// Bounds what is under way on one connection whose receiver does not read, at 16 MiB: far more
/// than delay times rate of any line that is measured here.
const PACKETS_UNDER_WAY: usize = 1024;

/// As tokio's own listeners have.
const BACKLOG: i32 = 1024;

/// A thread here needs little more than one packet.
const STACK: usize = 256 * 1024;
