//! The names that the relay itself goes by.

use shared::control::protocol::{DomainName, HostName, Subdomain};

/// The names that the relay itself goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnNames {
    /// The one that has the subdomains of tunnels in front.
    domain: Option<DomainName>,
    /// The one that visitors know it by, if it is one of the public DNS.
    public: Option<DomainName>,
    /// The one at which it shows itself.
    board: Option<DomainName>,
}

/// Where a name is, as seen from the relay's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is one of them.
    Own,
    /// It is a subdomain.
    Subdomain(Subdomain),
    /// It is below the relay's domain, and no subdomain that a tunnel could have.
    Below,
    /// It is somebody else's.
    Elsewhere,
}

impl OwnNames {
    pub(crate) fn new(
        domain: Option<DomainName>,
        public: Option<&HostName>,
        board: Option<DomainName>,
    ) -> Self {
        // An address is no name, nor is `localhost`.
        let public = public.and_then(|name| name.as_str().parse().ok());
        Self { domain, public, board }
    }

    /// Where `name` is.
    pub(crate) fn place(&self, name: &DomainName) -> Place {
        if self.all().any(|own| own == name) {
            return Place::Own;
        }
        match self.domain.as_ref().and_then(|domain| name.below(domain)) {
            None => Place::Elsewhere,
            Some(label) => label.parse().map_or(Place::Below, Place::Subdomain),
        }
    }

    /// Whether the relay needs this label in front of its domain for itself.
    pub(super) fn has_label(&self, label: &Subdomain) -> bool {
        let Some(domain) = &self.domain else { return false };
        let own = [&self.public, &self.board].into_iter().flatten();
        let mut labels = own.filter_map(|own| own.below(domain)?.rsplit('.').next());
        labels.any(|own| own == label.as_str())
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &DomainName> {
        [&self.domain, &self.public, &self.board].into_iter().flatten()
    }

    /// The name that those who point to the relay put a label in front of.
    pub(crate) fn target(&self) -> Option<&DomainName> {
        self.domain.as_ref().or(self.public.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_relays_a_subdomain_of_it_or_somebody_elses() {
        let domain = Some("t.example".parse().unwrap());
        let own = OwnNames::new(
            domain,
            Some(&"Relay.Example".parse().unwrap()),
            Some("board.t.example".parse().unwrap()),
        );
        let place = |name: &str| own.place(&name.parse().unwrap());
        for name in ["t.example", "T.Example.", "relay.example", "board.t.example"] {
            assert_eq!(place(name), Place::Own, "{name}");
        }
        assert_eq!(place("app.t.example"), Place::Subdomain("app".parse().unwrap()));
        for name in ["a.b.t.example", "xn--bcher-kva.t.example"] {
            assert_eq!(place(name), Place::Below, "{name}");
        }
        for name in ["appt.example", "a.relay.example", "xn--bcher-kva.example", "t.example.com"] {
            assert_eq!(place(name), Place::Elsewhere, "{name}");
        }
        let nowhere = OwnNames::new(None, Some(&"10.0.0.5".parse().unwrap()), None);
        assert_eq!(nowhere, OwnNames::default());
    }
}
