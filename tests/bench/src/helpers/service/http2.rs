//! The local service in HTTP/2, for tunnels that pass on connections: it answers whatever is asked.

use std::io::Cursor;

use anyhow::Result;
use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, join};
use tokio::net::TcpStream;

use super::ANSWER;

/// Serves a connection of which some bytes have arrived.
pub(super) async fn serve(stream: TcpStream, arrived: Vec<u8>) -> Result<()> {
    let (reading, writing) = stream.into_split();
    let begun = join(Cursor::new(arrived).chain(reading), writing);
    let mut connection = h2::server::handshake(begun).await?;
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request?;
        let mut body = respond.send_response(Response::new(()), false)?;
        body.send_data(Bytes::from_static(&ANSWER), true)?;
    }
    Ok(())
}
