//! What a user would notice, over real sockets on loopback.

mod admin;
mod burst;
mod carrier;
mod carrying;
mod changes;
mod connections;
mod crowd;
mod dependencies;
mod ends;
mod frame_floods;
mod health;
mod held;
mod hostile_clients;
mod hostile_relay;
mod hostile_strangers;
mod link;
mod local_service;
mod metrics;
mod ports;
mod process;
mod regressions;
mod resets;
mod standby;
mod stopping;
mod stream_as_socket;
mod yamux;
