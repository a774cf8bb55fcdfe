//! Bodies on their way into memory, without secrets: piece by piece, so that no secret is ever kept,
//! not even for a moment, and a body that is cut is masked as far as it goes.

mod form;
mod json;
mod multipart;

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderMap};

pub(super) use self::json::Json;

use self::form::Form;
use self::multipart::Multipart;
use super::names::Names;

/// Masks a body as it comes.
#[derive(Debug)]
pub(super) struct Scrub {
    names: Arc<Names>,
    form: Kind,
}

#[derive(Debug)]
enum Kind {
    /// It shows by how it begins: it is JSON, or something else.
    Sniffed(Else),
    Json(Json),
    Form(Form),
    Multipart(Box<Multipart>),
    /// There are no names in it to know a secret by.
    Plain,
    Unsure(Unsure),
}

/// What it is if it is no JSON.
#[derive(Clone, Copy, Debug)]
enum Else {
    Form,
    Plain,
}

/// Why it is not known what in a body is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsure {
    /// It says that it is JSON, or begins so, and is none.
    NoJson,
    /// It is JSON in other bytes than UTF-8.
    OtherCharset,
    /// It does not say what its parts end with, or they are laid out otherwise.
    NoMultipart,
}

impl Unsure {
    /// For people.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::NoJson => "it looks like JSON and cannot be read as such",
            Self::OtherCharset => "it is not in UTF-8",
            Self::NoMultipart => "its parts cannot be told apart",
        }
    }
}

impl Scrub {
    /// Of a body with such a head.
    pub(super) fn of(headers: &HeaderMap, names: &Arc<Names>) -> Self {
        let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
        let form = kind.map_or(Kind::Sniffed(Else::Form), Kind::of);
        Self { names: Arc::clone(names), form }
    }

    /// Of a text that does not say what it is.
    pub(super) fn of_text(names: &Arc<Names>) -> Self {
        Self { names: Arc::clone(names), form: Kind::Sniffed(Else::Plain) }
    }

    /// Goes on by `data`, and writes down what may be kept of it.
    ///
    /// # Errors
    ///
    /// It is not known from here on what is a secret: nothing more may be kept.
    pub(super) fn push(&mut self, data: &[u8], kept: &mut Vec<u8>) -> Result<(), Unsure> {
        let Self { names, form } = self;
        if let Kind::Sniffed(otherwise) = form {
            let blank = |byte: &&u8| byte.is_ascii_whitespace() || b"\xef\xbb\xbf".contains(byte);
            let Some(first) = data.iter().find(|byte| !blank(byte)) else {
                kept.extend_from_slice(data);
                return Ok(());
            };
            *form = match (first, otherwise) {
                (b'{' | b'[', _) => Kind::Json(Json::default()),
                (_, Else::Form) => Kind::Form(Form::default()),
                (_, Else::Plain) => Kind::Plain,
            };
        }
        let result = match form {
            Kind::Json(json) => json.push(data, names, kept),
            Kind::Form(form) => {
                form.push(data, names, kept);
                Ok(())
            }
            Kind::Multipart(parts) => parts.push(data, names, kept),
            Kind::Plain | Kind::Sniffed(_) => {
                kept.extend_from_slice(data);
                Ok(())
            }
            Kind::Unsure(unsure) => Err(*unsure),
        };
        if let Err(unsure) = result {
            *form = Kind::Unsure(unsure);
        }
        result
    }

    /// What it takes up beside itself.
    pub(super) fn cost(&self) -> usize {
        match &self.form {
            Kind::Json(json) => json.cost(),
            Kind::Form(form) => form.cost(),
            Kind::Multipart(parts) => size_of::<Multipart>() + parts.cost(),
            Kind::Sniffed(_) | Kind::Plain | Kind::Unsure(_) => 0,
        }
    }
}

