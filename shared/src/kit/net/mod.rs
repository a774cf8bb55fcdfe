//! Addresses as people write them, and sockets with the options that this product needs.

mod address;
mod dial;
mod errors;
mod linger;
mod listen;
mod lookup;
mod networks;
mod options;
mod rules;

pub use self::address::{BadHostPort, HostPort};
pub use self::dial::{dial_relay, dial_server, dial_service};
pub use self::errors::is_out_of_files;
pub use self::linger::{linger, linger_after_end, shut_down};
pub use self::listen::{listen, listen_on};
pub use self::networks::{BadNetworks, MAX_NETWORKS, Networks};
pub use self::options::Peers;
pub(crate) use self::options::{NOT_SENT_LOW_WATER, limit_unsent};
pub use self::rules::Rules;
