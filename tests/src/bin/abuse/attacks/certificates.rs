//! The certificate changes again and again, while visitors and clients come.

use std::sync::Arc;

use tests::eventually;
use tokio::time::Instant;

use super::Outcome;
use crate::stage::Stage;

/// How often.
const TIMES: usize = 50;

/// Replaces the files of the certificate, each time as soon as the one before is in use.
pub(super) async fn swap(stage: Arc<Stage>) -> Outcome {
    let secured = stage.secured.as_ref().expect("a certificate in files");
    let start = Instant::now();
    for _ in 0..TIMES {
        let identity = secured.authority.relay("127.0.0.1");
        secured.replace(&identity);
        let pin = identity.pin().to_string();
        eventually("the certificate to be in use", async || {
            stage.log().iter().any(|line| line["pin"] == pin.as_str())
        })
        .await;
    }
    Outcome::told(format!(
        "{TIMES} certificates in {:.1} s, each in use",
        start.elapsed().as_secs_f64()
    ))
}
