//! What a client shows of itself, and the proof that it holds it.

use shared::carry::mux::Mux;
use shared::control::channel::ReceiveError;
use shared::control::protocol::{Credential, FromClient, FromRelay};
use shared::token::{Challenge, Nonce};

use super::handshake::{ControlStream, Turned};
use crate::access::Shown;

/// Has the client prove what it shows, with a question where both ends have no channel to sign.
///
/// Whoever shows a token that nobody knows is asked as well: the question tells a stranger nothing.
/// Over a channel nobody is asked: somebody else could pass the question on to whoever has the token.
pub(super) async fn shown(
    control: &mut ControlStream,
    mux: &Mux,
    credential: Option<Credential>,
) -> Result<Shown, Turned> {
    let (token, proof) = match credential {
        None => return Ok(Shown::Nothing),
        Some(Credential::Jwt { jwt }) => return Ok(Shown::Jwt(jwt)),
        Some(Credential::Token { token, proof }) => (token, proof),
    };
    match (mux.link().channel().binding(), proof) {
        (Some(binding), Some(proof)) => {
            return Ok(Shown::Token { token, proof, challenge: Challenge::Channel(binding) });
        }
        (Some(_), None) => return Ok(Shown::Unproven),
        // Behind a proxy that ends TLS a proof for its channel is of no use.
        (None, _) => (),
    }
    let nonce = Nonce::random();
    control
        .send(&FromRelay::Challenge { nonce })
        .await
        .map_err(|err| Turned::Lost(err.to_string()))?;
    match control.receive().await {
        Ok(FromClient::Proof { proof }) => {
            Ok(Shown::Token { token, proof, challenge: Challenge::Nonce(nonce) })
        }
        Ok(_) => Err(Turned::Invalid("it does not answer the challenge".into())),
        Err(ReceiveError::Closed) => Err(Turned::Lost("the control stream ended".into())),
        Err(err) => Err(Turned::Invalid(err.to_string())),
    }
}
