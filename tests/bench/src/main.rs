//! The program behind `make bench`: measures our tunnel beside others, on loopback only.
//!
//! One process drives a run and produces the load. What has to be a process of its own, so that its
//! CPU time, memory and descriptors are its own too, is the same program started with a hidden
//! command: the local [service](helpers::service), a plain TCP [hop](helpers::hop), a slow
//! [line](helpers::line). See `README.md` beside this crate for what each figure means.

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod console;
mod contenders;
mod figures;
mod fleet;
mod helpers;
mod load;
mod machine;
mod plan;
mod ports;
mod proc;
mod process;
mod programs;
mod protocol;
mod report;
mod routes;
mod run;
mod scrape;
mod statistics;
mod tunnel;
mod wait;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let ended = match cli.helper {
        Some(helper) => helpers::run(helper),
        None => run::run(&cli.run),
    };
    if let Err(error) = ended {
        // Where nobody listens any more, there is only the exit code.
        console::progress(format_args!("error: {error:#}")).ok();
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
