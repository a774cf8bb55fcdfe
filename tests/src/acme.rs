//! A real authority (pebble), and a relay that orders certificates there.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use relay::{AcmeSettings, CertificateSettings, Relay, VisitorCerts};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use serde_json::{Value, json};
use shared::carry::tls::install_provider;
use shared::kit::stop::Stop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::authority::Authority;
use crate::files::Folder;
use crate::process::{kill, own_host};
use crate::scrape::{self, Scrape};
use crate::tasks::Tasks;
use crate::wait::{eventually, within};

/// Where the authority looks for answers, at the address of every name.
const HTTP: u16 = 5002;

/// The same for TLS.
const TLS: u16 = 5001;

/// The ports of its parts. The address is the test's own.
const DIRECTORY: u16 = 14000;
const MANAGEMENT: u16 = 15000;
const DNS: u16 = 8053;
const DNS_MANAGEMENT: u16 = 8055;

/// An authority of its own for one test, with a DNS in which every name leads to the test's
/// address. Both go with it.
#[derive(Debug)]
pub struct Pebble {
    host: Ipv4Addr,
    folder: Folder,
    /// Of its own servers' certificates.
    authority: Authority,
    settings: Value,
    /// The name server that it asks, if it is not its own.
    asks: Option<SocketAddr>,
    running: Mutex<Vec<Child>>,
}

impl Pebble {
    /// An authority that issues whatever is shown to be somebody's.
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// An authority whose settings are changed by `adjust`.
    ///
    /// # Panics
    ///
    /// It is not installed (see tests/programs), or does not start.
    pub async fn start_with(adjust: impl FnOnce(&mut Value)) -> Self {
        Self::begin(adjust, None).await
    }

    /// An authority that looks for records at this name server.
    pub async fn start_asking(dns: SocketAddr) -> Self {
        Self::begin(|_| (), Some(dns)).await
    }

    async fn begin(adjust: impl FnOnce(&mut Value), asks: Option<SocketAddr>) -> Self {
        let (host, folder, authority) = (own_host(), Folder::new(), Authority::new());
        authority.relay(&host.to_string()).write(&folder, "cert.pem", "key.pem");
        folder.write("ca.pem", &authority.pem());
        let mut settings = json!({
            "listenAddress": format!("{host}:{DIRECTORY}"),
            "managementListenAddress": format!("{host}:{MANAGEMENT}"),
            "certificate": folder.file("cert.pem"),
            "privateKey": folder.file("key.pem"),
            "httpPort": HTTP,
            "tlsPort": TLS,
            "keyAlgorithm": "ecdsa",
        });
        adjust(&mut settings);
        let running = Mutex::default();
        let pebble = Self { host, folder, authority, settings, asks, running };
        pebble.start_again().await;
        pebble
    }

