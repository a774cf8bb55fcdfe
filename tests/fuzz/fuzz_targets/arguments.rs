//! What people write on the command line: never a panic, and what was understood reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::control::protocol::TunnelName;
use shared::kit::net::HostPort;

fuzz_target!(|text: &str| {
    if let Ok(address) = text.parse::<HostPort>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(name) = text.parse::<TunnelName>() {
        assert_eq!(name.as_str(), text);
    }
});
