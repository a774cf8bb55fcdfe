//! What the client shows to be let in.

use shared::carry::mux::Mux;
use shared::control::protocol::{Credential, FromClient};
use shared::token::{Challenge, Nonce, Secret};

/// What a client shows of its secret in its `Hello`. A token proves itself at once where both ends
/// know what to sign.
pub(crate) fn shown(secret: &Secret, mux: &Mux) -> Credential {
    match secret {
        Secret::Jwt(jwt) => Credential::Jwt { jwt: jwt.clone() },
        Secret::Token(token) => Credential::Token {
            token: token.presented().clone(),
            proof: mux
                .link()
                .channel()
                .binding()
                .map(|binding| token.prove(&Challenge::Channel(binding))),
        },
    }
}

/// The answer to a relay that wants to know whether the token is here. `None`: there is none, so
/// it has no reason to ask.
pub(crate) fn answer(token: Option<&Secret>, nonce: Nonce) -> Option<FromClient> {
    match token? {
        Secret::Token(token) => {
            Some(FromClient::Proof { proof: token.prove(&Challenge::Nonce(nonce)) })
        }
        Secret::Jwt(_) => None,
    }
}

/// Whether an answer would say more than this channel calls for: over one that ties a proof to it,
/// the question can be somebody else's, who would get in with the answer.
pub(crate) fn is_passed_on(mux: &Mux) -> bool {
    mux.link().channel().binding().is_some()
}
