//! The wire and the whole session above it: a stranger who sends any bytes gets no panic, and the
//! session ends when the bytes do.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use shared::carry::{Role, mux};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (client, bytes) = input;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let role = if client { Role::Client } else { Role::Relay };
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (_mux, mut inbound, driver) = mux::start(near, role, 16);
        far.write_all(&bytes).await.expect("room for the input");
        far.shutdown().await.expect("an open end");
        let streams = async {
            let mut streams = Vec::new();
            while let Some(stream) = inbound.next().await {
                streams.push(stream);
            }
        };
        let session = async { tokio::join!(driver.run(std::future::pending()), streams) };
        timeout(Duration::from_secs(5), session).await.expect("the session ends with its bytes");
    });
});
