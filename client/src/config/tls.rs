//! TLS on the way to the relay.

use std::path::PathBuf;

use rustls::pki_types::ServerName;
use shared::carry::tls::{Pin, TlsMin};
use shared::kit::settings::Row;

use super::{BadSettings, check};

/// Whether and how a client speaks TLS with its relay. As by default it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// TLS is asked for by itself.
    pub on: bool,
    /// TLS is asked for by the relay's address, `tls://HOST:PORT`.
    pub in_server: bool,
    /// The authorities to trust, and no others. `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// The keys that the relay may have. Without any, its certificate has to be of an authority.
    pub pins: Vec<Pin>,
    /// The name that the relay has to have. `None`: the host of its address.
    pub name: Option<ServerName<'static>>,
    /// The certificate of this client, and the key of it.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The oldest version that is spoken.
    pub min: TlsMin,
}

/// What is said of something that means nothing without TLS.
const NEEDS_TLS: &str = "needs TLS: --tls, or --server tls://HOST:PORT";

impl TlsSettings {
    /// Whether the client speaks TLS with its relay.
    pub fn is_on(&self) -> bool {
        self.on || self.in_server
    }

    /// Whether it goes with a relay at `host`.
    pub(super) fn check(&self, host: Option<&str>) -> Result<(), BadSettings> {
        let Self { on: _, in_server: _, ca, pins, name, identity, min: _ } = self;
        let is_on = self.is_on();
        // Whoever asks for it counts on it.
        check("tls-ca", is_on || ca.is_none(), NEEDS_TLS)?;
        check("tls-pin", is_on || pins.is_empty(), NEEDS_TLS)?;
        check("tls-name", is_on || name.is_none(), NEEDS_TLS)?;
        check("tls-client-cert", is_on || identity.is_none(), NEEDS_TLS)?;
        let one = ca.is_none() || pins.is_empty();
        check("tls-pin", one, "does not go with tls-ca: a pin needs no authority")?;
        let has_name =
            name.is_some() || host.is_some_and(|host| ServerName::try_from(host).is_ok());
        check("server", !is_on || has_name, "has a host that TLS cannot check: use tls-name")
    }

    /// Every setting with its key, in the order of the documentation.
    pub(super) fn rows(&self) -> Vec<Row> {
        // All are named, so that a new one is not forgotten.
        let Self { on, in_server: _, ca, pins, name, identity, min } = self;
        let path = |key, path: Option<&PathBuf>| {
            let shown = path.map(|path| path.display().to_string());
            Row::optional(key, shown.as_deref())
        };
        let pins: Vec<String> = pins.iter().map(ToString::to_string).collect();
        let pins = Some(pins.join(",")).filter(|pins| !pins.is_empty());
        let (certificate, key) = identity.as_ref().map(|(cert, key)| (cert, key)).unzip();
        vec![
            Row::new("tls", on),
            path("tls-ca", ca.as_ref()),
            Row::optional("tls-pin", pins.as_deref()),
            Row::optional("tls-name", name.as_ref().map(ServerName::to_str).as_deref()),
            path("tls-client-cert", certificate),
            path("tls-client-key", key),
            Row::new("tls-min", min),
        ]
    }
}
