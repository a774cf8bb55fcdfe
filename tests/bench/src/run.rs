//! A run: every figure, round by round, on every contender in turn.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use shared::kit::stop::Stop;
use tokio::time::timeout;

use crate::cli::RunArgs;
use crate::console;
use crate::contenders::Contender;
use crate::figures::{Figure, Reading};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::process::Process;
use crate::programs::Programs;
use crate::report::{Failure, Report};
use crate::tunnel::Workshop;

/// Measures what the flags ask for, and writes the report: also if the run is interrupted, of what
/// has been measured by then.
///
/// An error if the run was interrupted, or if ours, the two hops or the direct connection could not
/// be measured; what goes wrong with another tunnel is told in the report. All processes that were
/// started have ended on return.
// One thread: the load shall cost as little as it can, and take no more than one core.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: &RunArgs) -> Result<()> {
    let stop = Stop::new();
    let signals = stop.on_signals().context("listening for signals")?;
    raise_descriptor_limit()?;
    let plan = Plan::from_args(args);
    let programs = Programs::find(args.ours.as_deref(), args.before.as_deref(), &args.peers)?;
    let contenders = present(&wanted_contenders(args), &programs)?;
    let figures = if args.figures.is_empty() { Figure::all() } else { &args.figures };

    let logs = args.out.join("logs");
    fresh_directory(&logs)?;
    Report::remove_earlier(&args.out)?;
    let (service, local) = Process::start_helper(["service"], "service", &logs)?;
    let scratch = args.out.join("scratch");
    let workshop = Workshop { programs: &programs, local, logs: &logs, scratch: &scratch };

    let mut report = Report::new(Machine::look(), versions(&contenders, &programs)?);
    let ended = tokio::select! {
        // First: a measurement that comes to nothing since all are asked to end has not failed.
        biased;
        never = signals => match never {},
        () = stop.gracefully.cancelled() => {
            report.interrupted = true;
            Err(anyhow!("interrupted: the report has what was measured before"))
        }
        ended = measure_all(figures, &contenders, &workshop, &plan, &mut report) => ended,
    };
    drop(service);
    report.write(&args.out)?;
    console::result(report.to_markdown())?;
    ended?;
    no_failure_of_our_own(&report.failures)
}

/// Round by round, until all is in the report. What is there stays there if this is dropped.
async fn measure_all(
    figures: &[Figure],
    contenders: &[Contender],
    workshop: &Workshop<'_>,
    plan: &Plan,
    report: &mut Report,
) -> Result<()> {
    for figure in figures {
        for round in 1..=figure.rounds(plan.rounds) {
            for contender in contenders.iter().filter(|it| figure.applies_to(**it)) {
                let measured = measure(*figure, *contender, workshop, plan).await;
                let said = match &measured {
                    Ok(readings) => describe(readings),
                    Err(error) => format!("failed: {error:#}"),
                };
                let name = figure.name();
                report.add(&name, *contender, measured);
                console::progress(format_args!("{name} {round} {}: {said}", contender.name()))?;
            }
        }
    }
    Ok(())
}

async fn measure(
    figure: Figure,
    contender: Contender,
    workshop: &Workshop<'_>,
    plan: &Plan,
) -> Result<Vec<Reading>> {
    let measured = figure.measure(contender, workshop, plan);
    timeout(LONGEST, measured).await.with_context(|| format!("not done within {LONGEST:?}"))?
}

/// Those who were chosen or else everyone; if there is a build before ours, it is among them, in the
/// forms of ours that are, and takes its turn next to ours.
fn wanted_contenders(args: &RunArgs) -> Vec<Contender> {
    let mut wanted = match (args.contenders.as_slice(), args.smoke) {
        ([], true) => Contender::SMOKE.to_vec(),
        ([], false) => Contender::ALL.to_vec(),
        (chosen, _) => chosen.to_vec(),
    };
    for (of_before, of_ours) in
        [(Contender::Before, Contender::Ours), (Contender::BeforeWeb, Contender::OursWeb)]
    {
        if args.contenders.contains(&of_before) {
            continue;
        }
        wanted.retain(|contender| *contender != of_before);
        let place = wanted.iter().position(|contender| *contender == of_ours);
        if let (Some(place), true) = (place, args.before.is_some()) {
            wanted.insert(place + 1, of_before);
        }
    }
    wanted
}

/// Those who are installed; says how to install the others.
fn present(wanted: &[Contender], programs: &Programs) -> Result<Vec<Contender>> {
    let (present, missing): (Vec<Contender>, Vec<Contender>) =
        wanted.iter().copied().partition(|contender| programs.has(*contender));
    for contender in missing {
        console::progress(format_args!(
            "{} is not installed and will be missing; to install it: {}",
            contender.name(),
            contender.install()
        ))?;
        ensure!(contender.is_peer(), "nothing to measure without {}", contender.name());
    }
    Ok(present)
}

fn versions(contenders: &[Contender], programs: &Programs) -> Result<BTreeMap<Contender, String>> {
    contenders.iter().map(|contender| Ok((*contender, programs.version(*contender)?))).collect()
}

fn describe(readings: &[Reading]) -> String {
    let numbers: Vec<String> =
        readings.iter().map(|(metric, value)| format!("{value:.2} {}", metric.unit)).collect();
    numbers.join(", ")
}

fn no_failure_of_our_own(failures: &[Failure]) -> Result<()> {
    let own = failures.iter().filter(|failure| !failure.contender.is_peer());
    let named: Vec<String> =
        own.map(|failure| format!("{} of {}", failure.figure, failure.contender.name())).collect();
    ensure!(named.is_empty(), "not measured: {}", named.join(", "));
    Ok(())
}

fn fresh_directory(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).context("removing the last run's logs")?;
    }
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))
}

/// Everyone who is started inherits the limit.
fn raise_descriptor_limit() -> Result<()> {
    let (_, hard) = rlimit::Resource::NOFILE.get().context("asking for the descriptor limit")?;
    let limit = hard.min(ENOUGH_DESCRIPTORS);
    rlimit::Resource::NOFILE.set(limit, hard).context("raising the descriptor limit")
}

/// Twice what the largest crowd needs, and some: more would only slow down programs that close all
/// possible descriptors when they start.
const ENOUGH_DESCRIPTORS: u64 = 32_768;

/// No measurement of one contender takes that long; one that does is stuck.
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn wanted(flags: &[&str]) -> Vec<Contender> {
        let arguments = ["bench"].iter().chain(flags);
        wanted_contenders(&Cli::parse_from(arguments).run)
    }

    #[test]
    fn the_build_before_takes_turns_with_ours_when_there_is_one() {
        assert!(!wanted(&[]).contains(&Contender::Before));
        assert_eq!(wanted(&["--before=old"])[..2], [Contender::Ours, Contender::Before]);
        let chosen = wanted(&["--before=old", "--contenders=frp,ours,rathole"]);
        let turns = [Contender::Frp, Contender::Ours, Contender::Before, Contender::Rathole];
        assert_eq!(chosen, turns);
        assert_eq!(wanted(&["--contenders=before,ours"]), [Contender::Before, Contender::Ours]);
        let of_the_web = wanted(&["--before=old", "--contenders=ours-web,nginx"]);
        let turns = [Contender::OursWeb, Contender::BeforeWeb, Contender::Nginx];
        assert_eq!(of_the_web, turns);
    }
}
