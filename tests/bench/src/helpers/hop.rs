//! A plain TCP hop: tokio's own copy loop with large buffers, and nothing else.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Args;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::protocol::BULK_BUFFER;

#[derive(Debug, Args)]
pub(crate) struct HopArgs {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// Where every connection leads.
    #[arg(long)]
    to: SocketAddr,
}

// As many threads as cores, as any program of tokio's has unless it says otherwise.
#[tokio::main]
pub(super) async fn run(args: &HopArgs) -> Result<()> {
    let listener = TcpListener::bind(args.listen).await.context("binding a hop")?;
    super::announce(args.listen)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(carry(stream, args.to));
                    }
                    // Out of descriptors: no use in trying again before one is given back.
                    Err(_) => drop(connections.join_next().await),
                }
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn carry(mut near: TcpStream, to: SocketAddr) -> Result<()> {
    let mut far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut near, &mut far, BULK_BUFFER, BULK_BUFFER).await?;
    Ok(())
}
