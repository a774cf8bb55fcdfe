//! A relay, a good tenant, and one attack.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Reconnect, Settings, TlsSettings};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use shared::carry::tls::{ALPN, pem};
use shared::token::Token;
use tests::kept::Kept;
use tests::process::{Client, Program, Relay};
use tests::secured::pinned;
use tests::{Secured, local};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::attacks::{Attack, Certificate, Outcome};
use crate::table::Row;
use crate::tenant::{GREETING, Seen, live};

/// How long it is measured before the attack.
const BEFORE: Duration = Duration::from_secs(3);

/// What the relay logs: no visits, of which there are a great many.
const LOG: &str = "info,relay::visit=error,relay::edge=error";

/// The good tenant, and whoever attacks from within.
pub(crate) const GOOD: &str = "ann";
pub(crate) const BAD: &str = "eve";

/// What attackers find.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The relay that is attacked. It goes before its folder does.
    pub(crate) relay: Relay,
    /// Users, tokens, and the relay's folder.
    pub(crate) kept: Kept,
    /// Where its certificate is, if not in its folder.
    pub(crate) secured: Option<Secured>,
    /// How clients of ours trust it.
    pub(crate) tls: TlsSettings,
    /// How strangers trust it.
    pub(crate) trust: Arc<ClientConfig>,
    /// The token of the good tenant's client. Its id is no secret.
    pub(crate) token: Token,
    /// Where visitors of the good tenant come in.
    pub(crate) public: SocketAddr,
    /// What the good tenant has seen so far.
    pub(crate) seen: Arc<Seen>,
}

