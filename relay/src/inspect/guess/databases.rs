//! Databases. Nothing is shown of what is a password, or may be one.

use super::Guess;

/// What PostgreSQL's clients ask for instead of a version, to speak by TLS or with Kerberos, or to end
/// something.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;

pub(super) fn guess(visitor: &[u8], service: &[u8]) -> Option<Guess> {
    postgresql(visitor).or_else(|| mysql(service)).or_else(|| redis(visitor, service))
}

/// A length with four bytes, a version with four, and pairs of names and values.
fn postgresql(visitor: &[u8]) -> Option<Guess> {
    let (length, rest) = visitor.split_first_chunk::<4>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let mut guess = Guess::of("PostgreSQL");
    match (u32::from_be_bytes(*version), length) {
        (SSL_REQUEST, 8) => return Some(guess.with("asks_for", "TLS")),
        (GSS_REQUEST, 8) => return Some(guess.with("asks_for", "GSSAPI")),
        (CANCEL, 16..=280) => return Some(guess.with("asks_for", "cancel")),
        (version, 9..=10_000) if version >> 16 == 3 => (),
        _ => return None,
    }
    let mut words = rest[..rest.len().min(length - 8)].split(|byte| *byte == 0);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        guess = match name {
            b"user" => guess.with("user", value),
            b"database" => guess.with("database", value),
            b"application_name" => guess.with("application", value),
            _ => guess,
        };
    }
    Some(guess)
}

/// A server greets: a length with three bytes, a number, the version of the protocol and its own.
fn mysql(service: &[u8]) -> Option<Guess> {
    let ([low, middle, high, 0, 10], rest) = service.split_first_chunk::<5>()? else {
        return None;
    };
    let length = u32::from_le_bytes([*low, *middle, *high, 0]);
    let end = rest.iter().take(64).position(|byte| *byte == 0)?;
    let version = &rest[..end];
    let is_version = version.first()?.is_ascii_digit() && version.iter().all(u8::is_ascii_graphic);
    (is_version && (10..1000).contains(&length))
        .then(|| Guess::of("MySQL").with("version", version))
}

/// An array of strings from a client, or a reply to a command in one line.
fn redis(visitor: &[u8], service: &[u8]) -> Option<Guess> {
    if let Some(rest) = visitor.strip_prefix(b"*") {
        let (count, rest) = line(rest)?;
        let (length, rest) = line(rest.strip_prefix(b"$")?)?;
        (number(count)? > 0).then_some(())?;
        let command = rest.get(..number(length)?)?;
        return command
            .iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Guess::of("Redis").with("command", command));
    }
    let (command, _) = line(visitor)?;
    let is_ping = command.eq_ignore_ascii_case(b"PING") && service.starts_with(b"+PONG");
    is_ping.then(|| Guess::of("Redis").with("command", command))
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).take(64).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

fn number(digits: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.parse().ok().filter(|number| *number <= 1024)
}
