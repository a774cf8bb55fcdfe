//! What protocol the bytes of a raw visit are of, by how the two ends begin. It is a guess: nothing is
//! done by it, and any bytes may look like anything.
//!
//! - `tls`: a hello of TLS
//! - `databases`: PostgreSQL, MySQL, Redis
//! - `lines`: protocols that begin with a line of text

mod databases;
mod lines;
mod tls;

/// So much of what each end says first is looked at, in bytes: a hello of TLS is the longest.
pub(crate) const LOOKED_AT: usize = 16 * 1024;

/// The longest text that is taken over from what others sent, in characters.
const LONGEST: usize = 128;

/// What it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    /// The protocol, as people call it.
    pub(crate) protocol: &'static str,
    /// What can be read of it, with its name.
    pub(crate) details: Vec<(&'static str, String)>,
}

impl Guess {
    fn of(protocol: &'static str) -> Self {
        Self { protocol, details: Vec::new() }
    }

    /// The same with something that can be read. What cannot be shown is not.
    fn with(mut self, name: &'static str, text: impl AsRef<[u8]>) -> Self {
        let text = String::from_utf8_lossy(text.as_ref());
        let shown = text.chars().filter(|c| !c.is_control()).take(LONGEST);
        self.details.push((name, shown.collect()));
        self
    }
}

/// What the first bytes of both ends look like, if they look like anything.
pub(crate) fn guess(visitor: &[u8], service: &[u8]) -> Option<Guess> {
    tls::guess(visitor, service)
        .or_else(|| databases::guess(visitor, service))
        .or_else(|| lines::guess(visitor, service))
        .or_else(|| mqtt(visitor))
}

/// MQTT 3.1, 3.1.1 and 5: a CONNECT comes first.
fn mqtt(visitor: &[u8]) -> Option<Guess> {
    let (0x10, rest) = visitor.split_first()? else { return None };
    // A length of up to four bytes, of which each but the last one has its highest bit set.
    let length = rest.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let rest = &rest[length..];
    let (name, rest) = prefixed(rest)?;
    let version = *rest.first()?;
    let (b"MQTT" | b"MQIsdp") = name else { return None };
    let guess = Guess::of("MQTT");
    let guess = match version {
        3 => guess.with("version", "3.1"),
        4 => guess.with("version", "3.1.1"),
        5 => guess.with("version", "5"),
        _ => return None,
    };
    // Flags and keep-alive; with version 5 properties come in front of the client's name.
    match rest.get(4..).filter(|_| version < 5).and_then(prefixed) {
        Some((client, _)) => Some(guess.with("client", client)),
        None => Some(guess),
    }
}

/// Bytes with their length in two bytes in front, and what is behind.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_known_by_how_they_begin() {
        let postgres = b"\0\0\0\x2a\0\x03\0\0user\0ann\0database\0shop\0\0";
        let cases: [(&[u8], &[u8], &str, &str); 17] = [
            (b"GET /a HTTP/1.1\r\nHost: a\r\n", b"", "HTTP/1", "GET /a"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", "HTTP/2", ""),
            (b"SSH-2.0-OpenSSH_9.6\r\n", b"SSH-2.0-dropbear\r\n", "SSH", "SSH-2.0-OpenSSH_9.6"),
            (b"", b"SSH-2.0-dropbear\r\n", "SSH", "SSH-2.0-dropbear"),
            (postgres, b"", "PostgreSQL", "ann"),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", b"S", "PostgreSQL", "TLS"),
            (b"", b"\x4a\0\0\0\x0a8.0.36\0more", "MySQL", "8.0.36"),
            (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n", "Redis", "PING"),
            (b"*2\r\n$4\r\nAUTH\r\n$4\r\nhush\r\n", b"", "Redis", "AUTH"),
            (b"\x10\x12\0\x04MQTT\x04\x02\0\x3c\0\x06sensor", b"", "MQTT", "sensor"),
            (b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\0\0\0", b"", "MQTT", "5"),
            (b"", b"220 mx.example ESMTP ready\r\n", "SMTP", "220 mx.example ESMTP ready"),
            (b"", b"* OK IMAP4rev1 ready\r\n", "IMAP", "* OK IMAP4rev1 ready"),
            (b"", b"+OK POP3 ready\r\n", "POP3", "+OK POP3 ready"),
            (b"", b"220 FTP server\r\n", "FTP", "220 FTP server"),
            (b"RFB 003.008\n", b"RFB 003.008\n", "VNC", "RFB 003.008"),
            (b"NICK ann\r\nUSER", b"", "IRC", ""),
        ];
        for (visitor, service, protocol, detail) in cases {
            let guess = guess(visitor, service).unwrap_or_else(|| panic!("{protocol}"));
            assert_eq!(guess.protocol, protocol);
            let has = guess.details.iter().any(|(_, text)| text == detail);
            assert!(detail.is_empty() || has, "{guess:?}");
            assert!(!format!("{guess:?}").contains("hush"));
        }
        for (visitor, service) in [(&b""[..], &b""[..]), (b"hello", b"hi"), (b"\0\0\0\x08", b"")] {
            assert_eq!(guess(visitor, service), None);
        }
    }

    #[test]
    fn whatever_comes_is_looked_at_without_harm() {
        let beginnings: [&[u8]; 9] = [
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"\0\0\0\x2a\0\x03\0\0user\0",
            b"\x4a\0\0\0\x0a8.0",
            b"*2\r\n$4\r\n",
            b"\x10\xff\xff\xff\x7f\0\x04MQTT\x04",
            b"SSH-",
            b"GET ",
            b"220 ",
            b"",
        ];
        let mut state = 1_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        for n in 0..20_000_usize {
            let mut bytes = beginnings[n % beginnings.len()].to_vec();
            bytes.extend((0..n % 97).map(|_| byte()));
            let cut = usize::from(byte()) % (bytes.len() + 1);
            guess(&bytes, &bytes[..cut]);
            guess(&bytes[..cut], &bytes);
        }
    }
}
