//! The relay: the public end of Sallyport.
//!
//! Two halves meet in the `registry`: sessions (clients) claim tunnels there, the edge
//! (visitors) finds them. `relay` binds everything, runs it and stops it in order. The nouns
//! that the parts share lie beside it; the parts themselves never import each other:
//!
//! - `session`: the port that clients dial
//! - `edge`: what visitors reach
//! - `admin`: metrics, health and a look at what is there, on a thread of its own

mod access;
mod admin;
mod certs;
pub mod cli;
mod config;
mod data;
mod domains;
mod edge;
mod entrance;
mod impatient;
mod inspect;
mod limits;
mod metrics;
mod placement;
mod ports;
mod registry;
mod relay;
mod routes;
#[cfg(test)]
mod scratch;
mod session;
mod snapshot;
mod statistics;
mod store;
mod target;
mod tunnel;
mod visit;
mod web;

pub use access::{AccessRules, Anonymous, BadJwtKeys, JwtKeys, JwtRules};
pub use certs::{VisitorCerts, Wanted};
pub use config::{
    AccessLogFormat, AcmeChallenge, AcmeSettings, BadMaskNames, BadPublicDomain, BadSetting,
    BadTsigKey, CertificateSettings, Config, Diff, DnsUpdate, DomainSettings, ExternalAccount,
    InspectMemory, InspectSettings, MaskNames, PortRange, PublicDomain, Settings,
    StatisticsSettings, TlsSettings, TlsSource, TsigKey, WebSettings,
};
pub use limits::{BadBanRule, BanPolicy, BanRule, LimitRules};
pub use relay::{Addrs, Reconfigure, Relay};
pub use statistics::{
    BadCursor, BadSpan, Cursor, History, HistoryPage, Percentiles, Point, Scope, Span, Statistics,
};
pub use store::{HistoryEntry, HistoryFilter, HistoryKind};
