//! `make conformance`: what others' conformance suites say through the tunnel and without it.
//!
//! Each suite is first let loose on the local service itself, then on the same service through a
//! real relay and client, in each way that visitors can come. A case whose verdict is another one
//! through the tunnel is a difference; each has to stand in `docs/conformance.md` with its reason.
//! It ends with status 1 if one does not. A suite with such a difference is run once more, and it
//! counts if it is there again. A suite that cannot be run, or a signal, ends it with status 1 too.
//!
//! What the suites said in full is kept in the folder of the instruments, in `results`.
//!
//! - [`suites`]: h2spec, Autobahn, gRPC's interop tests, testssl.sh
//! - [`instruments`]: where their programs are, and how they are run
//! - [`service`]: nginx, the local service of most
//! - [`tunnel`]: a relay and a client with one tunnel
//! - [`verdicts`]: what a suite says of each case, and where two runs differ
//! - [`differences`]: those that the documentation gives reasons for
//! - [`table`]: what is shown

mod differences;
mod instruments;
mod service;
mod suites;
mod table;
mod tunnel;
mod verdicts;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use futures::FutureExt;
use shared::carry::tls::install_provider;
use shared::kit::stop::Stop;
use tests::process::use_programs_in;
use tokio::runtime::Builder;

use crate::differences::Accepted;
use crate::instruments::Instruments;
use crate::suites::{SUITES, Suite};
use crate::verdicts::Compared;

/// What conformance suites say through the tunnel and without it
#[derive(Debug, Parser)]
#[command(name = "conformance")]
struct Args {
    /// Only the suites whose names begin like this. May be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Also Autobahn's cases of compressed messages longer than 8 KiB, which take far longer than all the rest
    #[arg(long)]
    all: bool,

    /// Where relay and client are. Otherwise they are beside this program
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,

    /// Where tests/conformance/install has put its programs
    #[arg(long, value_name = "DIR", default_value = "target/conformance")]
    instruments: PathBuf,

    /// Only say which suites there are
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|only| name.starts_with(only));
    let suites: Vec<_> = SUITES.iter().filter(|suite| wanted(suite.name)).collect();
    if args.list || suites.is_empty() {
        table::names(&suites);
        return if args.list { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    use_programs_in(args.programs);
    install_provider();

    let instruments = Instruments::in_folder(&args.instruments, args.all);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    // All that was started ends with the future that is dropped here.
    runtime.block_on(async {
        let stop = Stop::new();
        let signals = stop.on_signals().expect("signals that can be handled");
        let all_is_well = tokio::select! {
            // First: a suite that stops since all are asked to end has not failed.
            biased;
            never = signals => match never {},
            () = stop.gracefully.cancelled() => {
                table::interrupted();
                false
            }
            all_is_well = show(&suites, &instruments) => all_is_well,
        };
        if all_is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    })
}

/// Runs the suites and shows what they say. Returns whether all is well.
async fn show(suites: &[&Suite], instruments: &Instruments) -> bool {
    let accepted = Accepted::documented();
    table::head();
    let mut all_is_well = true;
    for suite in suites {
        let Some((ways, before)) = ask(suite, instruments, &accepted).await else {
            table::panicked(suite);
            all_is_well = false;
            continue;
        };
        for (place, way) in ways.iter().enumerate() {
            let before = before.as_ref().and_then(|before| before.get(place));
            all_is_well &= table::row(way, &accepted, before);
        }
    }
    all_is_well
}

/// What a suite says, and what it said before if it had to be asked again. None if it panics, which
/// is shown and ends nothing else.
async fn ask(
    suite: &Suite,
    instruments: &Instruments,
    accepted: &Accepted,
) -> Option<(Vec<Compared>, Option<Vec<Compared>>)> {
    let run = || AssertUnwindSafe(suite.run(instruments)).catch_unwind();
    let first = run().await.ok()?;
    if first.iter().all(|way| accepted.lacks(way).is_empty()) {
        return Some((first, None));
    }
    // Some cases are a matter of chance even without a tunnel: testssl.sh may look for a session
    // before it has come. What differs is what differs twice.
    Some((run().await.ok()?, Some(first)))
}
