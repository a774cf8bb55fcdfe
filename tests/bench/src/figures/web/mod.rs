//! What the relay is as a server of the web, beside the same without a tunnel and beside a tunnel that
//! passes on connections.

pub(super) mod bulk;
pub(super) mod events;
pub(super) mod handshakes;
pub(super) mod http2;
pub(super) mod idle_memory;
pub(super) mod keep_alive;
pub(super) mod latency;
pub(super) mod routes;
