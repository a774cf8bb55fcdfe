//! What tells one secret from another where it can be seen.

use std::sync::LazyLock;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::HEXLOWER;

/// So many bytes of it are shown: no two secrets that anybody will ever have look alike.
const SHOWN: usize = 6;

/// Of this process alone: nobody can try out secrets on what stands in a log.
static KEY: LazyLock<Key> = LazyLock::new(|| {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system gives random bytes");
    Key::new(HMAC_SHA256, &key)
});

/// What tells one secret from another for as long as the process lives, and tells nobody the secret.
pub fn fingerprint(secret: &[u8]) -> String {
    HEXLOWER.encode(&sign(&KEY, secret).as_ref()[..SHOWN])
}
