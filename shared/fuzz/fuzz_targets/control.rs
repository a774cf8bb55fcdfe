//! Control messages: any bytes from either end end in messages or an error, and a message that
//! was understood means the same after another trip.
#![no_main]

use std::fmt::Debug;
use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{from_slice, to_vec};
use shared::control::channel::Control;
use shared::control::protocol::{FromClient, FromRelay, MAX_HELLO};

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let stream = || Cursor::new(bytes.to_vec());
        let mut relay = Control::<_, FromClient, FromRelay>::new(stream(), MAX_HELLO);
        while let Ok(message) = relay.receive().await {
            again(&message);
        }
        let mut client = Control::<_, FromRelay, FromClient>::new(stream(), MAX_HELLO);
        while let Ok(message) = client.receive().await {
            again(&message);
        }
    });
});

fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T) {
    let json = to_vec(message).expect("our own message");
    assert_eq!(from_slice::<T>(&json).expect("our own encoding"), *message);
}
