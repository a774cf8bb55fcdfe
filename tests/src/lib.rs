//! A whole world for tests: a relay, its clients, the services behind them, the wire between them
//! and the visitors in front.
//!
//! - [`world`]: a relay and its clients, in this process
//! - [`wire`]: the link between them, which a test can cut, stall, slow down and mend
//! - [`local`]: local services, well behaved and not
//! - [`peer`]: one end of a TCP connection: a visitor, or a local service that a test plays itself
//! - [`acme`]: an authority that issues certificates by itself, and a relay that orders there
//! - [`authority`]: certificates, good ones and bad ones
//! - [`browser`]: a real browser
//! - [`files`]: files in a folder that goes with the test
//! - [`floods`]: frames in a number that no honest client sends
//! - [`grpc`]: gRPC: a local service with a method of each kind, and whoever calls it
//! - [`http`]: HTTP by hand, for what no honest program says or does
//! - [`kept`]: where users and tokens are kept
//! - [`name_server`]: a real name server with zones of its own
//! - [`nginx`]: a real nginx
//! - [`pattern`]: bytes that are told apart wherever they turn up
//! - [`scrape`]: what the relay shows to Prometheus
//! - [`jwt`]: JSON Web Tokens, put together and signed by hand
//! - [`secret`]: a secret that a relay shares with its clients, and what it is narrowed to
//! - [`secured`]: a certificate of a relay in files, and who trusts it
//! - [`raw`]: yamux frames by hand
//! - [`rogue`]: clients and relays that do not play by the rules
//! - [`sockets`]: WebSockets: a local service with pages beside them, and visitors
//! - [`usage`]: what this process holds; tests that need a process of their own
//! - [`wait`]: waiting for something, but not forever
//! - [`web`]: HTTP: a local service, a client of an HTTP tunnel and visitors
//! - [`process`]: the relay and the client as real processes
//!
//! Nothing here uses a port that the kernel did not choose, and everything that waits says for
//! what. Tests run on one thread each (`#[tokio::test]`): the harness tells its own tasks and
//! panics from others' by their thread.

pub mod acme;
pub mod api;
pub mod authority;
pub mod axe;
pub mod browser;
pub mod files;
pub mod floods;
pub mod grpc;
pub mod http;
pub mod jwt;
pub mod kept;
pub mod local;
pub mod name_server;
pub mod nginx;
pub mod pattern;
pub mod peer;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod rogue;
pub mod scrape;
pub mod secret;
pub mod secured;
pub mod sockets;
pub mod tasks;
pub mod usage;
pub mod wait;
pub mod web;
pub mod wire;
pub mod world;

pub use authority::{Authority, Identity};
pub use browser::{Browser, Page};
pub use files::Folder;
pub use local::Local;
pub use name_server::NameServer;
pub use nginx::Nginx;
pub use peer::Peer;
pub use secured::Secured;
pub use tasks::Tasks;
pub use wait::{eventually, eventually_within, stays, within, within_time};
pub use web::{WebClient, WebService};
pub use wire::Wire;
pub use world::{RunningClient, World};