/// A runtime for one side of it: attackers do not slow down those who measure more than they slow
/// down the machine.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Plays one attack of at most `time`, where it has no end of its own.
pub(crate) async fn play(attack: &'static Attack, time: Duration) -> Row {
    let service = local::speaks_first(GREETING).await;
    let (stage, mut good) = set(attack, service.addr()).await;
    let newcomer = stage.newcomer().await;
    let stage = Arc::new(stage);
    let start = Instant::now();
    let life = live(&stage.seen, stage.public, newcomer);
    sleep(BEFORE).await;

    let began = Instant::now();
    let outcome = in_a_thread(attack, Arc::clone(&stage), time).await;
    let ended = Instant::now();
    drop(life);

    let events = good.stdout.as_json();
    let lost = events.iter().filter(|event| event["event"] == "lost").count();
    let Outcome { told, mut faults } = outcome;
    let mut row = Row::of(attack, told, &stage.seen, [start, began, ended], lost);
    if lost > 0 || !good.is_running() {
        faults.push(format!("the good tenant lost its session, {lost} times"));
    }
    let checks = [
        (stage.seen.astray(), "visitors came to the wrong client"),
        (stage.seen.broken(), "visits of the good tenant broke off"),
    ];
    faults.extend(checks.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    if stage.seen.kept_out() > 0 {
        row.note(&format!("{} new clients gave up", stage.seen.kept_out()));
    }
    row.faults = faults;
    row
}

/// The attack in a thread of its own. If it panics, which is shown, the rest goes on.
async fn in_a_thread(attack: &'static Attack, stage: Arc<Stage>, time: Duration) -> Outcome {
    let (send, outcome) = oneshot::channel();
    std::thread::spawn(move || {
        let outcome = runtime().block_on((attack.run)(stage, time));
        // Nobody else can have given up waiting.
        drop(send.send(outcome));
    });
    outcome.await.unwrap_or_else(|_| {
        let mut outcome = Outcome::told("-");
        outcome.fault("it could not be carried out: see the panic");
        outcome
    })
}

/// A relay that is ready, with the good tenant's client.
async fn set(attack: &Attack, service: SocketAddr) -> (Stage, Client) {
    let kept = match attack.in_postgres {
        true => Kept::in_postgres().await,
        false => Kept::in_a_file(),
    };
    let (relay, secured, tls, authority) = match attack.certificate {
        Certificate::Made => {
            let config = kept.folder.file("relay.toml").display().to_string();
            let init = ["init", "--config", &config, "--public-name", "127.0.0.1"];
            let made = kept.json(&init).await;
            let pin = made["pin"].as_str().expect("a pin").parse().expect("a pin");
            let relay = Program::relay().args(["--config", &config]);
            (relay, None, pinned(&[pin]), kept.folder.file("data/control-cert.pem"))
        }
        Certificate::InFiles => {
            let secured = Secured::new();
            let file = |name| secured.folder.file(name).display().to_string();
            let relay = Program::relay().args(kept.args()).args(["--require-tls"]);
            let relay = relay.args(["--tls-cert", &file("cert.pem")]);
            let relay = relay.args(["--tls-key", &file("key.pem"), "--anonymous", "never"]);
            let (tls, ca) = (secured.client_tls(), secured.ca.clone());
            (relay, Some(secured), tls, ca)
        }
    };
    let relay = Relay::of(relay.args(attack.relay).args(["--log", LOG])).await;
    for user in [GOOD, BAD] {
        kept.ask(&["user", "create", user]).await;
    }
    let (token, _) = kept.token(GOOD, "site", &[]).await;
    let args = ["--server", &format!("tls://{}", relay.control), "--local", &service.to_string()];
    let mut good =
        Client::of(Program::client().env("CLIENT_TOKEN", &token).args(args).args(trusting(&tls)));
    let public = good.live("default").await;
    let token = token.parse().expect("a token");
    let (trust, seen) = (Arc::new(trust_in(&authority)), Arc::default());
    (Stage { relay, kept, secured, tls, trust, token, public, seen }, good)
}

/// The flags of a client that trusts like this.
fn trusting(tls: &TlsSettings) -> [String; 2] {
    match (&tls.ca, tls.pins.first()) {
        (Some(ca), _) => ["--tls-ca".into(), ca.display().to_string()],
        (None, Some(pin)) => ["--tls-pin".into(), pin.to_string()],
        (None, None) => panic!("nobody is trusted"),
    }
}

/// A configuration of strangers, who trust whatever has signed the certificate.
fn trust_in(authority: &std::path::Path) -> ClientConfig {
    let bytes = pem::read(authority).expect("a certificate");
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(authority, &bytes).expect("a certificate") {
        roots.add(certificate).expect("an authority");
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Each stranger does the whole handshake, as those do who have never met.
    config.resumption = rustls::client::Resumption::disabled();
    config
}

impl Stage {
    /// The good tenant's client that comes anew, with a token and a tunnel of its own.
    async fn newcomer(&self) -> Settings {
        let (token, _) = self.kept.token(GOOD, "newcomer", &[]).await;
        self.client(&token, &["newcomer=1"])
    }

    /// A client of ours with this token and these tunnels. It comes back until it is let in.
    pub(crate) fn client(&self, token: &str, tunnels: &[&str]) -> Settings {
        let tunnels = tunnels.iter().map(|tunnel| tunnel.parse().expect("a tunnel")).collect();
        Settings {
            tls: self.tls.clone(),
            token: Some(token.parse().expect("a token")),
            reconnect: Reconnect::Always,
            ..Settings::loopback(self.relay.control, tunnels)
        }
    }

    /// A real client with this token.
    pub(crate) fn program(&self, token: &str, args: &[&str]) -> Program {
        let server = format!("tls://{}", self.relay.control);
        let program = Program::client().env("CLIENT_TOKEN", token).args(["--server", &server]);
        program.args(trusting(&self.tls)).args(args)
    }

    /// A new token of whoever attacks from within.
    pub(crate) async fn bad_token(&self, rights: &[&str]) -> String {
        let name =
            format!("t{}", self.kept.json(&["token", "list"]).await.as_array().map_or(0, Vec::len));
        self.kept.token(BAD, &name, rights).await.0
    }

    /// The value of a series of the relay's metrics, 0 before there is one.
    pub(crate) async fn value(&self, series: &str) -> f64 {
        tests::scrape::scrape(self.relay.admin).await.value(series).unwrap_or_default()
    }

    /// The lines of the relay's log.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.relay.stderr.as_json()
    }
}