    /// Ends it from one moment to the next.
    pub async fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        for mut child in running {
            within("the authority to end", child.kill()).await.expect("a process");
        }
    }

    /// Starts it with a new key, and without knowing anybody.
    pub async fn start_again(&self) {
        let host = self.host;
        let settings = json!({ "pebble": self.settings }).to_string();
        let settings = self.folder.write("pebble.json", &settings);
        let mut names = self.program("pebble-challtestsrv");
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]);
        names.args(["-dnsserver", &format!("{host}:{DNS}"), "-defaultIPv6", ""]);
        names.args(["-management", &format!("{host}:{DNS_MANAGEMENT}")]);
        names.args(["-defaultIPv4", &host.to_string()]);
        let mut pebble = self.program("pebble");
        let dns = self.asks.unwrap_or_else(|| SocketAddr::from((host, DNS)));
        pebble.arg("-config").arg(settings).args(["-dnsserver", &dns.to_string()]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        pebble.env("PEBBLE_AUTHZREUSE", "0");
        let needed = "pebble: see tests/programs";
        *self.running.lock() = vec![names.spawn().expect(needed), pebble.spawn().expect(needed)];
        for port in [DIRECTORY, MANAGEMENT, DNS_MANAGEMENT] {
            eventually("the authority to listen", async || {
                TcpStream::connect((host, port)).await.is_ok()
            })
            .await;
        }
    }

    fn program(&self, name: &str) -> Command {
        let log = File::create(self.folder.file(&format!("{name}.log"))).expect("a log");
        let mut command = Command::new(name);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        command.kill_on_drop(true);
        command
    }

    /// Its address, which is that of every name.
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// What a relay needs to order there.
    pub fn settings(&self) -> AcmeSettings {
        AcmeSettings {
            on: true,
            directory: format!("https://{}:{DIRECTORY}/dir", self.host),
            agree_tos: true,
            ca: Some(self.folder.file("ca.pem")),
            ..AcmeSettings::default()
        }
    }

    /// A name leads to this address from now on.
    pub async fn lead(&self, name: &str, to: Ipv4Addr) {
        let body = json!({ "host": format!("{name}."), "addresses": [to] }).to_string();
        let mut names = within("the DNS", TcpStream::connect((self.host, DNS_MANAGEMENT))).await;
        let names = names.as_mut().expect("the DNS");
        names.write_all(post("/add-a", &body).as_bytes()).await.expect("the DNS");
        let mut answer = Vec::new();
        within("the DNS", names.read_to_end(&mut answer)).await.expect("an answer");
        assert_eq!(scrape::parse(answer).0, 200);
    }

    /// A program that puts records into the DNS, and takes them out, and takes down what it has
    /// done in a file.
    pub fn dns_hook(&self) -> PathBuf {
        let (host, log) = (self.host, self.folder.file("hook.log"));
        let script = format!(
            "#!/bin/bash
set -e
echo \"$1 $2 $3\" >>{log}
body=\"{{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$4\\\"}}\"
[ \"$1\" = add ] && path=/set-txt || path=/clear-txt
exec 3<>/dev/tcp/{host}/{DNS_MANAGEMENT}
printf 'POST %s HTTP/1.0\\r\\nContent-Length: %s\\r\\n\\r\\n%s' $path ${{#body}} \"$body\" >&3
read -r status <&3
[[ $status == *200* ]]
",
            log = log.display(),
        );
        self.folder.program("hook", &script)
    }

    /// What the hook has done so far.
    pub fn hooked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.file("hook.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// How often the authority has been asked for something of which this stands in its log.
    pub fn logged(&self, text: &str) -> usize {
        let log = fs::read_to_string(self.folder.file("pebble.log")).expect("its log");
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// How many orders have been placed.
    pub fn orders(&self) -> usize {
        self.logged("Added order")
    }

    /// The authority wants this certificate renewed at once.
    pub async fn wants_renewed(&self, certificate: &CertificateDer<'static>) {
        let encoded = data_encoding::BASE64.encode(certificate);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
        let window = json!({ "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" });
        let info = json!({ "suggestedWindow": window }).to_string();
        let body = json!({ "certificate": pem, "ariResponse": info }).to_string();
        let (status, answer) = self.manage(post("/set-renewal-info/", &body)).await;
        assert_eq!(status, 200, "{answer}: pebble 2.8 or newer is needed");
    }

    /// What visitors who trust this authority trust.
    pub async fn visitors(&self) -> Visitors {
        let request = "GET /roots/0 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let (status, root) = self.manage(request.to_owned()).await;
        assert_eq!(status, 200, "{root}");
        Visitors::trusting(CertificateDer::from_pem_slice(root.as_bytes()).expect("a root"))
    }

    async fn manage(&self, request: String) -> (u16, String) {
        let mut config = self.authority.client_config();
        config.alpn_protocols.clear();
        let config = Arc::new(config);
        let name = ServerName::from(std::net::IpAddr::from(self.host));
        let answer = within("the authority's management", async {
            let socket = TcpStream::connect((self.host, MANAGEMENT)).await?;
            let mut stream = TlsConnector::from(config).connect(name, socket).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            // Its end is none that TLS knows.
            drop(stream.read_to_end(&mut answer).await);
            Ok::<_, std::io::Error>(answer)
        });
        scrape::parse(answer.await.expect("an answer"))
    }

    /// Shows what the two have logged, if the test has failed.
    #[expect(clippy::print_stderr, reason = "the output of a test that has failed")]
    fn show(&self) {
        for name in ["pebble.log", "hook.log"] {
            let log = fs::read_to_string(self.folder.file(name)).unwrap_or_default();
            log.lines().for_each(|line| eprintln!("{name}: {line}"));
        }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        self.running.get_mut().iter_mut().for_each(kill);
    }
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nUser-Agent: test\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Visitors by HTTPS.
#[derive(Clone, Debug)]
pub struct Visitors(Arc<ClientConfig>);

impl Visitors {
    /// The same, who come back with what they were given the last time.
    #[must_use]
    pub fn resuming(&self) -> Self {
        let mut config = (*self.0).clone();
        config.resumption = Resumption::in_memory_sessions(16);
        Self(Arc::new(config))
    }

    /// Those that trust this authority alone.
    pub fn trusting(root: CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(root).expect("an authority");
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        // Whoever comes back is shown nothing.
        config.resumption = Resumption::disabled();
        Self(Arc::new(config))
    }
}

/// A relay that has certificates for visitors, and listens as the authority expects it.
#[derive(Debug)]
pub struct Certified {
    /// The certificates.
    pub certs: VisitorCerts,
    admin: SocketAddr,
    tls: SocketAddr,
    stop: Stop,
    relay: JoinSet<anyhow::Result<()>>,
    listeners: Tasks,
}

impl Certified {
    /// A relay that orders at `pebble` with these settings, and keeps what it gets in `data`.
    pub async fn start(pebble: &Pebble, acme: AcmeSettings, data: &Folder) -> Self {
        let certificates = CertificateSettings { folder: None, acme };
        Self::start_with(pebble.host, |settings| {
            settings.data = Some(data.file("data"));
            settings.certificates = certificates;
        })
        .await
    }

    /// The same, with the program that writes to the DNS of `pebble`.
    pub async fn start_with_hook(pebble: &Pebble, acme: AcmeSettings, data: &Folder) -> Self {
        Self::start_with(pebble.host, |settings| {
            settings.data = Some(data.file("data"));
            settings.certificates = CertificateSettings { folder: None, acme };
            settings.domains.hook = Some(pebble.dns_hook());
        })
        .await
    }

    /// A relay on `host`, set up by `adjust`.
    pub async fn start_with(host: Ipv4Addr, adjust: impl FnOnce(&mut relay::Settings)) -> Self {
        install_provider();
        let mut settings = relay::Settings::loopback();
        // Nobody proves whose the hosts are.
        settings.domains.any_host = true;
        adjust(&mut settings);
        let config = relay::Config::new(settings).expect("settings that can run");
        let relay = Relay::bind(config).await.expect("a relay on loopback");
        let (certs, admin) = (relay.certs().clone(), relay.addrs().admin);
        let (stop, mut running, mut listeners) = (Stop::new(), JoinSet::new(), Tasks::new());
        running.spawn(relay.run(stop.clone()));
        let http = TcpListener::bind((host, HTTP)).await.expect("the port of http-01");
        let tls = TcpListener::bind((host, TLS)).await.expect("the port of tls-alpn-01");
        let tls_addr = tls.local_addr().expect("a listener with an address");
        listeners.spawn(serve_http(http, certs.clone()));
        listeners.spawn(serve_tls(tls, certs.clone()));
        Self { certs, admin, tls: tls_addr, stop, relay: running, listeners }
    }

    /// The certificate that a visitor of `host` sees. `None`: it has none, or none that is trusted.
    pub async fn shown(&self, visitors: &Visitors, host: &str) -> Option<CertificateDer<'static>> {
        let visitor = self.visit(visitors, host).await?;
        visitor.peer_certificates()?.first().cloned()
    }

    /// How the visitor's handshake went. `None`: it failed.
    pub async fn handshake(&self, visitors: &Visitors, host: &str) -> Option<HandshakeKind> {
        self.visit(visitors, host).await?.handshake_kind()
    }

    async fn visit(&self, visitors: &Visitors, host: &str) -> Option<ClientConnection> {
        let socket = within("a connection", TcpStream::connect(self.tls)).await.ok()?;
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::clone(&visitors.0));
        let mut stream = within("a handshake", connector.connect(name, socket)).await.ok()?;
        let mut hello = Vec::new();
        within("a greeting", stream.read_to_end(&mut hello)).await.ok()?;
        assert_eq!(hello, b"hello");
        Some(stream.into_inner().1)
    }

    /// Waits until a visitor of `host` sees a certificate that is trusted.
    pub async fn serves(&self, visitors: &Visitors, host: &str) -> CertificateDer<'static> {
        self.serves_another(visitors, host, None).await
    }

    /// Waits until a visitor of `host` sees one that is not `old`.
    pub async fn serves_another(
        &self,
        visitors: &Visitors,
        host: &str,
        old: Option<&CertificateDer<'static>>,
    ) -> CertificateDer<'static> {
        let mut seen = None;
        eventually(&format!("a certificate for {host}"), async || {
            seen = self.shown(visitors, host).await.filter(|seen| Some(seen) != old);
            seen.is_some()
        })
        .await;
        seen.expect("a certificate")
    }

    /// The relay's metrics.
    pub async fn metrics(&self) -> Scrape {
        scrape::scrape(self.admin).await
    }

    /// How many orders have come to this.
    pub async fn orders(&self, outcome: &str) -> usize {
        let series = format!("relay_certificate_orders_total{{outcome=\"{outcome}\"}}");
        self.metrics().await.value(&series).expect("a counter") as usize
    }

    /// Waits until so many orders have come to this.
    pub async fn counts(&self, outcome: &str, orders: usize) {
        eventually(&format!("{orders} orders that are {outcome}"), async || {
            self.orders(outcome).await == orders
        })
        .await;
    }

    /// Stops the relay, and gives back its ports.
    pub async fn stop(mut self) {
        self.stop.gracefully.cancel();
        while let Some(ended) = within("the relay to end", self.relay.join_next()).await {
            ended.expect("no panic").expect("a clean end");
        }
        drop(self.listeners);
    }
}

/// As the relay's listener for plain HTTP is to do it.
async fn serve_http(listener: TcpListener, certs: VisitorCerts) {
    let mut connections = Tasks::new();
    while let Ok((mut socket, _)) = listener.accept().await {
        let certs = certs.clone();
        connections.spawn(async move {
            let mut head = vec![0; 4096];
            let read = socket.read(&mut head).await.unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
            let (status, body) = match certs.http01(token) {
                Some(authorization) => ("200 OK", authorization),
                None => ("404 Not Found", String::new()),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            // Whoever has gone does not need it.
            drop(socket.write_all(answer.as_bytes()).await);
        });
    }
}

/// As the relay's listener for HTTPS is to do it: visitors are greeted.
async fn serve_tls(listener: TcpListener, certs: VisitorCerts) {
    let config = certs.server_config(&[b"http/1.1"]).expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut connections = Tasks::new();
    while let Ok((socket, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let Ok(mut stream) = acceptor.accept(socket).await else { return };
            if !VisitorCerts::is_challenge(stream.get_ref().1.alpn_protocol()) {
                drop(stream.write_all(b"hello").await);
            }
            drop(stream.shutdown().await);
        });
    }
}
