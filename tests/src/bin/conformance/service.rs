//! nginx as a local service: one page for every request, by HTTP/2 with TLS and without.

use std::net::SocketAddr;

use tests::nginx::HTTP;
use tests::{Folder, local};

use crate::instruments::{Instruments, Running};
use crate::tunnel::Certificate;

/// An nginx that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    /// Where it speaks HTTP/2 without TLS, from the first byte on.
    pub(crate) h2c: SocketAddr,
    /// Where it speaks TLS, and HTTP/2 or 1.1 in it.
    pub(crate) tls: SocketAddr,
    process: Running,
    _folder: Folder,
}

impl Nginx {
    /// Starts one that shows `certificate`, and does TLS as the relay does as far as it is asked:
    /// 1.2 and 1.3, with forward secrecy and authenticated ciphers alone.
    pub(crate) async fn start(instruments: &Instruments, certificate: &Certificate) -> Self {
        let (h2c, tls) = (local::nobody().await, local::nobody().await);
        let folder = Folder::new();
        let (shown, key) = (certificate.shown(), certificate.key());
        let (shown, key) = (shown.display(), key.display());
        let config = format!(
            "http {{ {HTTP}\
             server {{ listen {h2c} http2; location / {{ return 200 \"hello\\n\"; }} }}\n\
             server {{ listen {tls} ssl http2; ssl_certificate {shown}; ssl_certificate_key {key};\n\
             ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;\n\
             ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;\n\
             location / {{ return 200 \"hello\\n\"; }} }} }}\n"
        );
        let command = tests::Nginx::command(&folder, &config).into();
        let process = instruments.serve(command, "nginx.log", tls).await;
        Self { h2c, tls, process, _folder: folder }
    }

    /// Expects that it has not ended.
    ///
    /// # Panics
    ///
    /// It has.
    pub(crate) fn expect_alive(&mut self) {
        self.process.expect_alive();
    }
}
