//! Tokens and what is shown of them: never a panic, nobody's chain leads to a key that has signed
//! nothing, and what was understood reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::token::{Presented, Secret, Token};

fuzz_target!(|input: (String, Vec<u8>)| {
    let (text, json) = input;
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.to_string(), text);
    }
    drop(text.parse::<Secret>());
    if let Ok(presented) = serde_json::from_slice::<Presented>(&json) {
        let again = serde_json::to_vec(&presented).expect("our own value");
        assert_eq!(serde_json::from_slice::<Presented>(&again).expect("our own encoding"), presented);
        let stranger = Token::random().verifier();
        assert!(presented.follow(stranger).is_err() || !presented.is_narrowed());
    }
});
