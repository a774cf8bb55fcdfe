//! What a line of the access log looks like.
//!
//! `text` is that of the other log: time, and fields with their names. `json` is an object with the
//! same fields. `common` and `combined` are what the Apache HTTP server writes under these names, and
//! what most programs that read such logs expect.

use shared::kit::digits::{push_ip, push_number, push_seconds};
use shared::kit::logging::Utc;
use tracing::info;

use super::ACCESS;
use super::entry::Entry;

/// Room for nearly every line, in bytes.
const USUAL_LENGTH: usize = 512;

/// Logs it as an event of the other log.
pub(super) fn event(entry: &Entry<'_>) {
    info!(
        target: ACCESS,
        request = &*entry.request,
        visitor = %entry.visitor,
        user = entry.user.as_deref(),
        tunnel = entry.tunnel,
        owner = entry.owner,
        host = &*entry.host,
        method = &*entry.method,
        path = &*entry.path,
        protocol = entry.protocol,
        status = entry.status,
        fault = entry.fault,
        outcome = entry.outcome.label(),
        bytes_in = entry.bytes_in,
        bytes_out = entry.bytes_out,
        seconds = entry.length.as_secs_f64(),
        first_byte_seconds = entry.first_byte.map(|time| time.as_secs_f64()),
        user_agent = entry.user_agent.as_deref(),
        referer = entry.referer.as_deref(),
        "request over",
    );
}

/// The line that comes of it, where the log is plain text: each request has one.
pub(super) fn in_log(entry: &Entry<'_>) -> String {
    let mut line = String::with_capacity(USUAL_LENGTH);
    Utc::now().push_to(&mut line);
    line.push_str("  INFO ");
    line.push_str(ACCESS);
    line.push_str(": request over");
    fields(line, entry)
}

/// The same in a file.
pub(super) fn text(entry: &Entry<'_>) -> String {
    let mut line = String::with_capacity(USUAL_LENGTH);
    entry.time.push_to(&mut line);
    fields(line, entry)
}

fn fields(line: String, entry: &Entry<'_>) -> String {
    let mut fields = Fields(line);
    fields.text("request", Some(&entry.request));
    fields.name("visitor");
    push_ip(&mut fields.0, entry.visitor);
    fields.text("user", entry.user.as_deref());
    fields.text("tunnel", entry.tunnel);
    fields.text("owner", entry.owner);
    fields.text("host", Some(&entry.host));
    fields.text("method", Some(&entry.method));
    fields.text("path", Some(&entry.path));
    fields.text("protocol", Some(entry.protocol));
    fields.number("status", entry.status.into());
    fields.text("fault", entry.fault);
    fields.text("outcome", Some(entry.outcome.label()));
    fields.number("bytes_in", entry.bytes_in);
    fields.number("bytes_out", entry.bytes_out);
    fields.name("seconds");
    push_seconds(&mut fields.0, entry.length);
    if let Some(time) = entry.first_byte {
        fields.name("first_byte_seconds");
        push_seconds(&mut fields.0, time);
    }
    fields.text("user_agent", entry.user_agent.as_deref());
    fields.text("referer", entry.referer.as_deref());
    fields.0.push('\n');
    fields.0
}

/// A line that consists of fields.
struct Fields(String);

impl Fields {
    /// A field that may hold anything: in quotes, and what would end them is escaped.
    fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.name(name);
        // Nearly everything is plain.
        if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            self.0.push('"');
            self.0.push_str(value);
            self.0.push('"');
        } else {
            self.0.push_str(&format!("{value:?}"));
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        push_number(&mut self.0, value);
    }

    fn name(&mut self, name: &str) {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push('=');
    }
}

pub(super) fn json(entry: &Entry<'_>) -> String {
    let mut line = serde_json::to_string(entry).expect("texts and numbers, and names as keys");
    line.push('\n');
    line
}

/// `%h %l %u %t "%r" %>s %b`.
pub(super) fn common(entry: &Entry<'_>) -> String {
    let mut line = of_apache(entry);
    line.push('\n');
    line
}

/// The same with `"%{Referer}i" "%{User-agent}i"`.
pub(super) fn combined(entry: &Entry<'_>) -> String {
    let mut line = of_apache(entry);
    for header in [&entry.referer, &entry.user_agent] {
        line.push(' ');
        quoted(&mut line, &[header.as_deref().unwrap_or("-")]);
    }
    line.push('\n');
    line
}

fn of_apache(entry: &Entry<'_>) -> String {
    let mut line = entry.visitor.to_string();
    line.push_str(" - ");
    // It stands alone between blanks.
    let user = entry.user.as_deref().unwrap_or("-");
    for c in user.chars() {
        match c {
            ' ' | '"' | '\\' | '[' | ']' => line.push_str(&format!("\\x{:02x}", c as u32)),
            c => line.push(c),
        }
    }
    line.push_str(&format!(" [{}] ", entry.time.common()));
    quoted(&mut line, &[&entry.method, " ", &entry.path, " ", entry.protocol]);
    match entry.status {
        0 => line.push_str(" -"),
        status => line.push_str(&format!(" {status}")),
    }
    match entry.bytes_out {
        0 => line.push_str(" -"),
        bytes => line.push_str(&format!(" {bytes}")),
    }
    line
}

