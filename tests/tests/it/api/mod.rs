//! The API: who sees and steers what.

mod at_the_edge;
mod callers;
mod document;
mod events;
mod requests;
mod roles;
mod statistics;

use tests::api::Caller;
use tests::kept::{Kept, client};
use tests::local;
use tests::process::{Client, Relay};

/// A relay with two users, a client of each, and callers of every kind.
struct Place {
    kept: Kept,
    relay: Relay,
    admin: Caller,
    ann: Caller,
    bob: Caller,
    nobody: Caller,
    /// The ids of the tokens of ann and bob that call.
    ids: [String; 2],
    _clients: [Client; 2],
    _service: local::Local,
}

impl Place {
    async fn of(kept: Kept) -> Self {
        for user in ["ann", "bob", "root"] {
            kept.ask(&["user", "create", user]).await;
        }
        let relay = kept.relay().await;
        let service = local::echo().await;
        let scoped = async |user, scope| kept.token(user, "caller", &["--scope", scope]).await;
        let [(admin, _), (ann, ann_id), (bob, bob_id)] =
            [scoped("root", "admin").await, scoped("ann", "own").await, scoped("bob", "own").await];
        let mut clients = Vec::new();
        for user in ["ann", "bob"] {
            let (token, _) = kept.token(user, "client", &[]).await;
            let tunnel = format!("{user}s={}", service.addr());
            let mut client = client(&relay, &token, &["--tunnel", &tunnel]);
            client.event("live").await;
            clients.push(client);
        }
        let at = relay.admin;
        Self {
            admin: Caller::holder(at, &admin),
            ann: Caller::holder(at, &ann),
            bob: Caller::holder(at, &bob),
            nobody: Caller::nobody(at),
            ids: [ann_id, bob_id],
            _clients: clients.try_into().expect("two"),
            _service: service,
            kept,
            relay,
        }
    }

    /// The number of the session of a user.
    async fn session(&self, user: &str) -> String {
        let sessions = self.admin.get(&format!("/sessions?owner={user}")).await.is(200);
        sessions.each("id").into_iter().next().expect("a session")
    }
}
