//! Whoever changes tokens is killed.

use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tests::process::Signal;
use tokio::task::JoinSet;

use super::Outcome;
use crate::stage::{BAD, Stage};

/// How often.
const TIMES: usize = 1000;

/// How many at a time: they wait for each other's changes.
const AT_A_TIME: usize = 4;

/// Each has a millisecond more than the one before it, and then it begins anew: from before anything
/// is done to long after.
const LONGEST: usize = 60;

/// What became of a command.
struct End {
    name: String,
    status: ExitStatus,
    /// Whether it has told that the token is there.
    was_told: bool,
}

/// Creates tokens, kills whoever does it at some moment, and looks for those that were told of.
pub(super) async fn kill(stage: Arc<Stage>) -> Outcome {
    let mut running = JoinSet::new();
    let mut ends = Vec::new();
    for n in 0..TIMES {
        if running.len() == AT_A_TIME {
            ends.extend(running.join_next().await);
        }
        let name = format!("k{n}");
        let tool = stage.kept.tool(&["token", "create", "--user", BAD, "--name", &name]);
        running.spawn(async move {
            let mut process = tool.start();
            let time = Duration::from_millis((n % LONGEST) as u64);
            if !process.ends_within(time).await {
                process.signal(Signal::KILL);
            }
            let status = process.exit().await;
            // Also if it was killed right behind that.
            let was_told = !process.stdout.so_far().is_empty();
            End { name, status, was_told }
        });
    }
    while let Some(end) = running.join_next().await {
        ends.push(end);
    }
    let ends: Result<Vec<_>, _> = ends.into_iter().collect();
    let ends = ends.expect("nobody panicked");
    let killed = ends.iter().filter(|end| end.status.signal().is_some()).count();
    let failed = ends.iter().filter(|end| end.status.code().is_some_and(|code| code != 0)).count();
    let told: Vec<_> = ends.iter().filter(|end| end.was_told).collect();

    let listed = stage.kept.json(&["token", "list", "--user", BAD]).await;
    let listed = listed.as_array().expect("a list");
    let there: HashSet<_> = listed.iter().filter_map(|token| token["name"].as_str()).collect();
    let lost = told.iter().filter(|end| !there.contains(end.name.as_str())).count();
    Outcome::told(format!(
        "{killed} were killed; {} tokens were told of and {} are there: {lost} are lost",
        told.len(),
        there.len(),
    ))
    .never(lost, "tokens that were told of are lost")
    .never(failed, "commands failed")
    .never(usize::from(killed == 0 || told.is_empty()), "run that shows nothing")
}
