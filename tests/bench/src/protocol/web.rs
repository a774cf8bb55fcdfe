//! What visitors of the web ask the local service for.

use std::time::Duration;

/// What the relay's subdomains are in front of. It needs no DNS: visitors name it, and connect to
/// loopback.
pub(crate) const DOMAIN: &str = "bench.example";

/// The tunnel that visitors ask for, and its label.
pub(crate) const TUNNEL: &str = "app";

/// The host that visitors ask for: the label in front of the domain.
pub(crate) const HOST: &str = "app.bench.example";

/// Is answered with [`ANSWER_SIZE`](super::ANSWER_SIZE) bytes.
pub(crate) const ANSWER: &str = "/answer";

/// Is answered with more than anybody takes.
pub(crate) const DOWNLOAD: &str = "/download";

/// Takes whatever comes, and counts it as sinks do.
pub(crate) const UPLOAD: &str = "/upload";

/// Is answered with an event every [`EVENT_EVERY`], which says when it was sent.
pub(crate) const EVENTS: &str = "/events";

/// How long a body is said to be that has no end: more than any run can carry.
pub(crate) const ENDLESS: u64 = 1 << 50;

/// Often enough for some hundred events of each visitor, and so seldom that the machine rests
/// between them.
pub(crate) const EVENT_EVERY: Duration = Duration::from_millis(10);

/// What an event's line begins with; then come the nanoseconds since 1970 at which it was sent.
pub(crate) const EVENT: &str = "data: ";

/// How a visitor asks who has nothing to send.
pub(crate) fn get(host: &str, path: &str) -> Vec<u8> {
    request("GET", host, path, "")
}

/// The same, and it is the connection's last request.
pub(crate) fn get_and_close(host: &str, path: &str) -> Vec<u8> {
    request("GET", host, path, "Connection: close\r\n")
}

/// The head of a request whose body has no end.
pub(crate) fn upload() -> Vec<u8> {
    request("POST", HOST, UPLOAD, &format!("Content-Length: {ENDLESS}\r\n"))
}

fn request(method: &str, host: &str, path: &str, more: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n{more}\r\n"
    )
    .into_bytes()
}

/// Where the first head ends in what has arrived, or `None` while it is not complete.
pub(crate) fn end_of_head(arrived: &[u8]) -> Option<usize> {
    let end = arrived.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD)?;
    Some(end + END_OF_HEAD.len())
}

/// The value of a header of a head, if it has it.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_and_has_headers_in_whatever_letters() {
        let head = "HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\n";
        assert_eq!(end_of_head(format!("{head}abc").as_bytes()), Some(head.len()));
        assert_eq!(end_of_head(&head.as_bytes()[..head.len() - 1]), None);
        assert_eq!(header(head, "Content-Length"), Some("3"));
        assert_eq!(header(head, "Connection"), None);
    }

    #[test]
    fn the_host_is_the_label_in_front_of_the_domain() {
        assert_eq!(HOST, format!("{TUNNEL}.{DOMAIN}"));
    }
}
