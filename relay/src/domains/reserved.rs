//! Labels in front of the relay's domain that nobody gets by asking for them.

use std::fmt;

use shared::control::protocol::Subdomain;

use super::own::OwnNames;
use super::words::WORDS;

/// Labels that are kept back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved<'a> {
    own: &'a OwnNames,
    listed: &'a [Subdomain],
}

/// Why a label is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The relay goes by it.
    Own,
    /// It is one of the words that mislead.
    Word,
    /// The operator says so.
    Listed,
}

impl<'a> Reserved<'a> {
    /// Keeps back those of the relay's own names, the words that mislead, and what the operator has
    /// `listed`.
    pub(crate) fn new(own: &'a OwnNames, listed: &'a [Subdomain]) -> Self {
        Self { own, listed }
    }

    /// Whether anybody may have this label.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(crate) fn permits(&self, label: &Subdomain) -> Result<(), Why> {
        // `www2` looks as good as `www`.
        let word = label.as_str().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        if self.own.has_label(label) {
            Err(Why::Own)
        } else if self.listed.contains(label) {
            Err(Why::Listed)
        } else if WORDS.binary_search(&word).is_ok() {
            Err(Why::Word)
        } else {
            Ok(())
        }
    }
}

/// To be read behind `it`.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "is the relay's own",
            Self::Word => "could be taken for the operator's own",
            Self::Listed => "is kept back by the operator",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_labels_in_the_order_in_which_they_are_searched() {
        assert!(WORDS.is_sorted_by(|a, b| a < b));
        for word in WORDS {
            assert!(word.parse::<Subdomain>().is_ok(), "{word}");
            assert!(!word.ends_with(|c: char| c.is_ascii_digit()), "{word} would not be found");
        }
    }

    #[test]
    fn what_misleads_is_kept_back_and_so_is_what_the_relay_or_its_operator_needs() {
        let domain = Some("t.example".parse().unwrap());
        let own = OwnNames::new(
            domain,
            Some(&"gate.eu.t.example".parse().unwrap()),
            Some("house.t.example".parse().unwrap()),
        );
        let listed = ["acme-corp".parse().unwrap()];
        let reserved = Reserved::new(&own, &listed);
        let permits = |label: &str| reserved.permits(&label.parse().unwrap());
        for label in ["www", "www2", "admin", "admin-1", "login", "mta-sts", "board", "sallyport"] {
            assert_eq!(permits(label), Err(Why::Word), "{label}");
        }
        assert_eq!(permits("eu"), Err(Why::Own));
        assert_eq!(permits("house"), Err(Why::Own));
        assert_eq!(permits("acme-corp"), Err(Why::Listed));
        for label in ["app", "my-admin", "wwww", "acme-corp2", "gate", "2", "api-docs"] {
            assert_eq!(permits(label), Ok(()), "{label}");
        }
    }
}
