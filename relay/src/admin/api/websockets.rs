//! `/ws/…`: what happens, for those who would rather have a web socket.

use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;

use super::Api;
use super::caller::Caller;
use super::events::{audience, watch};
use super::problem::{Problem, Problems};
use super::tunnels::find;
use crate::admin::live::{Audience, Follower, News};

/// A request that asks for a web socket, or why it is none.
type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// What is read of whoever watches: nothing that it could have to say is longer.
const LONGEST_MESSAGE: usize = 4096;

/// The same as `/events`, as messages of text with JSON: `{"event": "tick", "data": {…}}`.
#[utoipa::path(
    get, path = "/ws/user", tag = "events", operation_id = "watch_everything",
    responses((status = 101), Problems)
)]
pub(super) async fn user(
    State(api): State<Api>,
    caller: Caller,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    serve(upgrade, watch(&api, audience(&caller)?)?)
}

/// The same for one tunnel alone.
#[utoipa::path(
    get, path = "/ws/tunnels/{tunnel}", tag = "events", operation_id = "watch_tunnel",
    params(("tunnel" = String, Path, description = "Its id; of your own the name is enough.")),
    responses((status = 101), Problems)
)]
pub(super) async fn tunnel(
    State(api): State<Api>,
    caller: Caller,
    Path(wanted): Path<String>,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let tunnel = find(&api, &caller, wanted)?;
    serve(upgrade, watch(&api, Audience::Tunnel(tunnel.id().to_owned()))?)
}

fn serve(upgrade: Upgrade, follower: Follower) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|err| Problem::invalid(err.body_text()))?;
    // What comes after the answer is a task of the admin port's runtime, and ends with it.
    let upgrade = upgrade.max_message_size(LONGEST_MESSAGE).max_frame_size(LONGEST_MESSAGE);
    Ok(upgrade.on_upgrade(|socket| tell(socket, follower)))
}

/// Tells what happens until the other end goes, or the relay stops. A message that is not taken is
/// waited for: meanwhile what happens is dropped, and the other end is told that it has missed it.
async fn tell(mut socket: WebSocket, mut follower: Follower) {
    let mut message = Message::text(r#"{"event":"hello"}"#);
    while socket.send(message).await.is_ok() {
        let news = loop {
            tokio::select! {
                news = follower.next() => break news,
                heard = socket.recv() => match heard {
                    // Whatever it has to say is heard, and not answered.
                    Some(Ok(_)) => (),
                    Some(Err(_)) | None => return,
                },
            }
        };
        message = match news {
            Some(News::Tick(json)) => {
                let json = String::from_utf8_lossy(&json);
                Message::text(format!(r#"{{"event":"tick","data":{json}}}"#))
            }
            Some(News::Missed) => Message::text(r#"{"event":"missed"}"#),
            Some(News::Nothing) => Message::Ping(Bytes::new()),
            None => return,
        };
    }
}
