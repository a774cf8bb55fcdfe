//! Opening a stream beside others that are open and idle: yamux looks at each of them.

use divan::Bencher;
use futures::{AsyncReadExt, AsyncWriteExt};
use shared::carry::mux::{MuxStream, Running};
use shared::carry::{Carrier, Role};

use crate::loopback;

/// One stream more, which is dropped at once.
#[divan::bench(args = [0, 100, 1_000, 10_000])]
fn beside(bencher: Bencher<'_, '_>, idle: usize) {
    let runtime = loopback::runtime();
    let session = runtime.block_on(Session::start(idle));
    bencher.bench_local(|| runtime.block_on(session.relay.mux.open()).expect("an open session"));
}

/// A session with idle streams.
struct Session {
    relay: Running,
    _client: Running,
    _idle: Vec<[MuxStream; 2]>,
}

impl Session {
    async fn start(idle: usize) -> Self {
        let (client, relay) = loopback::session().await;
        let mut client = Running::start(Carrier::tcp(client), Role::Client, PERMITS);
        let relay = Running::start(Carrier::tcp(relay), Role::Relay, PERMITS);
        relay.mux.link().admit();
        let mut streams = Vec::new();
        for _ in 0..idle {
            let mut near = relay.mux.open().await.expect("an open session");
            near.io.write_all(b"here").await.expect("an open session");
            let mut far = client.inbound.next().await.expect("an open session");
            // Acknowledges it.
            far.io.write_all(b"seen").await.expect("an open session");
            near.io.read_exact(&mut [0; 4]).await.expect("an open session");
            streams.push([near, far]);
        }
        Self { relay, _client: client, _idle: streams }
    }
}

/// More than are open.
const PERMITS: usize = 16 * 1024;
