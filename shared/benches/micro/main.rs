//! The parts of a visit's way, each on its own: the record codec, the wire, a bridge.
//!
//! `make bench-micro` runs them; `make bench` says what they come to together. They run on one
//! thread, as relay and client do, so whatever the other end of a connection costs is part of the
//! figure: compare a figure with itself before a change, not with another one.

mod bridge;
mod loopback;
mod open;
mod record;
mod wire;

fn main() {
    // As relay and client do.
    shared::kit::memory::keep_freed();
    divan::main();
}
