//! `make abuse`: how a good tenant fares while somebody attacks.
//!
//! The real relay, set up by `relay init`, and the real client of a good tenant run beside one
//! attack after the other, each with a relay of its own. The tenant's visitors measure their round
//! trips, and new clients of the tenant how long it takes until they are let in. There is a row of
//! a table for each attack.
//!
//! It ends with status 1 if something happened that never may: a session of a good tenant is lost,
//! an attacker is let in, a visitor comes to the wrong client. How long something took decides
//! nothing: that depends on the machine.
//!
//! - [`attacks`]: what attackers do
//! - [`stage`]: a relay and the good tenant, while one of them does it
//! - [`tenant`]: what the good tenant's visitors and new clients see
//! - [`stranger`]: somebody who comes to the control port from any address
//! - [`samples`], [`table`]: figures, and how they are shown

mod attacks;
mod samples;
mod stage;
mod stranger;
mod table;
mod tenant;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use shared::carry::tls::install_provider;
use tests::process::use_programs_in;
use tests::usage::raise_file_limit;

use crate::attacks::{ATTACKS, Attack};
use crate::table::Row;

/// How a good tenant fares while somebody attacks
#[derive(Debug, Parser)]
#[command(name = "abuse")]
struct Args {
    /// Only the attacks whose names begin like this. May be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// How long an attack lasts that could go on for ever, instead of each one's own time
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,

    /// Where the programs are that are attacked. Otherwise they are beside this one
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,

    /// Only say which attacks there are
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let wanted = |attack: &&Attack| {
        args.only.is_empty() || args.only.iter().any(|name| attack.name.starts_with(name))
    };
    let attacks: Vec<_> = ATTACKS.iter().filter(wanted).collect();
    if args.list || attacks.is_empty() {
        table::names(&attacks);
        return if args.list { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    use_programs_in(args.programs);
    raise_file_limit();
    install_provider();

    table::head();
    let mut all_is_well = true;
    for attack in attacks {
        let row = one(attack, args.seconds.map(Duration::from_secs));
        row.print();
        all_is_well &= row.faults.is_empty();
    }
    if all_is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One attack in a thread of its own, so that a panic ends nothing else.
fn one(attack: &'static Attack, time: Option<Duration>) -> Row {
    let time = time.map_or(attack.time, |time| time.min(attack.time));
    let run = move || stage::runtime().block_on(stage::play(attack, time));
    thread::spawn(run).join().unwrap_or_else(|_| Row::failed(attack))
}
