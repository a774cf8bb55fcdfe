//! What only real processes can show: signals, kills, limits, the command line.

mod access_log;
mod audit;
mod bans;
mod certificates;
mod closing;
mod command_line;
mod config_file;
mod descriptors;
mod jwt;
mod killed;
mod login;
mod logs;
mod narrowed;
mod nginx;
mod one_tunnel;
mod quiet;
mod read_along;
mod reconnect;
mod refused;
mod reloads;
mod rotated;
mod secrets;
mod secured_service;
mod shared_secret;
mod standby;
mod starting;
mod store;
mod store_trouble;
mod targets;
mod tls;
mod token_places;
mod told;
mod traffic;
mod unread;

use tests::kept;
