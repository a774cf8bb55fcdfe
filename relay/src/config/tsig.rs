//! The key with which changes of a zone are signed (RFC 8945), as a file has it.

use std::fmt;

use data_encoding::BASE64;
use shared::token::fingerprint;

/// The shortest secret in bytes: one of 128 bits, which nobody guesses.
const SHORTEST: usize = 16;

/// The longest name of a key in bytes, as that of a domain.
const LONGEST_NAME: usize = 253;

/// The key with which changes of a zone are signed. Its secret is not shown by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct TsigKey {
    pub(crate) name: String,
    pub(crate) algorithm: TsigHash,
    pub(crate) secret: Vec<u8>,
}

/// What it signs with. Older ones are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TsigHash {
    Sha256,
    Sha384,
    Sha512,
}

/// Why a file has no key. No secret is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTsigKey {
    /// It is nothing that looks like one.
    NoKey,
    /// There is more than one.
    Several,
    /// Its name is no name in DNS.
    Name,
    /// It is for something else than HMAC with SHA-2.
    Algorithm,
    /// The secret is not in Base64.
    Secret,
    /// The secret can be guessed.
    Short,
}

impl TsigKey {
    /// The key in the text of a file: as BIND has it, `key "NAME" { algorithm …; secret "…"; };`, or
    /// in a line as `NAME:ALGORITHM:SECRET`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadTsigKey> {
        if text.contains('{') {
            return Self::parse_bind(text);
        }
        let mut parts = text.trim().splitn(3, ':');
        let (Some(name), Some(algorithm), Some(secret)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(BadTsigKey::NoKey);
        };
        Self::new(name, algorithm, secret)
    }

    /// What tells this key from others in a log, and tells nobody the key.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&[self.name.as_bytes(), b"\0", &self.secret[..]].concat())
    }

    fn parse_bind(text: &str) -> Result<Self, BadTsigKey> {
        let words = words(text);
        let mut words = words.iter().map(String::as_str);
        if words.next() != Some("key") {
            return Err(BadTsigKey::NoKey);
        }
        let name = words.next().ok_or(BadTsigKey::NoKey)?;
        if words.next() != Some("{") {
            return Err(BadTsigKey::NoKey);
        }
        let (mut algorithm, mut secret) = (None, None);
        loop {
            match words.next() {
                Some("algorithm") => algorithm = words.next(),
                Some("secret") => secret = words.next(),
                Some("}") => break,
                _ => return Err(BadTsigKey::NoKey),
            }
            if words.next() != Some(";") {
                return Err(BadTsigKey::NoKey);
            }
        }
        if words.any(|word| word != ";") {
            return Err(BadTsigKey::Several);
        }
        let missing = BadTsigKey::NoKey;
        Self::new(name, algorithm.ok_or(missing)?, secret.ok_or(missing)?)
    }

    fn new(name: &str, algorithm: &str, secret: &str) -> Result<Self, BadTsigKey> {
        let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = (1..=LONGEST_NAME).contains(&name.len())
            && name.bytes().all(allowed)
            && name.split('.').all(|label| (1..=63).contains(&label.len()));
        if !is_name {
            return Err(BadTsigKey::Name);
        }
        let algorithm = match algorithm.trim().trim_end_matches('.').to_ascii_lowercase().as_str() {
            "hmac-sha256" => TsigHash::Sha256,
            "hmac-sha384" => TsigHash::Sha384,
            "hmac-sha512" => TsigHash::Sha512,
            _ => return Err(BadTsigKey::Algorithm),
        };
        let secret = BASE64.decode(secret.trim().as_bytes()).map_err(|_| BadTsigKey::Secret)?;
        if secret.len() < SHORTEST {
            return Err(BadTsigKey::Short);
        }
        Ok(Self { name, algorithm, secret })
    }
}

/// The words of a file of BIND: names, texts in quotes, braces and semicolons; no comments.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start();
        if rest.starts_with('#') || rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (word, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
            words.push(word.to_owned());
            rest = behind;
        } else {
            let is_mark = |c: char| "{};".contains(c);
            let end = match rest.chars().next() {
                None => return words,
                Some(mark) if is_mark(mark) => 1,
                Some(_) => rest
                    .find(|c: char| is_mark(c) || c == '"' || c.is_whitespace())
                    .unwrap_or(rest.len()),
            };
            let (word, behind) = rest.split_at(end);
            words.push(word.to_owned());
            rest = behind;
        }
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({}, {:?}, ***)", self.name, self.algorithm)
    }
}

impl fmt::Display for BadTsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => {
                "expected a key as `tsig-keygen` makes it, or a line NAME:hmac-sha256:SECRET"
            }
            Self::Several => "there is more in it than one key",
            Self::Name => "the name of the key is none that DNS knows",
            Self::Algorithm => "the key is not for hmac-sha256, hmac-sha384 or hmac-sha512",
            Self::Secret => "the secret of the key is not in Base64",
            Self::Short => "the secret of the key is shorter than 16 bytes",
        })
    }
}

impl std::error::Error for BadTsigKey {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

    #[test]
    fn a_key_is_read_as_bind_writes_it_or_from_a_line() {
        let bind = format!(
            "# made by tsig-keygen\nkey \"Relay.\" {{\n\talgorithm hmac-sha256; // or another\n\
             \tsecret \"{SECRET}\";\n}};\n/* the\nend */"
        );
        let line = format!(" relay:hmac-sha256:{SECRET}\n");
        let tight = format!("key relay{{secret {SECRET};algorithm HMAC-SHA256.;}};");
        let keys = [bind, line, tight].map(|text| TsigKey::parse(&text).unwrap());
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!((keys[0].name.as_str(), keys[0].secret.len()), ("relay", 32));
        assert_eq!(format!("{:?}", keys[0]), "TsigKey(relay, Sha256, ***)");
        assert_eq!(keys[0].fingerprint(), keys[1].fingerprint());
    }

    #[test]
    fn what_is_no_good_key_is_refused_without_its_secret() {
        let key = |inside: &str| format!("key \"a\" {{ {inside} }};");
        let whole = format!("algorithm hmac-sha256; secret \"{SECRET}\";");
        for (text, why) in [
            (String::new(), BadTsigKey::NoKey),
            (SECRET.into(), BadTsigKey::NoKey),
            (key(""), BadTsigKey::NoKey),
            (key("algorithm hmac-sha256"), BadTsigKey::NoKey),
            (key(&whole).replace("};", ""), BadTsigKey::NoKey),
            (format!("{}{}", key(&whole), key(&whole)), BadTsigKey::Several),
            (key(&whole).replace("\"a\"", "\"a b\""), BadTsigKey::Name),
            (key(&whole).replace("sha256", "md5"), BadTsigKey::Algorithm),
            (format!("a:hmac-sha256:{SECRET}!"), BadTsigKey::Secret),
            ("a:hmac-sha256:c2hvcnQ=".into(), BadTsigKey::Short),
        ] {
            let bad = TsigKey::parse(&text).unwrap_err();
            assert_eq!(bad, why, "{text}");
            assert!(!bad.to_string().contains(SECRET));
        }
    }
}
