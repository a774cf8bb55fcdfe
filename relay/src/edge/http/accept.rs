//! In which form a visitor reads an answer most easily (`Accept`, RFC 9110, section 12.5.1).

use hyper::header::{ACCEPT, HeaderMap};

use crate::web::weights::{MOST_ELEMENTS, Weighted, weighted};

/// What a visitor reads most easily.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// People.
    Html,
    /// Programs.
    Json,
    /// People without a browser, and whoever does not say.
    Text,
}

/// How much somebody wants a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    /// In thousandths.
    quality: u16,
    /// How closely it is named: not at all (`*/*`), by its kind (`text/*`), or as what it is.
    closeness: u8,
    /// What is named first is liked best.
    before: usize,
}

impl Format {
    /// The one that a request asks for. Browsers name HTML first, programs what they read; whoever
    /// takes everything, or nothing that there is, gets text.
    pub(super) fn of(request: &HeaderMap) -> Self {
        let ranges: Vec<_> = weighted(request, ACCEPT).collect();
        let mut best = (Self::Text, None);
        for format in [Self::Text, Self::Html, Self::Json] {
            let wish = format.wish(&ranges).filter(|wish| wish.quality > 0);
            if wish > best.1 {
                best = (format, wish);
            }
        }
        best.0
    }

    /// What the range says that names it most closely.
    fn wish(self, ranges: &[Weighted<'_>]) -> Option<Wish> {
        let wishes = ranges.iter().enumerate().filter_map(|(at, range)| {
            let closeness = self.closeness(range.name)?;
            // Of what is not named itself the order says nothing.
            let before = if closeness == 0 { 0 } else { MOST_ELEMENTS - at };
            // What is no weight is as good as none.
            Some(Wish { quality: range.weight.unwrap_or(1000), closeness, before })
        });
        wishes.max_by_key(|wish| (wish.closeness, wish.quality, wish.before))
    }

    fn closeness(self, range: &str) -> Option<u8> {
        let (kind, names): (_, &[&str]) = match self {
            Self::Html => ("text/*", &["text/html", "application/xhtml+xml"]),
            Self::Json => ("application/*", &["application/json", "application/problem+json"]),
            Self::Text => ("text/*", &["text/plain"]),
        };
        let is = |name: &str| range.eq_ignore_ascii_case(name);
        match range {
            "*/*" => Some(0),
            _ if is(kind) => Some(1),
            _ if names.iter().any(|name| is(name)) => Some(2),
            _ => None,
        }
    }

    /// What it is called in the answer.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/problem+json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn format(accept: &'static str) -> Format {
        Format::of(&[(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect())
    }

    #[test]
    fn browsers_get_a_page_and_programs_what_they_read() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert_eq!(format(browser), Format::Html);
        assert_eq!(format("application/json, text/plain, */*"), Format::Json);
        assert_eq!(format("application/json"), Format::Json);
        for anything in ["*/*", "", ",,", ";q=1", "image/png", "text/*", "text/css,*/*;q=0.1"] {
            assert_eq!(format(anything), Format::Text, "{anything}");
        }
        assert_eq!(Format::of(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn what_is_liked_better_is_what_comes() {
        let cases = [
            ("text/html;q=0.5, application/json", Format::Json),
            ("text/html;q=0.5, application/json;q=0.4", Format::Html),
            ("text/plain;q=0.1, TEXT/HTML ; Q=0.2", Format::Html),
            ("application/json;q=0, */*", Format::Text),
            ("text/plain;q=0, */*", Format::Html),
            ("text/*;q=0, application/*", Format::Json),
            ("text/html;level=1;q=0.3, text/plain;q=0.9", Format::Text),
            ("text/html;q=nonsense, application/json;q=0.9", Format::Html),
            ("text/html;q=7, text/plain;q=-1", Format::Html),
            ("text/html, text/*;q=0.9", Format::Html),
        ];
        for (accept, expected) in cases {
            assert_eq!(format(accept), expected, "{accept}");
        }
    }
}
