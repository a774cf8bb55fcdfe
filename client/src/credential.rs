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
pub(crate) fn answer(secret: Option<&Secret>, nonce: Nonce) -> Option<FromClient> {
    match secret? {
        Secret::Token(token) => {
            Some(FromClient::Proof { proof: token.prove(&Challenge::Nonce(nonce)) })
        }
        Secret::Jwt(_) => None,
    }
}

/// Whether the question can be that of another relay, which would let in whoever passes the answer on
/// to it: a relay that has the channel of this session has no reason to ask.
pub(crate) fn may_be_passed_on(mux: &Mux) -> bool {
    mux.link().channel().binding().is_some()
}
