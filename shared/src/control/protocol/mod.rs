//! What a client and a relay say to each other on the control stream: messages, refusals, limits.
//!
//! Data only, no I/O. [`channel`](crate::control::channel) carries these messages over a stream as
//! length-delimited JSON; `docs/protocol.md` shows them byte by byte. Unknown fields are ignored,
//! so that either end can be newer; an unknown message is an error.

mod credential;
mod hosts;
mod http;
mod messages;
mod names;
mod refusal;

use std::time::Duration;

pub use self::credential::{Credential, MAX_CREDENTIAL};
pub use self::hosts::{
    BadDomainName, BadPathPrefix, BadSubdomain, DomainName, MAX_SEGMENTS, PathPrefix, Subdomain,
    WebHost,
};
pub use self::http::{
    Balance, HttpOptions, HttpVersion, JwtCheck, MAX_HTTP_OPTIONS, SecretDigest, WebhookCheck,
    WebhookSender,
};
pub use self::messages::{
    Common, EntranceRequest, FromClient, FromRelay, Hello, Message, TunnelAnswer, TunnelHealth,
    TunnelOutcome, TunnelRequest, Welcome,
};
pub use self::names::{
    BadHostName, BadPublicAddress, BadTunnelName, HostName, InstanceId, MAX_TUNNEL_NAME,
    PublicAddress, TunnelName,
};
pub use self::refusal::{DnsRecord, Refusal, RefusalCode};

/// The version of the protocol that this crate speaks. A relay refuses any other.
pub const VERSION: u32 = 2;

/// The largest control message in bytes, once the client has been admitted.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The largest control message in bytes that a relay reads from a client it has not admitted yet:
/// a stranger gets no more of its memory than this.
pub const MAX_HELLO: usize = 15 * 1024;

/// The time a client has for its whole handshake, from the accepted connection to `Welcome`.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often each end sends a heartbeat. A relay announces its own figure in [`Welcome`].
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// A session on which nothing arrives for this many heartbeats is dead.
pub const DEAD_AFTER_HEARTBEATS: u32 = 3;

/// The most streams that one session carries at a time. The relay keeps to the lower of this and
/// [`Hello::max_streams`] with permits, so that yamux's own limit, which ends the session, is
/// never reached.
pub const MAX_STREAMS: u32 = 16 * 1024;

/// The most tunnels in one session.
pub const MAX_TUNNELS: usize = 4096;

/// The most tunnels in one message. Each answer to them fits [`MAX_MESSAGE`] with the longest
/// names.
pub const PAGE: usize = 64;

/// The most bytes that the tunnels of a [`Hello`] take up, as JSON: the rest of [`MAX_HELLO`] is
/// for what else it says. More tunnels follow in pages once the client is welcome.
pub const FIRST_PAGE: usize = MAX_HELLO - MAX_CREDENTIAL - 1024;

/// The most public addresses of one tunnel that a client asks for.
pub const MAX_ENTRANCES: usize = 8;

/// The longest description of a local service in a [`TunnelRequest`], in bytes.
pub const MAX_LOCAL: usize = 512;

/// The most connections of one client.
pub const MAX_CONNECTIONS: u16 = 16;

/// How many of `tunnels` fit one page of `bytes` bytes of JSON: at least one, [`PAGE`] at most.
pub fn page(tunnels: &[TunnelRequest], bytes: usize) -> usize {
    let mut total = 0;
    let fits = tunnels.iter().take(PAGE).take_while(|tunnel| {
        total += serde_json::to_vec(tunnel).map_or(0, |json| json.len() + 1);
        total <= bytes
    });
    fits.count().max(tunnels.len().min(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::net::{MAX_NETWORKS, Networks, Rules};

    fn longest(n: usize) -> TunnelRequest {
        let network = "abcd:abcd:abcd:abcd:abcd:abcd:abcd:abcd/128";
        let deny = [network; MAX_NETWORKS].join(",").parse().unwrap();
        TunnelRequest {
            name: format!("{n:0>63}").parse().unwrap(),
            entrances: vec![EntranceRequest::Tcp { port: Some(60000), prefer: Some(60000) }],
            local: "x".repeat(MAX_LOCAL),
            withdraw: true,
            healthy: false,
            destination: true,
            rules: Rules { allow: Networks::default(), deny },
            http: Some(HttpOptions {
                remove_header: vec!["x".repeat(MAX_HTTP_OPTIONS - 20)],
                ..HttpOptions::default()
            }),
        }
    }

    #[test]
    fn a_page_fits_its_message_and_no_tunnel_is_too_long_for_one() {
        let tunnels: Vec<_> = (0..100).map(longest).collect();
        for (bytes, limit) in [(FIRST_PAGE, MAX_HELLO), (MAX_MESSAGE - 1024, MAX_MESSAGE)] {
            let n = page(&tunnels, bytes);
            let json = serde_json::to_vec(&tunnels[..n]).unwrap();
            assert!(n >= 1 && json.len() <= limit, "{n} tunnels are {} bytes", json.len());
        }
        assert_eq!(page(&tunnels[..3], MAX_MESSAGE - 1024), 3);
        assert_eq!(page(&[], FIRST_PAGE), 0);
    }
}
