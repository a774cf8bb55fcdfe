//! What only real processes can show: signals, kills, limits, the command line.

mod bans;
mod closing;
mod command_line;
mod config_file;
mod descriptors;
mod killed;
mod logs;
mod nginx;
mod quiet;
mod reconnect;
mod refused;
mod reloads;
mod secrets;
mod standby;
mod starting;
mod store;
mod store_trouble;
mod targets;
mod tls;
mod told;
mod traffic;
mod unread;

use tests::kept;
