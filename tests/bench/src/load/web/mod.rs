//! Visitors of the web.

pub(crate) mod endless;
pub(crate) mod events;
pub(crate) mod http2;
pub(crate) mod tls;
pub(crate) mod visitor;
