//! The relay's address, and the flags of TLS on the way to it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::builder::BoolishValueParser;
use rustls::pki_types::ServerName;
use shared::carry::tls::{BadPin, Pin, TlsMin};
use shared::kit::net::HostPort;

use crate::config::{BadSettings, TlsSettings};

/// `HOST:PORT`, with or without a scheme in front.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) scheme: Option<Scheme>,
    pub(super) address: HostPort,
}

/// How the relay is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `tcp://`
    Tcp,
    /// `tls://`
    Tls,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let schemes = [("tcp://", Scheme::Tcp), ("tls://", Scheme::Tls)];
        let found = schemes.iter().find_map(|(prefix, scheme)| {
            text.strip_prefix(prefix).map(|address| (Some(*scheme), address))
        });
        let (scheme, address) = found.unwrap_or((None, text));
        if let Some((scheme, _)) = address.split_once("://") {
            return Err(format!("'{scheme}://' is no way to a relay: use tls:// or tcp://"));
        }
        let address: HostPort = address.parse().map_err(|err| format!("{err}"))?;
        if address.host.is_none() {
            return Err("needs a host as well, such as relay.example:4444".into());
        }
        if address.port == 0 {
            return Err("the port must not be 0".into());
        }
        Ok(Self { scheme, address })
    }
}

/// How the client trusts its relay, and the relay its client.
#[derive(Debug, Args)]
pub(super) struct TlsArgs {
    /// Speak TLS with the relay, as --server tls://HOST:PORT says too
    #[arg(long, env = "CLIENT_TLS", value_parser = BoolishValueParser::new())]
    tls: bool,

    /// Trust relays of the authorities in this file, in PEM, and no others
    #[arg(long, env = "CLIENT_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Trust a relay with this key, whatever else its certificate says; several with commas
    #[arg(long, env = "CLIENT_TLS_PIN", value_name = "sha256:PIN")]
    tls_pin: Vec<Pins>,

    /// The name that the relay's certificate has to have [default: the host of --server]
    #[arg(long, env = "CLIENT_TLS_NAME", value_name = "NAME", value_parser = name)]
    tls_name: Option<ServerName<'static>>,

    /// The certificate of this client, in PEM, for a relay that wants one
    #[arg(long, env = "CLIENT_TLS_CLIENT_CERT", value_name = "FILE")]
    tls_client_cert: Option<PathBuf>,

    /// The key of --tls-client-cert, in PEM
    #[arg(long, env = "CLIENT_TLS_CLIENT_KEY", value_name = "FILE")]
    tls_client_key: Option<PathBuf>,

    /// The oldest version of TLS that is spoken
    #[arg(long, env = "CLIENT_TLS_MIN", value_name = "VERSION", default_value = "1.3")]
    tls_min: TlsMin,
}

impl TlsArgs {
    /// The settings that the arguments describe, for a relay with an address of this scheme.
    ///
    /// # Errors
    ///
    /// Half a pair, or a contradiction.
    pub(super) fn into_settings(self, scheme: Option<Scheme>) -> Result<TlsSettings, BadSettings> {
        let bad = |key, must| Err(BadSettings::Setting { key, must });
        if self.tls && scheme == Some(Scheme::Tcp) {
            return bad("tls", "does not go with --server tcp://HOST:PORT");
        }
        let identity = match (self.tls_client_cert, self.tls_client_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(_), None) => return bad("tls-client-cert", "needs tls-client-key as well"),
            (None, Some(_)) => return bad("tls-client-key", "needs tls-client-cert as well"),
        };
        Ok(TlsSettings {
            on: self.tls,
            in_server: scheme == Some(Scheme::Tls),
            ca: self.tls_ca,
            pins: self.tls_pin.into_iter().flat_map(|pins| pins.0).collect(),
            name: self.tls_name,
            identity,
            min: self.tls_min,
        })
    }
}

/// The pins in one value: a variable or a key holds them all.
#[derive(Clone, Debug)]
struct Pins(Vec<Pin>);

impl FromStr for Pins {
    type Err = BadPin;

    fn from_str(text: &str) -> Result<Self, BadPin> {
        text.split([',', ' '])
            .filter(|pin| !pin.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn name(text: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(text).map_err(|_| format!("'{text}' is no name or address"))?;
    Ok(name.to_owned())
}
