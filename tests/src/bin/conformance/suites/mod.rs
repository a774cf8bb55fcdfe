//! The suites.
//!
//! Each is a list of ways to the same local service: without a tunnel, and through one of each
//! kind that fits.

mod autobahn;
mod grpc;
mod h2spec;
mod testssl;

use futures::future::LocalBoxFuture;

use crate::instruments::Instruments;
use crate::verdicts::Compared;

/// One suite.
#[derive(Debug)]
pub(crate) struct Suite {
    /// What `--only` and the documentation call it.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) what: &'static str,
    run: fn(&Instruments) -> LocalBoxFuture<'_, Vec<Compared>>,
}

impl Suite {
    /// Runs it without the tunnel and through it.
    ///
    /// # Panics
    ///
    /// The suite itself does not work.
    pub(crate) async fn run(&self, instruments: &Instruments) -> Vec<Compared> {
        (self.run)(instruments).await
    }
}

/// All of them.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: h2spec::NAME,
        what: "h2spec: HTTP/2, its frames, streams and headers, and HPACK",
        run: |instruments| Box::pin(h2spec::run(instruments)),
    },
    Suite {
        name: autobahn::NAME,
        what: "Autobahn's fuzzing client: WebSocket, its compression too",
        run: |instruments| Box::pin(autobahn::run(instruments)),
    },
    Suite {
        name: grpc::NAME,
        what: "the interop client and server of gRPC",
        run: |instruments| Box::pin(grpc::run(instruments)),
    },
    Suite {
        name: testssl::NAME,
        what: "testssl.sh: what is offered in TLS, and known weaknesses",
        run: |instruments| Box::pin(testssl::run(instruments)),
    },
];
