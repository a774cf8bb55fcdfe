//! A client of ours that this process plays: it comes to the relay and leaves at once.

use std::future::ready;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use shared::carry::mux::{CLOSE, Mux, Running};
use shared::carry::tls::{ALPN, Tls, TlsMin, pem, provider};
use shared::carry::{Carrier, Role};
use shared::control::channel::Control;
use shared::control::protocol::{
    Credential, EntranceRequest, FromClient, FromRelay, HANDSHAKE_TIMEOUT, Hello, InstanceId,
    MAX_MESSAGE, MAX_STREAMS, TunnelRequest, VERSION,
};
use shared::kit::net::Rules;
use shared::token::{Challenge, Token};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::contenders::fleet::FleetTunnel;

/// A client with one tunnel, which comes back as often as it is told to.
#[derive(Debug)]
pub(crate) struct Client {
    control: SocketAddr,
    hello: Hello,
    pass: Option<Pass>,
}

/// What a client comes in with where TLS and a token are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
    token: Token,
}

/// How the client and the relay came to an agreement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Agreement {
    /// Without TLS.
    Plain,
    /// With all that belongs to a handshake of TLS.
    Full,
    /// By what they remembered of each other.
    Resumed,
}

impl Pass {
    /// For the relay with that certificate. Whoever `remembers` it resumes from the second time on.
    pub(crate) fn new(certificate: &Path, token: &str, remembers: bool) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for found in pem::certificates(certificate, &pem::read(certificate)?)? {
            roots.add(found).context("trusting the relay's certificate")?;
        }
        let mut tls = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(TlsMin::default().versions())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        if !remembers {
            tls.resumption = Resumption::disabled();
        }
        let name = ServerName::try_from(NAME).context("the relay's name")?;
        let token = token.parse().context("the token that relay init has made")?;
        Ok(Self { tls: Arc::new(tls), name, token })
    }

    /// The token with its proof for this session.
    fn credential(&self, mux: &Mux) -> Credential {
        let binding = mux.link().channel().binding();
        Credential::Token {
            token: self.token.presented().clone(),
            proof: binding.map(|binding| self.token.prove(&Challenge::Channel(binding))),
        }
    }
}

impl Client {
    /// A client unlike any other, for that tunnel.
    pub(crate) fn new(
        control: SocketAddr,
        tunnel: &FleetTunnel,
        pass: Option<Pass>,
    ) -> Result<Self> {
        let port = Some(tunnel.public.port());
        let request = TunnelRequest {
            name: tunnel.name.parse().context("a tunnel's name")?,
            entrances: vec![EntranceRequest::Tcp { port, prefer: None }],
            local: String::new(),
            withdraw: false,
            healthy: true,
            destination: false,
            rules: Rules::default(),
            http: None,
        };
        let hello = Hello {
            version: VERSION,
            agent: "bench".to_owned(),
            instance: InstanceId::random(),
            connection: 0,
            max_streams: MAX_STREAMS,
            server: NAME.parse().context("the relay's name")?,
            credential: None,
            tunnels: vec![request],
        };
        Ok(Self { control, hello, pass })
    }

    /// Dials, is let in with its tunnel, says goodbye and is gone.
    pub(crate) async fn come_and_go(&self) -> Result<Agreement> {
        let visit = async {
            let (carrier, agreement) = self.dial().await?;
            self.session(carrier).await?;
            Ok(agreement)
        };
        timeout(HANDSHAKE_TIMEOUT + CLOSE, visit).await.context("the relay takes too long")?
    }

    async fn dial(&self) -> Result<(Carrier, Agreement)> {
        let socket = TcpStream::connect(self.control).await.context("dialling the relay")?;
        socket.set_nodelay(true).context("setting nodelay")?;
        let Some(Pass { tls, name, .. }) = &self.pass else {
            return Ok((Carrier::Tcp(socket), Agreement::Plain));
        };
        let tls = Tls::connect(Arc::clone(tls), name.clone(), socket).await.context("TLS")?;
        let agreement = if tls.is_resumed() { Agreement::Resumed } else { Agreement::Full };
        Ok((tls.into(), agreement))
    }

    async fn session(&self, carrier: Carrier) -> Result<()> {
        let mut running = Running::start(ready(Ok(carrier)), Role::Client, MAX_STREAMS as usize);
        let stream = running.mux.open().await.ok().context("the relay has hung up")?;
        let mut control = Control::new(stream.io.compat(), MAX_MESSAGE);
        let mut hello = self.hello.clone();
        hello.credential = self.pass.as_ref().map(|pass| pass.credential(&running.mux));
        control.send(&FromClient::Hello(hello)).await.context("saying hello")?;
        match control.receive().await.ok().context("the relay gives no answer")? {
            FromRelay::Welcome(_) => (),
            FromRelay::Refused(refusal) => bail!("the relay refused: {refusal}"),
            other => bail!("the relay says {other:?} instead of welcome"),
        }
        let goodbye = FromClient::Goodbye { reason: "measured".to_owned() };
        control.send(&goodbye).await.context("saying goodbye")?;
        drop(control);
        running.close(CLOSE).await;
        Ok(())
    }
}

/// A name that the relay's certificate has.
const NAME: &str = "localhost";
