//! `make demo`: a relay, a client and two small web services, each in a process or task of its own,
//! and pages fetched through all of them: one service by a subdomain and by a path, the other by a
//! port of its own besides. The relay is set up by `relay init`: the client speaks TLS and shows a
//! token.
//!
//! Runs until Ctrl-C; with `--once` it ends after the fetch, with status 1 if that failed. Every
//! port is the kernel's choice, and everything it started ends with it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tests::Folder;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pages of the local web services.
const APP: &str = "<h1>Hello from behind the firewall</h1>\n";
const BLOG: &str = "<h1>And from its neighbour</h1>\n";

#[tokio::main]
async fn main() -> ExitCode {
    let once = std::env::args().any(|arg| arg == "--once");
    match demo(once).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            say(&format!("the demo failed: {err:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn demo(once: bool) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let mut services = Vec::new();
    for page in [APP, BLOG] {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.context("cannot start a web service")?;
        services.push(listener.local_addr()?);
        tasks.spawn(serve_page(listener, page));
    }
    let [app, blog] = services[..] else { bail!("there are two of them") };
    say(&format!("local web services  http://{app} and http://{blog}"));

    let folder = Folder::new();
    let made = init(&folder).await?;
    say("relay               set up by `relay init`, with a certificate, a user and a token");
    let args = ["--config", &made.config, "--domain", "localhost", "--log-format", "json"];
    let ports = ["control", "public", "admin", "http"];
    let mut relay = Program::start("relay", &args, &[], &ports)?;
    let addrs = relay.first_line(Stream::Stderr, |line| {
        let field = |name: &str| line.get(name)?.as_str()?.parse::<SocketAddr>().ok();
        Some([field("control")?, field("public")?, field("admin")?, field("http")?])
    });
    let [control, public, admin, http] = addrs.await.context("the relay did not start")?;
    say(&format!("relay               clients connect to {control}"));

    let server = format!("tls://{control}");
    let local = blog.to_string();
    let tunnels = [format!("app=http://{app}"), format!("blog=http://{blog}")];
    let mut args = vec!["--json", "--server", &server, "--tls-pin", &made.pin, "--local", &local];
    args.extend(tunnels.iter().flat_map(|tunnel| ["--tunnel", tunnel]));
    let mut client = Program::start("client", &args, &[("CLIENT_TOKEN", &made.token)], &[])?;
    let live =
        client.first_line(Stream::Stdout, |line| (line.get("event")? == "live").then_some(()));
    live.await.context("the client did not get a tunnel")?;
    say("client              connected over TLS, let in by its token\n");

    let port = http.port();
    for (addr, host, path, page) in [
        (http, format!("app.localhost:{port}"), "/", APP),
        (http, format!("blog.localhost:{port}"), "/", BLOG),
        (http, http.to_string(), "/t/app/", APP),
        (http, http.to_string(), "/t/blog/", BLOG),
        (public, public.to_string(), "/", BLOG),
    ] {
        let url = format!("http://{host}{path}");
        let answer = timeout(PATIENCE, fetch(addr, &host, path)).await;
        let answer = answer.with_context(|| format!("no answer in time from {url}"))??;
        ensure!(answer.ends_with(page), "not the page that was expected of {url}:\n{answer}");
        say(&format!("{url:<36}{}", page.trim_end()));
    }
    say("");
    say(&format!("metrics             http://{admin}/metrics"));

    if !once {
        say("\nRunning. Ctrl-C ends everything.");
        tokio::select! {
            signal = tokio::signal::ctrl_c() => signal?,
            _ = relay.child.wait() => bail!("the relay ended"),
            _ = client.child.wait() => bail!("the client ended"),
        }
    }
    client.end().await?;
    relay.end().await
}

/// What `relay init` has made.
struct Made {
    config: String,
    pin: String,
    token: String,
}

async fn init(folder: &Folder) -> anyhow::Result<Made> {
    let file = |name: &str| folder.file(name).display().to_string();
    let (config, data) = (file("relay.toml"), file("data"));
    let mut init = Command::new(program("relay")?);
    init.args(["init", "--json", "--config", &config, "--data", &data]);
    let done = timeout(PATIENCE, init.output()).await.context("no end of it in time")??;
    ensure!(done.status.success(), "relay init: {}", String::from_utf8_lossy(&done.stderr));
    let made: Value = serde_json::from_slice(&done.stdout)?;
    let text = |key: &str| {
        made[key].as_str().map(str::to_owned).with_context(|| format!("`relay init` says no {key}"))
    };
    Ok(Made { config, pin: text("pin")?, token: text("token")? })
}

/// The program that was built beside this one.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// One of the two programs, killed when dropped.
struct Program {
    name: &'static str,
    child: Child,
    /// Reads the rest of its output, so that it never waits for a reader.
    drain: JoinSet<()>,
}

enum Stream {
    Stdout,
    Stderr,
}

impl Program {
    /// Starts the program that was built beside this one; the flags of `addresses` get a port of
    /// the kernel's choice.
    fn start(
        name: &'static str,
        args: &[&str],
        environment: &[(&str, &str)],
        addresses: &[&str],
    ) -> anyhow::Result<Self> {
        let path = program(name)?;
        let mut command = Command::new(&path);
        command.args(args).envs(environment.iter().copied());
        for flag in addresses {
            command.args([&format!("--{flag}"), "127.0.0.1:0"]);
        }
        let quiet = if name == "client" { Stdio::null() } else { Stdio::piped() };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(quiet)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}: build it first", path.display()))?;
        Ok(Self { name, child, drain: JoinSet::new() })
    }

    /// Waits for the first JSON line that `pick` likes.
    async fn first_line<T>(
        &mut self,
        stream: Stream,
        pick: impl Fn(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        let reader: Box<dyn tokio::io::AsyncRead + Unpin + Send> = match stream {
            Stream::Stdout => Box::new(self.child.stdout.take().context("no stdout")?),
            Stream::Stderr => Box::new(self.child.stderr.take().context("no stderr")?),
        };
        let mut lines = BufReader::new(reader).lines();
        let find = async {
            while let Some(line) = lines.next_line().await? {
                let picked = serde_json::from_str(&line).ok().and_then(|line| pick(&line));
                if let Some(picked) = picked {
                    return Ok(picked);
                }
            }
            bail!("{} ended", self.name)
        };
        let found = timeout(PATIENCE, find).await.context("nothing in time")?;
        self.drain.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        found
    }

    async fn end(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot end {}", self.name))
    }
}

/// A local web service: one page for everyone.
async fn serve_page(listener: TcpListener, page: &'static str) {
    let mut connections = JoinSet::new();
    while let Ok((mut socket, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut request = [0; 4096];
            let length = page.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{page}"
            );
            if socket.read(&mut request).await.is_ok_and(|n| n > 0) {
                // A visitor who has left needs no page.
                drop(socket.write_all(answer.as_bytes()).await);
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Fetches a page as a visitor does.
async fn fetch(addr: SocketAddr, host: &str, path: &str) -> anyhow::Result<String> {
    let mut visitor = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    visitor.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// To whoever runs the demo.
#[allow(clippy::print_stdout, reason = "talking to a person is what the demo is for")]
fn say(text: &str) {
    println!("{text}");
}
