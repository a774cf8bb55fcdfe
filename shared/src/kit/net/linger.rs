//! The end of a connection whose other end has been told why.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the other end may take to take an end, or to read and close.
const LINGER: Duration = Duration::from_secs(1);

/// So much of what it still says is read and thrown away at most, in bytes.
const MOST_DISCARDED: u64 = 64 * 1024;

/// Lets the other end read what it was told before the connection ends: to close with unread data
/// would be a reset, which can overtake that. Takes a second at most.
pub async fn linger(mut socket: TcpStream) {
    let parting = async {
        socket.shutdown().await?;
        copy(&mut socket.take(MOST_DISCARDED), &mut sink()).await
    };
    // It does not matter how it ends.
    drop(timeout(LINGER, parting).await);
}

/// The same for a connection whose own direction has ended, and of which up to `most` bytes may still
/// be on their way.
pub async fn linger_after_end(stream: impl AsyncRead + Unpin, most: u64) {
    drop(timeout(LINGER, copy(&mut stream.take(most), &mut sink())).await);
}

/// Ends this direction of a connection on which nothing is waited for, whether the other end takes
/// that or not. Takes a second at most.
pub async fn shut_down(mut stream: impl AsyncWrite + Unpin) {
    drop(timeout(LINGER, stream.shutdown()).await);
}
