//! JSON (RFC 8259), several values one after the other included. It is read as it comes; nothing is
//! held back of it but a word of a few letters.

use super::super::cost;
use super::super::names::Names;
use super::Unsure;
use crate::web::mask::MASKED;

/// Deeper than this is no data that somebody reads.
const DEEPEST: usize = 256;

/// The longest name of a key that is compared, in bytes as it is written, of which each may be
/// `\uxxxx`. A longer one may be any.
const LONGEST_KEY: usize = 512;

/// JSON on its way.
#[derive(Debug, Default)]
pub(in super::super) struct Json {
    at: At,
    /// The objects and arrays around it.
    around: Vec<Around>,
    /// The key of the value that comes next, as it is written.
    key: Vec<u8>,
    /// A word that is not over.
    word: Vec<u8>,
    /// Set while a value is passed over that is a secret.
    passed_over: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Object,
    Array,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Value,
    /// Behind `[`.
    ValueOrEnd,
    Key,
    /// Behind `{`.
    KeyOrEnd,
    Colon,
    /// Behind a value.
    Comma,
    Text {
        is_key: bool,
        is_escaped: bool,
    },
    Word,
    Number,
}

impl Json {
    /// Goes on by `data`.
    ///
    /// # Errors
    ///
    /// It is no JSON.
    pub(in super::super) fn push(
        &mut self,
        data: &[u8],
        names: &Names,
        kept: &mut Vec<u8>,
    ) -> Result<(), Unsure> {
        for &byte in data {
            self.next(byte, names, kept).ok_or(Unsure::NoJson)?;
        }
        Ok(())
    }