/// Writes text in quotes, and escapes what would end them.
fn quoted(line: &mut String, parts: &[&str]) {
    line.push('"');
    for c in parts.iter().flat_map(|part| part.chars()) {
        if matches!(c, '"' | '\\') {
            line.push('\\');
        }
        line.push(c);
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::Request;
    use hyper::header::{AUTHORIZATION, HOST, HeaderValue, REFERER, USER_AGENT};
    use hyper::http::request::Builder;
    use serde_json::Value;

    use super::super::entry::{Asked, Became, Outcome};
    use super::*;
    use crate::metrics::FaultCode;

    fn request(target: &str) -> Builder {
        Request::builder().uri(target).header(HOST, "app.example")
    }

    fn became() -> Became<'static> {
        Became {
            tunnel: Some(("app", Some("ann"))),
            status: 200,
            fault: None,
            served: true,
            outcome: Outcome::Complete,
            bytes_in: 3,
            bytes_out: 14,
            length: Duration::from_millis(250),
            first_byte: Some(Duration::from_millis(125)),
        }
    }

    /// Whatever a line looks like.
    fn lines(request: Builder, became: &Became<'_>) -> [String; 4] {
        let request = request.body(()).unwrap();
        let id = HeaderValue::from_static("1-2");
        let asked = Asked::new(&request, [192, 0, 2, 1].into(), &id);
        let entry = Entry::new(&asked, became);
        [text(&entry), json(&entry), common(&entry), combined(&entry)]
    }

    /// Without the time, which is another one each time.
    fn timeless(line: &str) -> String {
        let (before, rest) = line.split_once('[').unwrap();
        format!("{before}{}", rest.split_once("] ").unwrap().1)
    }

    #[test]
    fn a_line_says_what_became_of_a_request() {
        let request = request("/a?q=1&token=hush")
            .header(AUTHORIZATION, "Basic YW5uOnNlY3JldA==")
            .header(USER_AGENT, "browser/1.0")
            .header(REFERER, "https://ann:pw@other.example/?sig=hush");
        let [text, json, common, combined] = lines(request, &became());
        assert_eq!(
            text[27..],
            " request=\"1-2\" visitor=192.0.2.1 user=\"ann\" tunnel=\"app\" owner=\"ann\" \
             host=\"app.example\" method=\"GET\" path=\"/a?q=1&token=***\" protocol=\"HTTP/1.1\" \
             status=200 outcome=\"complete\" bytes_in=3 bytes_out=14 seconds=0.25 \
             first_byte_seconds=0.125 user_agent=\"browser/1.0\" \
             referer=\"https://***@other.example/?sig=***\"\n"
                .to_owned()
        );
        let object: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object["first_byte_seconds"], 0.125);
        assert_eq!((&object["status"], &object["outcome"]), (&200.into(), &"complete".into()));
        assert!(object["time"].as_str().unwrap().ends_with('Z') && object.get("fault").is_none());
        let line = "192.0.2.1 - ann \"GET /a?q=1&token=*** HTTP/1.1\" 200 14";
        assert_eq!(timeless(&common), format!("{line}\n"));
        let line = format!("{line} \"https://***@other.example/?sig=***\" \"browser/1.0\"\n");
        assert_eq!(timeless(&combined), line);
        for line in [text, json, common, combined] {
            assert!(!line.contains("hush") && !line.contains("pw@") && !line.contains("secret"));
        }
    }

    #[test]
    fn whoever_left_has_no_status_and_whoever_is_not_let_in_no_name() {
        let left =
            Became { status: 0, outcome: Outcome::VisitorLeft, first_byte: None, ..became() };
        let [text, json, common, _] = lines(request("/"), &left);
        assert!(text.contains(" status=0 outcome=\"visitor_left\""), "{text}");
        assert!(json.contains("\"status\":0,\"outcome\":\"visitor_left\""), "{json}");
        assert!(common.contains("\" - 14"), "{common}");

        let refused = Became { status: 401, fault: Some(FaultCode::LoginNeeded), ..became() };
        let request = request("/").header(AUTHORIZATION, "Basic c2VjcmV0OnR5cGVk");
        for line in lines(request, &refused) {
            assert!(!line.contains("secret"), "{line}");
        }
    }

    #[test]
    fn nobody_can_forge_a_line_or_a_field() {
        let header = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
        let evil = "x\" status=200\t\u{202e}é \\\" 1.2.3.4 - - [x] \"GET / HTTP/1.1\" 200 1";
        let request = request("/\"a\"?\\=\u{9b}")
            .header(USER_AGENT, header(evil.as_bytes()))
            .header(REFERER, header(b"\xff\xfe\" - \""))
            // a b"]:x
            .header(AUTHORIZATION, "Basic YSBiIl06eA==");
        let [text, json, common, combined] = lines(request, &became());
        for line in [&text, &json, &common, &combined] {
            let controls = line.trim_end_matches('\n').chars().filter(|c| c.is_control()).count();
            assert_eq!((controls, line.matches('\n').count()), (0, 1), "{line}");
            assert!(!line.contains('\u{202e}'), "{line}");
        }
        assert!(text.contains(" user_agent=\"x\\\" status=200\\\\t"), "{text}");
        let object: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object.as_object().unwrap().keys().filter(|key| *key == "status").count(), 1);
        assert!(common.contains(" a\\x20b\\x22\\x5d ["), "{common}");
        assert!(combined.contains("\\\\\\\" 1.2.3.4"), "{combined}");
    }

    #[test]
    fn a_line_is_bounded_whatever_is_asked() {
        let long = "é".repeat(8000);
        let request = request(&format!("/{}?{}=1", "a".repeat(20_000), "b".repeat(20_000)))
            .header(USER_AGENT, HeaderValue::from_bytes(long.as_bytes()).unwrap())
            .header(REFERER, HeaderValue::from_bytes("\u{202e}".repeat(9000).as_bytes()).unwrap());
        for line in lines(request, &became()) {
            assert!(line.len() < 16 * 1024, "{} bytes", line.len());
        }
    }
}
