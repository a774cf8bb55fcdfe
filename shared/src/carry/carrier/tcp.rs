//! Plain TCP as a carrier.

use std::io::{self, IoSliceMut};
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::Carry;
use crate::kit::net::limit_unsent;

impl Carry for TcpStream {
    fn limit_unsent(&self, bytes: usize) {
        limit_unsent(self, bytes as u32);
    }

    fn poll_read_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            match self.try_read_vectored(bufs) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => (),
                read => return Poll::Ready(read),
            }
        }
    }
}