    /// Goes on by one byte. `None`: it has no place there.
    fn next(&mut self, byte: u8, names: &Names, kept: &mut Vec<u8>) -> Option<()> {
        match self.at {
            At::Text { is_key, is_escaped } => return self.text(byte, (is_key, is_escaped), kept),
            At::Word if byte.is_ascii_lowercase() => {
                self.word.push(byte);
                return (self.word.len() <= 5).then_some(());
            }
            At::Word => {
                let is_known = [&b"true"[..], b"false", b"null"].contains(&&*self.word);
                let word = std::mem::take(&mut self.word);
                self.keep(&word, kept);
                self.ends();
                is_known.then_some(())?;
            }
            At::Number if matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E') => {
                self.keep(&[byte], kept);
                return Some(());
            }
            At::Number => self.ends(),
            _ => (),
        }
        // Between values, where the marks of a stream of them are as good as blanks.
        let is_blank = byte.is_ascii_whitespace()
            || (self.around.is_empty() && matches!(byte, 0x1e | 0xef | 0xbb | 0xbf));
        if is_blank {
            self.keep(&[byte], kept);
            return Some(());
        }
        match (self.at, byte) {
            (At::Value | At::ValueOrEnd, b'"' | b'{' | b'[' | b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                self.value(byte, names, kept)?;
            }
            (At::ValueOrEnd, b']') | (At::KeyOrEnd, b'}') => self.close(byte, kept)?,
            (At::Key | At::KeyOrEnd, b'"') => {
                self.key.clear();
                self.keep(b"\"", kept);
                self.at = At::Text { is_key: true, is_escaped: false };
            }
            (At::Colon, b':') => {
                self.keep(b":", kept);
                self.at = At::Value;
            }
            (At::Comma, b',') => {
                self.keep(b",", kept);
                self.at = match self.around.last()? {
                    Around::Object => At::Key,
                    Around::Array => At::Value,
                };
            }
            (At::Comma, b'}' | b']') => self.close(byte, kept)?,
            _ => return None,
        }
        Some(())
    }

    /// A value begins.
    fn value(&mut self, byte: u8, names: &Names, kept: &mut Vec<u8>) -> Option<()> {
        let is_of_object = self.around.last() == Some(&Around::Object);
        // A word is `null`, `true` or `false`, and says nothing.
        if is_of_object && self.passed_over.is_none() && !byte.is_ascii_lowercase() {
            let is_text = byte == b'"';
            if self.hides(names, is_text) {
                kept.extend_from_slice(format!("\"{MASKED}\"").as_bytes());
                self.passed_over = Some(self.around.len());
            }
        }
        self.at = match byte {
            b'"' => At::Text { is_key: false, is_escaped: false },
            b'{' | b'[' => {
                (self.around.len() < DEEPEST).then_some(())?;
                let (around, at) = match byte {
                    b'{' => (Around::Object, At::KeyOrEnd),
                    _ => (Around::Array, At::ValueOrEnd),
                };
                self.around.push(around);
                at
            }
            b'a'..=b'z' => {
                self.word.push(byte);
                self.at = At::Word;
                return Some(());
            }
            _ => At::Number,
        };
        self.keep(&[byte], kept);
        Some(())
    }

    /// Whether the value of the key that was read last is a secret.
    fn hides(&self, names: &Names, is_text: bool) -> bool {
        if self.key.len() > LONGEST_KEY {
            return true;
        }
        let quoted = [b"\"", &*self.key, b"\""].concat();
        // A key that cannot be read may be any.
        let key = serde_json::from_slice::<String>(&quoted);
        key.map_or(true, |key| names.hide_key(&key, is_text))
    }

    fn text(
        &mut self,
        byte: u8,
        (is_key, is_escaped): (bool, bool),
        kept: &mut Vec<u8>,
    ) -> Option<()> {
        self.keep(&[byte], kept);
        if byte == b'"' && !is_escaped {
            match is_key {
                true => self.at = At::Colon,
                false => self.ends(),
            }
            return Some(());
        }
        if is_key && self.key.len() <= LONGEST_KEY {
            self.key.push(byte);
        }
        let is_escaped = byte == b'\\' && !is_escaped;
        self.at = At::Text { is_key, is_escaped };
        Some(())
    }

    fn close(&mut self, byte: u8, kept: &mut Vec<u8>) -> Option<()> {
        let expected = match self.around.pop()? {
            Around::Object => b'}',
            Around::Array => b']',
        };
        self.keep(&[byte], kept);
        self.ends();
        (byte == expected).then_some(())
    }

    /// A value is over.
    fn ends(&mut self) {
        if self.passed_over == Some(self.around.len()) {
            self.passed_over = None;
        }
        self.at = if self.around.is_empty() { At::Value } else { At::Comma };
    }

    fn keep(&self, bytes: &[u8], kept: &mut Vec<u8>) {
        if self.passed_over.is_none() {
            kept.extend_from_slice(bytes);
        }
    }

    pub(super) fn cost(&self) -> usize {
        let parts = [self.around.capacity(), self.key.capacity(), self.word.capacity()];
        parts.into_iter().map(cost::of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(text: &str) -> Result<String, Unsure> {
        let results = [1, 3, 1000].map(|piece| {
            let (mut json, mut kept) = (Json::default(), Vec::new());
            for piece in text.as_bytes().chunks(piece) {
                json.push(piece, &Names::default(), &mut kept)?;
            }
            Ok(String::from_utf8(kept).unwrap())
        });
        assert!(results.iter().all(|one| *one == results[0]), "{results:?}");
        results.into_iter().next().unwrap()
    }

    #[test]
    fn values_of_secrets_are_masked_whatever_they_are() {
        for (text, kept) in [
            (r#"{"password":"hush","a":1}"#, r#"{"password":"***","a":1}"#),
            (
                r#"{"a": {"Token" : "hu\"sh"}, "b": [1, 2]}"#,
                r#"{"a": {"Token" : "***"}, "b": [1, 2]}"#,
            ),
            (r#"{"secret":{"a":["hush",{"b":"hush"}]},"c":2}"#, r#"{"secret":"***","c":2}"#),
            (r#"{"pin":1234,"x":[]}"#, r#"{"pin":"***","x":[]}"#),
            (r#"{"pass\u0077ord":"hush"}"#, r#"{"pass\u0077ord":"***"}"#),
            (r#"{"token":null,"x":true }"#, r#"{"token":null,"x":true }"#),
            (r#"{"code":200,"sub":{"code":"hush"}}"#, r#"{"code":200,"sub":{"code":"***"}}"#),
            (
                "{\"token\":\"hush\"}\n{\"token\":\"hush\"}\n",
                "{\"token\":\"***\"}\n{\"token\":\"***\"}\n",
            ),
            (r#"[{"password":"hush"},"password","x"]"#, r#"[{"password":"***"},"password","x"]"#),
            (r#""password""#, r#""password""#),
            (r#"{"a":"\\","password":"hush\\"}"#, r#"{"a":"\\","password":"***"}"#),
            ("{}", "{}"),
            ("-1.5e3 ", "-1.5e3 "),
        ] {
            assert_eq!(scrubbed(text).as_deref(), Ok(kept), "{text}");
        }
    }

    #[test]
    fn a_body_that_is_cut_within_a_secret_says_nothing_of_it() {
        let text = r#"{"a":1,"password":"hush hush hush"}"#;
        for end in 0..text.len() {
            let kept = scrubbed(&text[..end]).unwrap();
            assert!(!kept.contains("hu"), "{kept}");
        }
    }

    #[test]
    fn what_is_no_json_is_given_up() {
        for text in [
            "{password:hush}",
            "{'password':'hush'}",
            "[1,]x",
            "{\"a\" \"b\"}",
            "[}",
            "nullhush ",
            "]",
            "{\"password\" = \"hush\"}",
            ")]}',\n{}",
            &"[".repeat(300),
        ] {
            assert_eq!(scrubbed(text), Err(Unsure::NoJson), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_too_long_to_compare_may_be_any() {
        let key = "x".repeat(2000);
        let kept = scrubbed(&format!("{{\"{key}\":\"hush\"}}")).unwrap();
        assert!(kept.ends_with(":\"***\"}"), "{kept}");
    }
}
