//! Requests to an authority: each over a connection of its own, with bounds on all that comes back.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use shared::carry::tls::pem::{self, BadFile};
use shared::carry::tls::{provider, system_authorities};
use shared::kit::net::dial_server;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long an authority may take to answer one request. They are asked without haste.
const REQUEST: Duration = Duration::from_secs(30);

/// The longest answer that is read: a chain of certificates is a tenth of it.
const LONGEST_ANSWER: usize = 256 * 1024;

/// Longer than this nobody has to wait before an order is tried again, whatever the authority says.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Whom the relay takes for an authority. Cheap to clone.
#[derive(Clone)]
pub(in super::super) struct Trust(TlsConnector);

/// What asks an authority. Clones go together.
#[derive(Clone)]
pub(super) struct Https {
    tls: TlsConnector,
    /// Before then the authority does not want to be asked again.
    not_before: Arc<Mutex<Option<SystemTime>>>,
}

impl Trust {
    /// Those in the file alone, or those that the system trusts.
    ///
    /// # Errors
    ///
    /// The file does not hold what it should.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, BadFile> {
        let roots = match ca {
            None => system_authorities(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in pem::certificates(path, &pem::read(path)?)? {
                    roots.add(certificate).map_err(|err| BadFile::new(path, err))?;
                }
                roots
            }
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the versions that are the default")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(super) fn https(&self) -> Https {
        Https { tls: self.0.clone(), not_before: Arc::default() }
    }
}

impl Https {
    /// Before when the authority does not want to be asked again, if it has said so.
    pub(super) fn not_before(&self) -> Option<SystemTime> {
        *self.not_before.lock()
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let answer = timeout(REQUEST, self.exchange(request)).await;
        let answer = answer.unwrap_or_else(|_| Err("the authority does not answer".into()));
        answer.map_err(Error::Other)
    }

    async fn exchange(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, Box<dyn std::error::Error + Send + Sync>> {
        let uri = request.uri().clone();
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
        let host = host.ok_or("the authority sends us to what is no https:// URL")?;
        let host = host.trim_matches(['[', ']']);
        let socket = dial_server(host, uri.port_u16().unwrap_or(443)).await?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = self.tls.connect(name, socket).await?;

        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(authority)?);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse::<Uri>()?;

        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async move {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
            Ok(BytesResponse { parts, body: Box::new(body) })
        };
        let mut answer = std::pin::pin!(answer);
        // Without somebody who drives the connection there is no answer; when it has ended, what
        // has come is still there to be read.
        let answer: Result<BytesResponse, Box<dyn std::error::Error + Send + Sync>> = tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(err) => Err(io::Error::other(err).into()),
            },
        };
        let answer = answer?;
        self.note(&answer);
        Ok(answer)
    }

    /// Takes down how long the authority wants to be left alone.
    fn note(&self, answer: &BytesResponse) {
        let is_busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        if !is_busy.contains(&answer.parts.status) {
            return;
        }
        let seconds = answer.parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        // It could be a date as well, which no authority sends.
        if let Some(seconds) = seconds.and_then(|seconds| seconds.trim().parse().ok()) {
            let wait = Duration::from_secs(seconds).min(LONGEST_WAIT);
            *self.not_before.lock() = Some(SystemTime::now() + wait);
        }
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().ask(request))
    }
}
