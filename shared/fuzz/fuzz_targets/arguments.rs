//! What people write on the command line: never a panic, and what was understood reads back.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use shared::control::protocol::TunnelName;
use shared::kit::amounts::{Bandwidth, Frequency, Quota};
use shared::kit::net::{HostPort, Networks};
use shared::token::{HostPattern, NamePattern, Ports};

fuzz_target!(|text: &str| {
    again::<HostPort>(text);
    again::<Bandwidth>(text);
    again::<Quota>(text);
    again::<Frequency>(text);
    again::<Networks>(text);
    again::<Ports>(text);
    again::<NamePattern>(text);
    again::<HostPattern>(text);
    if let Ok(name) = text.parse::<TunnelName>() {
        assert_eq!(name.as_str(), text);
    }
});

fn again<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value));
    }
}
