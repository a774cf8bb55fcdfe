//! The wire over a real connection: frames as yamux writes and reads them.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use futures::{AsyncReadExt, AsyncWriteExt};
use shared::carry::Role;
use shared::carry::wire::{Link, Wire};
use tokio::net::TcpStream;

use crate::loopback;

/// A megabyte in frames with bodies of `body` bytes: the small ones are collected and read ahead,
/// the large ones go past both buffers.
#[divan::bench(args = [64, 1024, 16 * 1024, 128 * 1024])]
fn frames(bencher: Bencher<'_, '_>, body: usize) {
    let runtime = loopback::runtime();
    let (mut near, mut far) = runtime.block_on(wires());
    let frame = Frame::new(body);
    let count = BATCH / body;
    bencher
        .counter(BytesCount::new(BATCH))
        .counter(ItemsCount::new(count))
        .bench_local(|| runtime.block_on(pass(&mut near, &mut far, &frame, count)));
}

/// Two wires on one connection, whose ends trust each other.
async fn wires() -> (Wire<TcpStream>, Wire<TcpStream>) {
    let (near, far) = loopback::session().await;
    let near_link = Arc::new(Link::new(Role::Client));
    let far_link = Arc::new(Link::new(Role::Relay));
    far_link.admit();
    (Wire::new(near, Role::Client, &near_link), Wire::new(far, Role::Relay, &far_link))
}

/// Passes `count` frames from one end to the other.
async fn pass(near: &mut Wire<TcpStream>, far: &mut Wire<TcpStream>, frame: &Frame, count: usize) {
    let send = async {
        for _ in 0..count {
            near.write_all(&frame.header).await.expect("a header goes out");
            near.write_all(&frame.body).await.expect("a body goes out");
        }
        // What has been collected leaves before a read.
        near.read(&mut [0; HEADER]).await.expect("an open connection")
    };
    let receive = async {
        let (mut header, mut body) = ([0; HEADER], vec![0; frame.body.len()]);
        for _ in 0..count {
            far.read_exact(&mut header).await.expect("a header comes");
            far.read_exact(&mut body).await.expect("a body comes");
        }
    };
    tokio::select! {
        n = send => panic!("{n} bytes where none are sent"),
        () = receive => (),
    }
}

/// A frame of yamux's control stream, which the wire lets through unasked.
struct Frame {
    header: [u8; HEADER],
    body: Vec<u8>,
}

impl Frame {
    fn new(length: usize) -> Self {
        let mut header = [0; HEADER];
        header[4..8].copy_from_slice(&1_u32.to_be_bytes());
        header[8..].copy_from_slice(&(length as u32).to_be_bytes());
        Self { header, body: vec![b'd'; length] }
    }
}

/// The length of a yamux frame's header in bytes.
const HEADER: usize = 12;

/// Bytes of bodies that pass at a time.
const BATCH: usize = 1024 * 1024;