impl Kind {
    fn of(content_type: &str) -> Self {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let kind = kind.trim().to_ascii_lowercase();
        let is_json = kind.ends_with("/json")
            || kind.ends_with("+json")
            || kind.contains("ndjson")
            || kind.contains("jsonl")
            || kind.ends_with("/json-seq");
        match kind.as_str() {
            _ if is_json => match parameter(parameters, "charset") {
                Some(charset) if !is_utf_8(&charset) => Self::Unsure(Unsure::OtherCharset),
                _ => Self::Json(Json::default()),
            },
            "application/x-www-form-urlencoded" => Self::Form(Form::default()),
            kind if kind.starts_with("multipart/") => match parameter(parameters, "boundary") {
                Some(boundary) if !boundary.is_empty() => {
                    Self::Multipart(Box::new(Multipart::new(&boundary)))
                }
                _ => Self::Unsure(Unsure::NoMultipart),
            },
            // What programs call bodies that they do not describe.
            "" | "text/plain" | "application/octet-stream" => Self::Sniffed(Else::Form),
            kind if kind.starts_with("text/") || kind.contains("javascript") => Self::Plain,
            _ => Self::Sniffed(Else::Plain),
        }
    }
}

fn is_utf_8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|one| one.eq_ignore_ascii_case(charset))
}

/// A parameter of a header, without its quotes.
pub(super) fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let (name, value) = rest.split_once('=')?;
        let quoted = value.strip_prefix('"');
        let (value, behind) = match quoted {
            Some(quoted) => {
                let mut text = String::new();
                let mut chars = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((at, c)) = chars.next() {
                    match c {
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        '\\' => text.extend(chars.next().map(|(_, c)| c)),
                        c => text.push(c),
                    }
                }
                (text, &quoted[end..])
            }
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    /// What is kept of a body that comes in pieces of each length.
    fn kept(content_type: &'static str, body: &[u8]) -> Result<String, Unsure> {
        let headers = match content_type {
            "" => HeaderMap::new(),
            kind => HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]),
        };
        let results: Vec<_> = [1, 2, 3, 7, 1000]
            .into_iter()
            .map(|piece| {
                let mut scrub = Scrub::of(&headers, &Arc::default());
                let mut kept = Vec::new();
                for piece in body.chunks(piece) {
                    scrub.push(piece, &mut kept)?;
                }
                Ok(String::from_utf8(kept).unwrap())
            })
            .collect();
        assert!(results.iter().all(|one| *one == results[0]), "{results:?}");
        results.into_iter().next().unwrap()
    }

    #[test]
    fn a_body_is_masked_as_what_it_says_it_is_or_looks_like() {
        let json = br#"{"password": "hush"}"#;
        for kind in
            ["application/json", "application/problem+json; charset=UTF-8", "", "text/plain"]
        {
            assert_eq!(kept(kind, json).unwrap(), r#"{"password": "***"}"#, "{kind}");
        }
        assert_eq!(kept("application/json; charset=utf-16", json), Err(Unsure::OtherCharset));
        let form = b"user=ann&password=hush&x=1";
        for kind in ["application/x-www-form-urlencoded", "", "text/plain; charset=utf-8"] {
            assert_eq!(kept(kind, form).unwrap(), "user=ann&password=***&x=1", "{kind}");
        }
        assert_eq!(kept("application/json", b"password=hush"), Err(Unsure::NoJson));
        assert_eq!(kept("multipart/form-data", b"--x"), Err(Unsure::NoMultipart));
        assert_eq!(kept("text/html", b"<p>hi</p>").unwrap(), "<p>hi</p>");
    }

    #[test]
    fn parameters_of_headers_are_read_with_their_quotes() {
        for (text, expected) in [
            (" boundary=abc", Some("abc")),
            ("charset=utf-8; BOUNDARY=\"a b\"; x=y", Some("a b")),
            ("x=\"a;boundary=no\"; boundary=yes", Some("yes")),
            ("x=\"a\\\"b\";boundary=c", Some("c")),
            ("", None),
            ("boundary", None),
            ("boundary=\"open", Some("open")),
        ] {
            assert_eq!(parameter(text, "boundary").as_deref(), expected, "{text}");
        }
    }
}
