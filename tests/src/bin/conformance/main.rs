//! `make conformance`: what others' conformance suites say through the tunnel and without it.
//!
//! Each suite is first let loose on the local service itself, then on the same service through a
//! real relay and client, in each way that visitors can come. A case whose verdict is another one
//! through the tunnel is a difference; each has to stand in `docs/conformance.md` with its reason.
//! It ends with status 1 if one does not. A suite with such a difference is run once more, and it
//! counts if it is there again.
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

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use shared::carry::tls::install_provider;
use tests::process::use_programs_in;
use tokio::runtime::Builder;

use crate::differences::Accepted;
use crate::instruments::Instruments;
use crate::suites::SUITES;

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
    let beside = || std::env::current_exe().expect("the path of this program");
    use_programs_in(
        args.programs
            .unwrap_or_else(|| beside().parent().expect("a program in a folder").to_owned()),
    );
    install_provider();

    let instruments = Instruments::in_folder(&args.instruments, args.all);
    let accepted = Accepted::documented();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    table::head();
    let mut all_is_well = true;
    for suite in suites {
        let first = runtime.block_on(suite.run(&instruments));
        if first.iter().all(|way| accepted.lacks(way).is_empty()) {
            for way in &first {
                all_is_well &= table::row(way, &accepted, None);
            }
            continue;
        }
        // Some cases are a matter of chance even without a tunnel: testssl.sh may look for a
        // session before it has come. What differs is what differs twice.
        let second = runtime.block_on(suite.run(&instruments));
        for (way, before) in second.iter().zip(&first) {
            all_is_well &= table::row(way, &accepted, Some(before));
        }
    }
    if all_is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
