//! The keys of tokens: Ed25519, and the three things that are signed with them.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

/// The length of a seed and of a public key in bytes (RFC 8032, section 5.1.5).
pub(super) const KEY: usize = 32;

/// The length of a signature in bytes (RFC 8032, section 5.1.6).
pub(super) const SIGNATURE: usize = 64;

/// What a signature is for stands in front of what is signed, so that none can be used for another
/// purpose.
const NARROWING: &[u8] = b"sallyport token: narrowed\0";
const CHANNEL: &[u8] = b"sallyport token: channel\0";
const NONCE: &[u8] = b"sallyport token: nonce\0";

/// The secret half of a key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Seed([u8; KEY]);

impl Seed {
    pub(super) fn random() -> Self {
        let mut seed = [0; KEY];
        fill(&mut seed);
        Self(seed)
    }

    pub(super) fn new(seed: [u8; KEY]) -> Self {
        Self(seed)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    pub(super) fn verifier(&self) -> Verifier {
        let mut key = [0; KEY];
        key.copy_from_slice(self.pair().public_key().as_ref());
        Verifier(key)
    }

    pub(super) fn sign_narrowing(&self, grant: &[u8], next: &Verifier) -> [u8; SIGNATURE] {
        self.sign(&narrowing(grant, next))
    }

    pub(super) fn prove(&self, challenge: &Challenge) -> Proof {
        Proof(self.sign(&challenge.message()))
    }

    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        let mut signature = [0; SIGNATURE];
        signature.copy_from_slice(self.pair().sign(message).as_ref());
        signature
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.0).expect("every 32 bytes are a seed")
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(***)")
    }
}

/// Random bytes from the system.
///
/// # Panics
///
/// The system has none to give: nothing that this program does is safe then.
pub(super) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives random bytes");
}

/// What a relay keeps of a token: its public key. It tells the holder from anybody else and is no
/// secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verifier(pub [u8; KEY]);

impl Verifier {
    /// Whether the holder of the key made the proof, for this challenge.
    pub fn accepts(&self, proof: &Proof, challenge: &Challenge) -> bool {
        self.verify(&challenge.message(), &proof.0)
    }

    pub(super) fn has_narrowed(&self, grant: &[u8], next: &Self, signature: &[u8]) -> bool {
        self.verify(&narrowing(grant, next), signature)
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

fn narrowing(grant: &[u8], next: &Verifier) -> Vec<u8> {
    // The key has a length of its own, so nothing can move from one part to the other.
    [NARROWING, &next.0, grant].concat()
}

/// What a client signs to prove that it holds a token: something that no other connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// The binding of the TLS channel (RFC 9266), which both ends know by themselves.
    Channel([u8; 32]),
    /// A random number that the relay has sent.
    Nonce(Nonce),
}

/// A number that is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce([u8; 32]);

impl Nonce {
    /// A new random number.
    pub fn random() -> Self {
        let mut nonce = [0; 32];
        fill(&mut nonce);
        Self(nonce)
    }
}

impl Challenge {
    fn message(&self) -> Vec<u8> {
        match self {
            Self::Channel(binding) => [CHANNEL, binding].concat(),
            Self::Nonce(nonce) => [NONCE, &nonce.0].concat(),
        }
    }
}

/// A signature that proves who holds a token. It is good for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Proof([u8; SIGNATURE]);

/// As they are written in JSON: base64url (RFC 4648, section 5) without padding.
macro_rules! in_base64 {
    ($type:ty, $expected:literal) => {
        impl TryFrom<String> for $type {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
                bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or($expected)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                BASE64URL_NOPAD.encode(&value.0)
            }
        }
    };
}

in_base64!(Nonce, "a nonce is 32 bytes in base64url");
in_base64!(Proof, "a proof is 64 bytes in base64url");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_one_challenge_of_one_kind() {
        let seed = Seed::random();
        let nonce = Nonce::random();
        let challenge = Challenge::Nonce(nonce);
        let proof = seed.prove(&challenge);
        assert!(seed.verifier().accepts(&proof, &challenge));
        assert!(!seed.verifier().accepts(&proof, &Challenge::Nonce(Nonce::random())));
        assert!(!seed.verifier().accepts(&proof, &Challenge::Channel(nonce.0)));
        assert!(!Seed::random().verifier().accepts(&proof, &challenge));

        let json = serde_json::to_string(&proof).unwrap();
        assert_eq!(serde_json::from_str::<Proof>(&json).unwrap(), proof);
        assert!(serde_json::from_str::<Proof>("\"AA\"").is_err());
    }

    #[test]
    fn a_seed_is_never_printed() {
        assert_eq!(format!("{:?}", Seed::new([7; KEY])), "Seed(***)");
    }

    /// The first key of RFC 8032, section 7.1.
    #[test]
    fn keys_are_those_of_the_standard() {
        let hex = |text: &str| -> [u8; 32] {
            data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
        };
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(Seed::new(seed).verifier(), Verifier(public));
    }
}
