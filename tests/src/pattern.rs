//! Bytes that are told apart wherever they turn up: random, but the same every time.

use std::sync::OnceLock;

/// A prime, so that no power of two hides a piece that went astray.
const LENGTH: usize = 1_048_573;

/// An endless sequence of bytes, a different one for each seed, and the place in it.
#[derive(Clone, Debug)]
pub struct Pattern {
    at: usize,
}

impl Pattern {
    /// The beginning of the sequence of `seed`.
    pub fn new(seed: usize) -> Self {
        Self { at: seed.wrapping_mul(7_919) % LENGTH }
    }

    /// The next bytes, at most `most` and at least one.
    pub fn next(&mut self, most: usize) -> &'static [u8] {
        let block = block();
        let end = block.len().min(self.at + most);
        let bytes = &block[self.at..end];
        self.at = end % LENGTH;
        bytes
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            bytes.extend_from_slice(self.next(length - bytes.len()));
        }
        bytes
    }

    /// Checks that `bytes` come next.
    ///
    /// # Panics
    ///
    /// They do not.
    pub fn check(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = self.next(bytes.len());
            let (now, rest) = bytes.split_at(expected.len());
            assert!(now == expected, "the bytes are not those that were sent");
            bytes = rest;
        }
    }
}

/// xorshift64*, once for the whole process.
fn block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = Vec::with_capacity(LENGTH + 8);
        while block.len() < LENGTH {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            block.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
        }
        block.truncate(LENGTH);
        block
    })
}
