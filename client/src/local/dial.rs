//! From a visit to its local service.

use std::io;
use std::path::Path;

use shared::kit::net::{dial_service, is_out_of_files};
use shared::visit::record::FailureReason;
use shared::visit::socket::ResetUnlessEnded;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::secured::SecuredSocket;
use crate::tls::ServiceTls;
use crate::tunnel::LocalService;

/// A connection to a local service.
pub(super) enum Local {
    Tcp(ResetUnlessEnded<TcpStream>),
    #[cfg(unix)]
    Unix(ResetUnlessEnded<UnixStream>),
    Tls(ResetUnlessEnded<SecuredSocket>),
}

impl Local {
    /// Writes what comes in front of a visit.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.write_all(bytes).await,
            #[cfg(unix)]
            Self::Unix(socket) => socket.write_all(bytes).await,
            Self::Tls(socket) => socket.write_all(bytes).await,
        }
    }
}

/// Connects to a local service. Callers set a deadline.
///
/// # Cancel safety
///
/// Cancel safe: what has been begun is closed.
///
/// # Errors
///
/// Whatever keeps the two apart, for a person.
pub(super) async fn dial(service: &LocalService, tls: &ServiceTls) -> io::Result<Local> {
    match service {
        LocalService::Tcp(address) => {
            let (host, port) = address.or_host("127.0.0.1");
            let socket = dial_service(host, port).await?;
            Ok(Local::Tcp(ResetUnlessEnded::new(socket)))
        }
        LocalService::Unix(path) => dial_unix(path).await,
        LocalService::Tls(at, trust) => {
            let (host, port) = at.address();
            let socket = dial_service(&host, port).await?;
            let stream = tls.over(socket, at, trust).await?;
            Ok(Local::Tls(ResetUnlessEnded::new(SecuredSocket::new(stream))))
        }
    }
}

#[cfg(unix)]
async fn dial_unix(path: &Path) -> io::Result<Local> {
    UnixStream::connect(path).await.map(|socket| Local::Unix(ResetUnlessEnded::new(socket)))
}

/// Only Unix systems have such sockets.
#[cfg(not(unix))]
async fn dial_unix(_: &Path) -> io::Result<Local> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Why a local service cannot be reached, for the relay.
pub(super) fn reason(err: &io::Error) -> FailureReason {
    match err.kind() {
        _ if is_out_of_files(err) => FailureReason::Limit,
        io::ErrorKind::TimedOut => FailureReason::TimedOut,
        _ => FailureReason::Refused,
    }
}
