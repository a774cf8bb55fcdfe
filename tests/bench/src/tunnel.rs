//! A contender that runs: from a recipe to a public address that leads to the local service.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::contenders::certificate::Certificate;
use crate::contenders::{Contender, Place, ours};
use crate::load::visitor::Visitor;
use crate::load::web::tls::{Secure, Wish};
use crate::load::web::visitor::WebVisitor;
use crate::ports::free_address;
use crate::proc;
use crate::process::Process;
use crate::programs::Programs;

/// What a line between client and relay is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// There and back.
    pub(crate) round_trip: Duration,
    /// Each way.
    pub(crate) megabits_per_second: u64,
    /// What waits before the bottleneck at most.
    pub(crate) queue_bytes: usize,
    /// Segments that are lost each way.
    pub(crate) losses_per_million: u64,
}

/// Where tunnels are made.
#[derive(Debug)]
pub(crate) struct Workshop<'a> {
    pub(crate) programs: &'a Programs,
    /// The local service.
    pub(crate) local: SocketAddr,
    /// Where everyone's output goes.
    pub(crate) logs: &'a Path,
    /// Where configuration files are made.
    pub(crate) scratch: &'a Path,
}

impl Workshop<'_> {
    /// A directory for configuration files with nothing of an earlier start in it.
    pub(crate) fn empty_directory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.scratch.join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).context("emptying a contender's directory")?;
        }
        fs::create_dir_all(&directory).context("making a contender's directory")?;
        Ok(directory)
    }
}

/// A running contender; its processes are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// Where visitors come.
    pub(crate) public: SocketAddr,
    /// Where visitors of the web come who speak HTTP/2 from the first byte on.
    pub(crate) http2: SocketAddr,
    /// Where visitors of the web come by TLS, and the authority of the certificate that they see; if
    /// it ends TLS.
    secure: Option<(SocketAddr, PathBuf)>,
    // In the order of dropping: the client first, so that no session outlives its server's parent.
    client: Option<Process>,
    server: Option<Process>,
    _line: Option<Process>,
    /// Every process of either side, the line's not among them.
    pids: Vec<u32>,
}

impl Tunnel {
    /// Starts a contender and waits until a visitor has got an answer through it.
    pub(crate) async fn start(
        contender: Contender,
        line: Option<Line>,
        workshop: &Workshop<'_>,
    ) -> Result<Self> {
        // Between choosing a port and binding it another program may take it: one more try.
        match Self::try_start(contender, line, workshop).await {
            Ok(tunnel) => Ok(tunnel),
            Err(_) => Self::try_start(contender, line, workshop).await,
        }
    }

    async fn try_start(
        contender: Contender,
        line: Option<Line>,
        workshop: &Workshop<'_>,
    ) -> Result<Self> {
        let control = match contender.fixed_control_port() {
            Some(port) => SocketAddr::from(([127, 0, 0, 1], port)),
            None => free_address()?,
        };
        // With no tunnel, the line leads the visitor to the local service.
        let line_end = if contender == Contender::Direct { workshop.local } else { control };
        let (line, reach) = match line {
            Some(line) => {
                let (process, reach) = start_line(line, contender, line_end, workshop.logs)?;
                (Some(process), reach)
            }
            None => (None, line_end),
        };
        let directory = workshop.empty_directory(&contender.file_name())?;
        let (public, secure, spare) = (free_address()?, free_address()?, free_address()?);
        let (local, directory) = (workshop.local, directory.as_path());
        let place = Place { control, reach, public, secure, local, spare, directory };
        let Some(recipe) = contender.recipe(workshop.programs, &place)? else {
            return Ok(Self {
                public: reach,
                http2: reach,
                secure: None,
                client: None,
                server: None,
                _line: line,
                pids: vec![],
            });
        };

        let name = contender.file_name();
        let mut server = Process::start(recipe.server, &format!("{name}-server"), workshop.logs)?;
        let first = if recipe.client.is_some() { control } else { public };
        until_listening(first, &mut server).await?;
        let start_client =
            |recipe| Process::start(recipe, &format!("{name}-client"), workshop.logs);
        let mut client = recipe.client.map(start_client).transpose()?;
        until_answering(contender, public, &mut server, &mut client).await?;
        ours::until_complete(contender, spare).await?;
        let mut pids = proc::tree(server.pid())?;
        if let Some(client) = &client {
            pids.extend(proc::tree(client.pid())?);
        }
        let secure = match contender.ends_tls() {
            true => Some((secure, Certificate::kept_in(directory)?.authority)),
            false => None,
        };
        let http2 = if contender.has_port_of_http2() { spare } else { public };
        Ok(Self { public, http2, secure, client, server: Some(server), _line: line, pids })
    }

