//! Protocols that begin with a line of text.

use super::Guess;

/// The methods of HTTP that are met with.
const METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

pub(super) fn guess(visitor: &[u8], service: &[u8]) -> Option<Guess> {
    http(visitor).or_else(|| ssh(visitor, service)).or_else(|| greeting(visitor, service))
}

fn http(visitor: &[u8]) -> Option<Guess> {
    if visitor.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
        return Some(Guess::of("HTTP/2"));
    }
    let line = line(visitor);
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_http = METHODS.contains(&method) && version.starts_with(b"HTTP/1.");
    // A query may have secrets in it.
    let path = target.split(|byte| *byte == b'?').next()?;
    is_http.then(|| Guess::of("HTTP/1").with("request", [method, b" ", path].concat()))
}

fn ssh(visitor: &[u8], service: &[u8]) -> Option<Guess> {
    let names = ["visitor", "service"].into_iter().zip([visitor, service]);
    let banners: Vec<_> = names.filter(|(_, said)| said.starts_with(b"SSH-")).collect();
    let guess = (!banners.is_empty()).then(|| Guess::of("SSH"))?;
    Some(banners.into_iter().fold(guess, |guess, (name, said)| guess.with(name, line(said))))
}

/// A service that speaks first, or a visitor whose commands are known.
fn greeting(visitor: &[u8], service: &[u8]) -> Option<Guess> {
    let greeting = line(service);
    let has = |text: &str| {
        greeting.windows(text.len()).any(|there| there.eq_ignore_ascii_case(text.as_bytes()))
    };
    let says = |words: &[&str]| {
        let said = line(visitor);
        words.iter().any(|word| {
            said.get(..word.len()).is_some_and(|said| said.eq_ignore_ascii_case(word.as_bytes()))
        })
    };
    let protocol = match greeting {
        [b'2', b'2', b'0', b' ' | b'-', ..] if says(&["EHLO ", "HELO "]) || has("SMTP") => "SMTP",
        [b'2', b'2', b'0', b' ' | b'-', ..] if says(&["USER ", "AUTH "]) || has("FTP") => "FTP",
        [b'+', b'O', b'K', b' ', ..] if says(&["USER ", "CAPA", "APOP "]) || has("POP") => "POP3",
        [b'*', b' ', b'O', b'K', ..] => "IMAP",
        [b'R', b'F', b'B', b' ', b'0', ..] => "VNC",
        _ if says(&["NICK ", "CAP LS"]) => return Some(Guess::of("IRC")),
        _ => return None,
    };
    Some(Guess::of(protocol).with("greeting", greeting))
}

/// The first line, without its end.
fn line(bytes: &[u8]) -> &[u8] {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}
