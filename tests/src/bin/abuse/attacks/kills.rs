//! Whoever changes tokens is killed.

use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use tests::process::Signal;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Outcome;
use crate::stage::{BAD, Stage};

/// How often.
const TIMES: usize = 1000;

/// How many at a time: they wait for each other's changes.
const AT_A_TIME: usize = 4;

/// Each has a millisecond more than the one before it, and then it begins anew: from before anything
/// is done to long after.
const LONGEST: usize = 60;

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
            if timeout(time, process.exit()).await.is_err() {
                process.signal(Signal::KILL);
            }
            (name, process.exit().await)
        });
    }
    while let Some(end) = running.join_next().await {
        ends.push(end);
    }
    let ends: Result<Vec<_>, _> = ends.into_iter().collect();
    let ends = ends.expect("nobody panicked");
    let acknowledged: Vec<_> = ends.iter().filter(|(_, status)| status.success()).collect();
    let killed = ends.iter().filter(|(_, status)| status.signal().is_some()).count();

    let listed = stage.kept.json(&["token", "list", "--user", BAD]).await;
    let listed = listed.as_array().expect("a list");
    let there: HashSet<_> = listed.iter().filter_map(|token| token["name"].as_str()).collect();
    let lost = acknowledged.iter().filter(|(name, _)| !there.contains(name.as_str())).count();
    Outcome::told(format!(
        "{} were told that it is done, {killed} were killed before; {} tokens are there, {lost} of \
         those that were told of are lost",
        acknowledged.len(),
        there.len(),
    ))
    .never(lost, "acknowledged changes were lost")
    .never(TIMES - acknowledged.len() - killed, "commands failed")
}