    /// Where visitors come by TLS who want that, if it ends TLS.
    pub(crate) fn secure(&self, wish: Wish) -> Result<Option<Secure>> {
        let secure = self.secure.as_ref();
        secure.map(|(public, authority)| Secure::new(*public, authority, wish)).transpose()
    }

    /// Whether there are processes whose CPU time and memory can be read.
    pub(crate) fn has_processes(&self) -> bool {
        !self.pids.is_empty()
    }

    /// CPU time that all its processes together have used so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        self.pids.iter().map(|pid| proc::cpu_seconds(*pid)).sum()
    }

    /// Resident memory of each of its processes in bytes, always in the same order.
    pub(crate) fn resident_bytes(&self) -> Result<Vec<u64>> {
        self.pids.iter().map(|pid| proc::resident_bytes(*pid)).collect()
    }

    /// Memory of each of its processes that is its own alone, in bytes, always in the same order.
    pub(crate) fn private_bytes(&self) -> Result<Vec<u64>> {
        self.pids.iter().map(|pid| proc::private_bytes(*pid)).collect()
    }

    /// An error if one of its two sides has ended.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        self.server.iter_mut().chain(&mut self.client).try_for_each(Process::check_running)
    }
}

fn start_line(
    line: Line,
    contender: Contender,
    to: SocketAddr,
    logs: &Path,
) -> Result<(Process, SocketAddr)> {
    // Whoever insists on a port finds the line at that port of another loopback address.
    let listen = match contender.fixed_control_port() {
        Some(port) => SocketAddr::from(([127, 0, 0, 2], port)),
        None => SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    let delay = line.round_trip / 2;
    let arguments = [
        "line".to_owned(),
        format!("--listen={listen}"),
        format!("--to={to}"),
        format!("--delay={}", delay.as_micros()),
        format!("--rate={}", line.megabits_per_second),
        format!("--queue={}", line.queue_bytes),
        format!("--loss={}", line.losses_per_million),
    ];
    Process::start_helper(arguments, "line", logs)
}

/// Waits until the server side has accepted a connection.
pub(crate) async fn until_listening(address: SocketAddr, server: &mut Process) -> Result<()> {
    let listening = async {
        let mut tries = interval(BETWEEN_TRIES);
        loop {
            tries.tick().await;
            server.check_running()?;
            if TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
        }
    };
    timeout(READY, listening).await.with_context(|| format!("nothing listened at {address}"))?
}

async fn until_answering(
    contender: Contender,
    public: SocketAddr,
    server: &mut Process,
    client: &mut Option<Process>,
) -> Result<()> {
    let start = Instant::now();
    let mut tries = interval(BETWEEN_TRIES);
    loop {
        tries.tick().await;
        server.check_running()?;
        client.iter_mut().try_for_each(Process::check_running)?;
        // Some accept visitors before they can carry them, and then close them or keep them
        // waiting: hence a deadline of its own for each try.
        let visit = async {
            match contender.is_web() {
                true => WebVisitor::visit_once(public).await,
                false => Visitor::visit_once(public).await,
            }
        };
        if matches!(timeout(ONE_TRY, visit).await, Ok(Ok(()))) {
            return Ok(());
        }
        ensure!(start.elapsed() < READY, "no answer through {public} within {READY:?}");
    }
}

/// How long a contender may take to become ready.
const READY: Duration = Duration::from_secs(10);

/// How long one visit may take while waiting for readiness; a visit over a slow line takes less.
const ONE_TRY: Duration = Duration::from_secs(1);

/// A program that is not ready says so at once or never; asking is all one can do.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);
