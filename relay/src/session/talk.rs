//! How much a client that was let in may say.

use std::time::{Duration, Instant};

use shared::control::protocol::{FromClient, MAX_TUNNELS};
use shared::kit::budget::Budget;

/// So many messages may come at once: a client with all the tunnels that it may have opens, changes
/// and closes each of them, and says how each of them is, in far fewer.
const MESSAGES: u32 = 4096;

/// One more message may come after so long. Heartbeats at their fastest are 40 a second.
const MESSAGE_EACH: Duration = Duration::from_millis(2);

/// Messages may name so many tunnels at once: a client with all that it may have opens, changes and
/// closes each of them, and says how each of them is.
const NAMED: u32 = 4 * MAX_TUNNELS as u32;

/// One more tunnel may be named after so long. To open and close one takes some 0.1 ms, and as long
/// to tell all connections of two clients which of them serves it: a twentieth of a core at most.
const NAMED_EACH: Duration = Duration::from_millis(2);

/// What a client has left to say.
#[derive(Debug)]
pub(super) struct Talk {
    messages: Budget,
    named: Budget,
}

impl Talk {
    /// A client that has said nothing yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            messages: Budget::new(MESSAGES, MESSAGE_EACH, now),
            named: Budget::new(NAMED, NAMED_EACH, now),
        }
    }

    /// Whether the client may say this as well.
    pub(super) fn allows(&mut self, message: &FromClient, now: Instant) -> bool {
        self.messages.takes(now) && self.named.takes_many(named(message), now)
    }
}

/// How many tunnels a message names: most of the work that it makes is for each of them.
fn named(message: &FromClient) -> u32 {
    let count = match message {
        FromClient::Open { tunnels, .. } | FromClient::Update { tunnels, .. } => tunnels.len(),
        FromClient::Close { tunnels, .. } => tunnels.len(),
        FromClient::Health { tunnels } => tunnels.len(),
        FromClient::Hello(_)
        | FromClient::Proof { .. }
        | FromClient::Draining
        | FromClient::Heartbeat { .. }
        | FromClient::HeartbeatAck { .. }
        | FromClient::Goodbye { .. } => 0,
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use shared::control::protocol::{PAGE, TunnelHealth, TunnelName, TunnelRequest};
    use shared::kit::net::Rules;

    use super::*;

    fn requests(names: &[TunnelName]) -> Vec<TunnelRequest> {
        let request = |name: &TunnelName| TunnelRequest {
            name: name.clone(),
            entrances: Vec::new(),
            local: String::new(),
            withdraw: false,
            healthy: true,
            destination: false,
            rules: Rules::default(),
            http: None,
        };
        names.iter().map(request).collect()
    }

    fn health(names: &[TunnelName]) -> FromClient {
        let health = |name: &TunnelName| TunnelHealth { name: name.clone(), healthy: false };
        FromClient::Health { tunnels: names.iter().map(health).collect() }
    }

    #[test]
    fn a_client_with_the_most_tunnels_says_all_there_is_to_say_of_each_at_once() {
        let names: Vec<TunnelName> =
            (0..MAX_TUNNELS).map(|n| format!("t{n}").parse().unwrap()).collect();
        let now = Instant::now();
        let mut talk = Talk::new(now);
        for page in names.chunks(PAGE) {
            let (open, update) = (requests(page), requests(page));
            assert!(talk.allows(&FromClient::Open { id: 0, tunnels: open }, now));
            assert!(talk.allows(&FromClient::Update { id: 0, tunnels: update }, now));
            assert!(talk.allows(&health(page), now));
            assert!(talk.allows(&FromClient::Close { id: 0, tunnels: page.to_vec() }, now));
        }
        assert!(talk.allows(&FromClient::Heartbeat { id: 0 }, now));
        assert!(!talk.allows(&health(&names[..1]), now), "and no more");
        let later = now + Duration::from_secs(9);
        assert!(talk.allows(&health(&names[..MAX_TUNNELS]), later), "a while later");
    }

    #[test]
    fn messages_that_name_no_tunnel_are_counted_too() {
        let now = Instant::now();
        let mut talk = Talk::new(now);
        let said = (0..).take_while(|id| talk.allows(&FromClient::Heartbeat { id: *id }, now));
        assert_eq!(said.count(), MESSAGES as usize);
    }
}
