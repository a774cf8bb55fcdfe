//! Lists of what somebody takes, with how much each is liked (RFC 9110, section 12.4.2).

use hyper::header::{HeaderMap, HeaderName};

/// So many elements of a list are looked at: browsers name eight.
pub(crate) const MOST_ELEMENTS: usize = 32;

/// An element of a list, and how much it is liked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weighted<'a> {
    pub(crate) name: &'a str,
    /// In thousandths: all of it unless something else is said. `None`: what is said is no weight.
    pub(crate) weight: Option<u16>,
}

/// What the lists of a request with this name say, in their order.
pub(crate) fn weighted(
    request: &HeaderMap,
    name: HeaderName,
) -> impl Iterator<Item = Weighted<'_>> {
    let fields = request.get_all(name).into_iter().filter_map(|field| field.to_str().ok());
    let elements = fields.flat_map(|field| field.split(',')).take(MOST_ELEMENTS).map(element);
    elements.filter(|element| !element.name.is_empty())
}

fn element(text: &str) -> Weighted<'_> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let said = parts.find_map(|part| {
        let (name, weight) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| thousandths(weight.trim()))
    });
    Weighted { name, weight: said.unwrap_or(Some(1000)) }
}

/// A weight such as `0.5`.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match whole {
        "0" => format!("{part:0<3}").parse().ok(),
        "1" if part.bytes().all(|digit| digit == b'0') => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{ACCEPT, HeaderValue};

    use super::*;

    fn said(fields: &[&'static str]) -> Vec<(String, Option<u16>)> {
        let fields = fields.iter().map(|field| (ACCEPT, HeaderValue::from_static(field)));
        let fields: HeaderMap = fields.collect();
        weighted(&fields, ACCEPT).map(|one| (one.name.to_owned(), one.weight)).collect()
    }

    #[test]
    fn a_list_has_names_with_weights() {
        let one = |name: &str, weight| (name.to_owned(), weight);
        assert_eq!(
            said(&["a;q=0.5, b ; Q = 0.25;x=y,, c;level=1", ";q=1,d;q=1.000, e;q=0"]),
            [
                one("a", Some(500)),
                one("b", Some(250)),
                one("c", Some(1000)),
                one("d", Some(1000)),
                one("e", Some(0)),
            ]
        );
        assert_eq!(said(&[]), []);
    }

    #[test]
    fn what_is_no_weight_is_none() {
        for bad in ["a;q=x", "a;q=", "a;q=2", "a;q=1.5", "a;q=-1", "a;q=0.0001", "a;q=.5"] {
            assert_eq!(said(&[bad]), [("a".to_owned(), None)], "{bad}");
        }
    }

    #[test]
    fn a_list_without_an_end_is_not_read_to_it() {
        assert_eq!(said(&["a,".repeat(1000).leak()]).len(), MOST_ELEMENTS);
    }
}
