//! Somebody claims the good tenant's tunnel, while its visitors come.

use std::sync::Arc;

use client::{Reconnect, Settings};
use tests::{RunningClient, local};

use super::Outcome;
use crate::stage::Stage;

/// How often.
const CLAIMS: usize = 100;

/// Claims the tunnel by its name, the port of it, and both again and again.
pub(super) async fn claim(stage: Arc<Stage>) -> Outcome {
    let theirs = local::speaks_first(b"eve's\n").await;
    let token = stage.bad_token(&[]).await;
    let port = stage.public.port();
    let tunnels = [
        format!("default={}", theirs.addr()),
        format!("other={}?port={port}", theirs.addr()),
        format!("default={}?port={port}", theirs.addr()),
    ];
    let (mut refused, mut granted, mut words) = (0, 0, Vec::new());
    for n in 0..CLAIMS {
        let tunnel: &str = &tunnels[n % tunnels.len()];
        let settings = stage.client(&token, &[tunnel]);
        let settings = Settings { reconnect: Reconnect::Never, ..settings };
        match RunningClient::start(settings).ended().await {
            Err(err) => {
                refused += 1;
                words.push(format!("{err:#}"));
            }
            Ok(()) => granted += 1,
        }
    }
    let all_refused = words.iter().all(|words| words.contains("it refused: "));
    let told = format!("{refused} claims refused, {} visitors astray", stage.seen.astray());
    Outcome::told(told)
        .never(granted, "claims of another owner's tunnel were granted")
        .never((!all_refused).into(), "kind of claim failed without a refusal")
}
