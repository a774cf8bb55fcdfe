//! The local service: does with each connection what its first line orders, or serves the web on it.
//!
//! It runs on one thread, so that on a small machine it takes the place of one ordinary local
//! program and not of two.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::protocol::{ANSWER_SIZE, BULK_BUFFER, Order, REQUEST_SIZE, parse_order};

mod http2;
mod web;

#[tokio::main(flavor = "current_thread")]
pub(super) async fn run() -> Result<()> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(any_port).await.context("binding the local service")?;
    super::announce(listener.local_addr().context("asking for the service's address")?)?;

    let sunk = Arc::new(AtomicU64::new(0));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve(stream, Arc::clone(&sunk)));
                    }
                    // Out of descriptors: no use in trying again before one is given back.
                    Err(_) => drop(connections.join_next().await),
                }
            }
            // A connection that ends in an error is the contender's doing and is seen by the load.
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, sunk: Arc<AtomicU64>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut arrived = [0; LINE_BUFFER];
    let mut length = 0;
    let (order, rest) = loop {
        let read = stream.read(&mut arrived[length..]).await?;
        if read == 0 {
            return Ok(());
        }
        length += read;
        if web::is_web(&arrived) {
            let arrived = arrived[..length].to_vec();
            return Box::pin(web::serve(stream, arrived, &sunk)).await;
        }
        if let Some(parsed) = parse_order(&arrived[..length])? {
            break parsed;
        }
    };
    match order {
        Order::Requests => answer_requests(&mut stream, rest.len(), u64::MAX).await,
        Order::Once => answer_requests(&mut stream, rest.len(), 1).await,
        Order::Source => send_for_ever(&mut stream).await,
        Order::Sink => {
            sunk.fetch_add(rest.len() as u64, Ordering::Relaxed);
            swallow(&mut stream, &sunk).await
        }
        Order::Sunk => tell_sunk(&mut stream, rest, &sunk).await,
    }
}

/// Answers requests of which `waiting` bytes have arrived already, at most `limit` of them.
async fn answer_requests(stream: &mut TcpStream, mut waiting: usize, limit: u64) -> Result<()> {
    let mut answered = 0;
    let mut buffer = [0; LINE_BUFFER];
    loop {
        while waiting >= REQUEST_SIZE {
            waiting -= REQUEST_SIZE;
            stream.write_all(&ANSWER).await?;
            answered += 1;
            if answered == limit {
                return Ok(stream.shutdown().await?);
            }
        }
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => waiting += read,
        }
    }
}

async fn send_for_ever(stream: &mut TcpStream) -> Result<()> {
    let buffer = vec![b'd'; BULK_BUFFER];
    loop {
        stream.write_all(&buffer).await?;
    }
}

async fn swallow(stream: &mut TcpStream, sunk: &AtomicU64) -> Result<()> {
    let mut buffer = vec![0; BULK_BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => sunk.fetch_add(read as u64, Ordering::Relaxed),
        };
    }
}

/// Answers questions, of which those in `waiting` have come together with the order.
async fn tell_sunk(stream: &mut TcpStream, waiting: &[u8], sunk: &AtomicU64) -> Result<()> {
    let (reading, mut writing) = stream.split();
    let mut questions = waiting.chain(reading);
    while questions.read_u8().await.is_ok() {
        writing.write_all(&sunk.load(Ordering::Relaxed).to_le_bytes()).await?;
    }
    Ok(())
}

/// Small, because each of ten thousand visitors has one.
const LINE_BUFFER: usize = 512;

static ANSWER: [u8; ANSWER_SIZE] = [b'a'; ANSWER_SIZE];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_question_that_comes_with_its_order_is_answered() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut asker = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        asker.write_all(format!("{}??", Order::Sunk).as_bytes()).await.unwrap();

        let mut connections = JoinSet::new();
        connections.spawn(serve(stream, Arc::new(AtomicU64::new(7))));
        for _ in 0..2 {
            let answer = timeout(Duration::from_secs(5), asker.read_u64_le());
            assert_eq!(answer.await.expect("an answer").unwrap(), 7);
        }
    }
}
