//! Fields of a head that are changed together: each request has some, so it is done in one go.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// Removes the fields of which `goes` says so.
pub(crate) fn remove_all(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    // Nearly no request has any, and to look at all names is less than to ask for each of some.
    let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Whether two names are the same to programs that get headers as variables, where `_` stands for `-`
/// (RFC 3875, section 4.1.18).
pub(crate) fn is_same(one: &HeaderName, other: &str) -> bool {
    fn plain(name: &str) -> impl Iterator<Item = u8> {
        name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte })
    }
    one.as_str().len() == other.len() && plain(one.as_str()).eq(plain(other))
}

/// Values for fields, which share one piece of memory.
#[derive(Debug)]
pub(crate) struct Values {
    text: String,
    /// Where the value of each ends.
    ends: Vec<(HeaderName, usize)>,
}

/// Room for the values of nearly every request, in bytes.
const USUAL_LENGTH: usize = 256;

/// Room for so many of them.
const USUAL_NUMBER: usize = 4;

impl Values {
    pub(crate) fn new() -> Self {
        Self { text: String::with_capacity(USUAL_LENGTH), ends: Vec::with_capacity(USUAL_NUMBER) }
    }

    /// One more, which `write` writes behind what is there.
    pub(crate) fn add(&mut self, name: HeaderName, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.ends.push((name, self.text.len()));
    }

    /// Puts them in the place of what `headers` has under their names. One that is no value is left
    /// out.
    pub(crate) fn insert_into(self, headers: &mut HeaderMap) {
        let text = Bytes::from(self.text);
        let mut start = 0;
        for (name, end) in self.ends {
            if let Ok(value) = HeaderValue::from_maybe_shared(text.slice(start..end)) {
                headers.insert(name, value);
            }
            start = end;
        }
    }
}
