//! The client: the end of Sallyport beside the local services.
//!
//! [`Client`] connects to a relay, serves, and comes back when the connection is lost. Below it
//! lie, one level each: `bundle`, the connections that it has at a time; `session`, one connection
//! with its control stream; `local`, one visitor's stream and the local service that it leads to.
//! [`banner`] is what a person or a program sees of it all on stdout, [`terminal`] what a person sees
//! below that.

mod announcer;
pub mod banner;
mod bundle;
pub mod cli;
mod client;
mod config;
mod connect;
mod credential;
mod health;
mod local;
mod session;
mod status;
mod tally;
pub mod terminal;
mod tls;
mod tunnel;

pub use crate::client::{Client, Reconfigure};
pub use config::{BadSettings, Config, Diff, Reconnect, Settings, TlsSettings, Update};
pub use status::{Event, LiveTunnel, Status};
pub use tally::Tally;
pub use tunnel::{
    Authorities, BadProbe, BadProxyVersion, BadTunnel, Carries, HealthCheck, Hosts, HttpTunnel,
    Kind, LocalService, Place, Probe, Protocol, ProxyVersion, Secured, Target, Trust, TunnelConfig,
};
