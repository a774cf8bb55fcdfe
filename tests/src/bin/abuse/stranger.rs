//! Somebody who comes to the control port from any address of this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use shared::carry::Carry;
use shared::carry::tls::Tls;
use shared::control::protocol::{Credential, FromRelay, Hello};
use shared::token::{Challenge, Token};
use tests::peer::dial_from;
use tests::rogue::{RogueClient, hello};
use tokio::time::timeout;

use crate::stage::Stage;

/// So long a stranger waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a stranger is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is let in.
    LetIn,
    /// It is not, with these words.
    Refused(String),
    /// The connection ends without a word, or nothing comes at all.
    Silence,
    /// There is no connection: this machine has no port left for one, or the relay's queue is full.
    Nothing,
}

/// A number of addresses of this machine that are nobody else's. The first digits tell attacks
/// apart.
pub(crate) fn address(network: u8, number: usize) -> [u8; 4] {
    [127, network, (number / 250) as u8, (number % 250 + 1) as u8]
}

/// A connection from `ip` after its TLS handshake.
pub(crate) async fn shake_hands(
    from: [u8; 4],
    control: SocketAddr,
    trust: &Arc<ClientConfig>,
) -> Result<Tls, Answer> {
    let socket = timeout(PATIENCE, dial_from(from, control)).await;
    let socket = socket.map_err(|_| Answer::Nothing)?.map_err(|_| Answer::Nothing)?;
    let name = "127.0.0.1".try_into().expect("a name");
    let tls = timeout(PATIENCE, Tls::connect(Arc::clone(trust), name, socket)).await;
    tls.map_err(|_| Answer::Silence)?.map_err(|_| Answer::Silence)
}

/// A first message that shows `token` and proves that `proves` is there, for this connection.
pub(crate) fn showing(tls: &Tls, token: &Token, proves: &Token, tunnels: &[&str]) -> Hello {
    let proof = tls.channel().binding().map(|b| proves.prove(&Challenge::Channel(b)));
    let credential = Some(Credential::Token { token: token.presented().clone(), proof });
    Hello { credential, ..hello(tunnels) }
}

/// Tries to come in from `ip` as whoever has `token`, with a proof that `proves` is there.
pub(crate) async fn knock(stage: &Stage, ip: [u8; 4], token: &Token, proves: &Token) -> Answer {
    let tls = match shake_hands(ip, stage.relay.control, &stage.trust).await {
        Ok(tls) => tls,
        Err(answer) => return answer,
    };
    ask(tls, token, proves).await
}

/// The same over a connection that is there.
pub(crate) async fn ask(tls: Tls, token: &Token, proves: &Token) -> Answer {
    let hello = showing(&tls, token, proves, &["default"]);
    let answer = timeout(PATIENCE, async {
        let mut client = RogueClient::try_over(tls, hello).await?;
        client.control.receive().await.ok()
    });
    match answer.await {
        Ok(Some(FromRelay::Refused(refusal))) => Answer::Refused(refusal.message),
        Ok(Some(FromRelay::Welcome(_))) => Answer::LetIn,
        Ok(Some(_) | None) | Err(_) => Answer::Silence,
    }
}
