//! How our own relay and client are started.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use super::{Contender, Place, Recipe};
use crate::programs::Programs;

/// The connections of a client that has several.
pub(super) const MANY: u16 = 8;

/// How long they may take to come up, and how often to look.
const COMPLETE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(20));

pub(super) fn recipe(programs: &Programs, place: &Place<'_>, connections: u16) -> Result<Recipe> {
    let mut server = programs.command("relay")?;
    server
        .args(["--control", &place.control.to_string()])
        .args(["--public", &place.public.to_string()])
        .args(["--admin", &place.spare.to_string()]);
    let mut client = programs.command("client")?;
    client.args(["--server", &place.reach.to_string()]).args(["--local", &place.local.to_string()]);
    if connections > 1 {
        client.args(["--connections", &connections.to_string()]);
    }
    Ok(Recipe { server, client })
}

/// Waits until all connections are up, of which the first carries visitors already.
pub(crate) async fn until_complete(contender: Contender, admin: SocketAddr) -> Result<()> {
    if contender != Contender::OursEight {
        return Ok(());
    }
    let wanted = format!("relay_sessions {MANY}\n");
    let complete = async {
        let mut looks = interval(COMPLETE.1);
        loop {
            looks.tick().await;
            let mut socket = TcpStream::connect(admin).await?;
            socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await?;
            if answer.contains(&wanted) {
                return Ok(());
            }
        }
    };
    timeout(COMPLETE.0, complete).await.context("not all connections came up")?
}
