//! A relay and a client with one tunnel, as suites meet them.

use std::net::SocketAddr;
use std::path::PathBuf;

use tests::process::{Client, Program, Relay};
use tests::{Authority, Folder};

/// The host by which suites come: some take no other name that leads to this machine.
pub(crate) const HOST: &str = "localhost";

/// What the relay logs: no requests, of which there are a great many.
const LOG: &str = "info,access=warn,relay::visit=warn,relay::edge=warn";

/// A certificate for [`HOST`], in files.
#[derive(Debug)]
pub(crate) struct Certificate {
    folder: Folder,
    authority: PathBuf,
    _kept: Folder,
}

/// A tunnel that is live, until it is dropped.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// Where visitors come by HTTP.
    pub(crate) http: SocketAddr,
    /// Where they come by TLS.
    pub(crate) https: SocketAddr,
    /// Where those of a tunnel of TCP come.
    pub(crate) public: SocketAddr,
    _relay: Relay,
    _client: Client,
}

impl Certificate {
    /// A new one, of an authority of its own.
    pub(crate) fn new() -> Self {
        let (folder, kept, authority) = (Folder::new(), Folder::new(), Authority::new());
        authority.relay(HOST).write(&folder, "web.crt", "web.key");
        Self { folder, authority: kept.write("ca.pem", &authority.pem()), _kept: kept }
    }

    /// What is shown.
    pub(crate) fn shown(&self) -> PathBuf {
        self.folder.file("web.crt")
    }

    /// Its key.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.file("web.key")
    }

    /// The authority's own, for those who are to trust it.
    pub(crate) fn authority(&self) -> &PathBuf {
        &self.authority
    }
}

impl Tunnel {
    /// A tunnel to `target`. All requests for [`HOST`] come to it, or its connections of TLS; one
    /// of TCP is the tunnel `default`.
    pub(crate) async fn to(target: &str, certificate: &Certificate) -> Self {
        let relay = Program::relay()
            .env("RELAY_LOG", LOG)
            .args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--any-host", "--certs"])
            .args([certificate.folder.path()]);
        let relay = Relay::of(relay).await;
        let tunnel = if target.contains("://") {
            let sign = if target.contains('?') { '&' } else { '?' };
            format!("--tunnel=web={target}{sign}host={HOST}")
        } else {
            format!("--local={target}")
        };
        let client = Client::live_with(relay.control, &[&tunnel]).await;
        Self {
            http: relay.http.expect("a relay that serves HTTP"),
            https: relay.https.expect("a relay that serves HTTPS"),
            public: relay.public,
            _relay: relay,
            _client: client,
        }
    }
}
