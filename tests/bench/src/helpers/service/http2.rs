//! The local service in HTTP/2, for tunnels that pass on connections: it answers whatever is asked.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ANSWER;

/// Serves a connection of which some bytes have arrived.
pub(super) async fn serve(stream: TcpStream, arrived: Vec<u8>) -> Result<()> {
    let mut connection = h2::server::handshake(Begun { arrived, stream }).await?;
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request?;
        let mut body = respond.send_response(Response::new(()), false)?;
        body.send_data(Bytes::from_static(&ANSWER), true)?;
    }
    Ok(())
}

/// A connection with what has been read of it already.
struct Begun {
    arrived: Vec<u8>,
    stream: TcpStream,
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.arrived.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.arrived.len().min(buffer.remaining());
        buffer.put_slice(&self.arrived[..length]);
        self.arrived.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
