//! Headers that the local service sees, or does not.

use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use shared::control::protocol::HttpOptions;

use super::BadOption;
use crate::web::fields::{is_same, remove_all};

/// Headers that the local service sees, or does not.
#[derive(Debug, Default)]
pub(super) struct Headers {
    host: Option<HeaderValue>,
    remove: Box<[HeaderName]>,
    add: Box<[(HeaderName, HeaderValue)]>,
}

/// Those that say where a message ends or goes: another word about them would be a second truth.
const OURS: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
];

impl Headers {
    pub(super) fn new(options: &HttpOptions) -> Result<Self, BadOption> {
        let host = options.rewrite_host.as_deref().map(|host| {
            let is_plain =
                host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
            let value = HeaderValue::from_str(host).ok().filter(|_| is_plain && !host.is_empty());
            value.ok_or_else(|| BadOption::new("rewrite-host", format!("`{host}` is no host")))
        });
        let remove = options.remove_header.iter().map(|text| name("remove-header", text));
        let add = options.add_header.iter().map(|(text, value)| {
            let bad =
                |_| BadOption::new("add-header", format!("the value of `{text}` is no value"));
            Ok((name("add-header", text)?, HeaderValue::from_str(value).map_err(bad)?))
        });
        Ok(Self {
            host: host.transpose()?,
            remove: remove.collect::<Result<_, _>>()?,
            add: add.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn apply(&self, request: &mut Parts) {
        if let Some(host) = &self.host {
            request.headers.insert(HOST, host.clone());
        }
        if !self.remove.is_empty() || !self.add.is_empty() {
            let named = || self.remove.iter().chain(self.add.iter().map(|(name, _)| name));
            remove_all(&mut request.headers, |name| named().any(|one| is_same(name, one.as_str())));
        }
        for (name, value) in &self.add {
            request.headers.insert(name.clone(), value.clone());
        }
    }
}

fn name(option: &'static str, text: &str) -> Result<HeaderName, BadOption> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| BadOption::new(option, format!("`{text}` is no name of a header")))?;
    if OURS.iter().any(|ours| is_same(&name, ours)) {
        let reason = format!("`{name}` is between relay and local service, and cannot be changed");
        return Err(BadOption::new(option, reason));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn headers_are_taken_away_and_stand_in_for_those_of_the_same_name() {
        let options = HttpOptions {
            rewrite_host: Some("localhost:3000".into()),
            remove_header: vec!["Cookie".into()],
            add_header: vec![pair("X-Own", "1"), pair("accept", "text/plain")],
            ..HttpOptions::default()
        };
        let request = Request::get("/").header("host", "app.example").header("cookie", "a=b");
        let request = request.header("accept", "*/*").header("accept", "text/html");
        // To a program that gets them as variables these are the same.
        let request = request.header("x_own", "2").header("cookie_", "c=d");
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        Headers::new(&options).unwrap().apply(&mut head);
        let fields = [
            ("host", "localhost:3000"),
            ("x-own", "1"),
            ("accept", "text/plain"),
            ("cookie_", "c=d"),
        ];
        let fields = fields
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        assert_eq!(head.headers, fields.into_iter().collect());
    }

    #[test]
    fn what_cannot_be_a_header_or_is_not_the_owners_is_refused() {
        let add = |name: &str, value: &str| HttpOptions {
            add_header: vec![pair(name, value)],
            ..HttpOptions::default()
        };
        let remove =
            |name: &str| HttpOptions { remove_header: vec![name.into()], ..HttpOptions::default() };
        let host =
            |host: &str| HttpOptions { rewrite_host: Some(host.into()), ..HttpOptions::default() };
        for (options, option) in [
            (add("a b", "c"), "add-header"),
            (add("", "c"), "add-header"),
            (add("a", "b\r\nc: d"), "add-header"),
            (add("Content-Length", "0"), "add-header"),
            (remove("Transfer-Encoding"), "remove-header"),
            (remove("Content_Length"), "remove-header"),
            (add("Content_Length", "0"), "add-header"),
            (remove("a:"), "remove-header"),
            (host(""), "rewrite-host"),
            (host("a/b"), "rewrite-host"),
            (host("a\r\nb"), "rewrite-host"),
        ] {
            let err = Headers::new(&options).unwrap_err().to_string();
            assert!(err.starts_with(option), "{err}");
        }
    }
}
