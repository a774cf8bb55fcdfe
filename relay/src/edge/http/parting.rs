//! The last words of a visitor's connection, which is not closed before they are read.
//!
//! A visitor who is still sending would be reset by a close, and that can overtake an answer (RFC 9112,
//! section 9.6). hyper closes what it has, so it is only [lent](super::lent) the stream.

use shared::kit::net::linger_after_end;
use tokio::io::AsyncRead;

/// So much of what a visitor still says is read and thrown away at most, in bytes: what a fast one has
/// under way before the answer gets there.
const MOST_DISCARDED: u64 = 16 * 1024 * 1024;

/// Gives a visitor the time to read what it was told on a connection whose own direction has ended.
pub(super) async fn linger(stream: impl AsyncRead + Unpin) {
    linger_after_end(stream, MOST_DISCARDED).await;
}
