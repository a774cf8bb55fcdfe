//! Domains with letters of other scripts (`xn--…`, RFC 5890) that look like somebody else's.
//!
//! Which letters look alike is for Unicode to say (UTS #39): two names do that have the same
//! skeleton. Only a name with such letters is taken for an imitation, so that nobody loses a name in
//! plain letters to whoever has imitated it before.

use std::collections::HashMap;

use idna::domain_to_unicode;
use shared::control::protocol::{DomainName, WebHost};
use unicode_security::skeleton;

use super::own::OwnNames;
use crate::store::{DomainRecord, Name};

/// What the labels of other scripts begin with.
const ENCODED: &str = "xn--";

/// A domain with letters of other scripts.
struct Foreign(String);

/// What domains look like that somebody has proven. It is found out once for each, and not at every
/// ask: there may be many.
#[derive(Debug, Default)]
pub(crate) struct Looks(HashMap<String, Vec<(DomainName, Name)>>);

impl Looks {
    pub(crate) fn new<'a>(all: impl IntoIterator<Item = &'a DomainRecord>) -> Self {
        let mut looks_of: HashMap<_, Vec<_>> = HashMap::new();
        for record in all {
            if let WebHost::Host(name) = &record.host
                && record.proven.is_some()
            {
                let same = looks_of.entry(looks(name)).or_default();
                same.push((name.clone(), record.owner.clone()));
            }
        }
        Self(looks_of)
    }

    /// Why `owner` may not have `name`, if that looks like one of the relay's own, or like a domain
    /// that somebody else has proven.
    pub(crate) fn imitated(
        &self,
        own: &OwnNames,
        name: &DomainName,
        owner: Option<&str>,
    ) -> Option<String> {
        let foreign = Foreign::new(name)?;
        if let Some(own) = own.all().find(|own| foreign.is_like_or_below(own)) {
            return Some(format!("{name} looks like the relay's own {own}: choose another"));
        }
        let others = self.0.get(&foreign.0)?;
        let (other, _) = others.iter().find(|(_, whose)| Some(whose.as_str()) != owner)?;
        Some(format!(
            "{name} looks like {other}, which belongs to another user of the relay: choose another"
        ))
    }
}

impl Foreign {
    /// `None`: the name has no such letters.
    fn new(name: &DomainName) -> Option<Self> {
        let is_encoded = name.as_str().split('.').any(|label| label.starts_with(ENCODED));
        is_encoded.then(|| Self(looks(name)))
    }

    /// Whether it looks like this name, or like one below it.
    fn is_like_or_below(&self, name: &DomainName) -> bool {
        let front = self.0.strip_suffix(&looks(name));
        front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
    }
}

/// The skeleton of a name, label by label.
fn looks(name: &DomainName) -> String {
    // Whatever cannot be decoded stays as it is.
    let (name, _) = domain_to_unicode(name.as_str());
    let labels: Vec<String> = name.split('.').map(|label| skeleton(label).collect()).collect();
    labels.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    #[test]
    fn letters_of_other_scripts_that_look_alike_are_found() {
        for (other, own) in [
            ("\u{0430}pp.example.com", "app.example.com"),
            ("\u{0440}\u{0430}\u{0443}.example.com", "pay.example.com"),
            ("app.ex\u{00e0}mple.com", "app.ex\u{00e0}mple.com"),
            ("g\u{03bf}\u{03bf}d.example.com", "good.example.com"),
            ("\u{0430}1pha.example.com", "alpha.example.com"),
        ] {
            let foreign = Foreign::new(&name(other)).expect("letters of other scripts");
            assert_eq!(foreign.0, looks(&name(own)), "{other}");
            assert!(foreign.is_like_or_below(&name("example.com")) != other.contains('\u{00e0}'));
        }
        let foreign = Foreign::new(&name("b\u{00fc}cher.example.com")).unwrap();
        assert_ne!(foreign.0, looks(&name("bucher.example.com")));
    }

    #[test]
    fn a_name_in_plain_letters_imitates_nobody() {
        for plain in ["app1.example.com", "rnail.example.com", "xn.example.com"] {
            assert!(Foreign::new(&name(plain)).is_none(), "{plain}");
        }
    }

    #[test]
    fn a_name_below_one_that_looks_like_it_is_found_and_one_that_only_ends_so_is_not() {
        let foreign = Foreign::new(&name("app.tunn\u{0435}l.example")).unwrap();
        assert!(foreign.is_like_or_below(&name("tunnel.example")));
        let foreign = Foreign::new(&name("mytunn\u{0435}l.example")).unwrap();
        assert!(!foreign.is_like_or_below(&name("tunnel.example")));
    }
}
