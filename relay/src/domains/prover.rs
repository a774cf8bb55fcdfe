//! Looks for the proofs of what is kept in a store.

use shared::control::protocol::{DomainName, WebHost};

use super::own::OwnNames;
use super::proof::{Found, Records, Verdict};
use super::resolver::{Kind, Resolver};
use crate::config::Config;
use crate::store::{DomainRecord, Name};

/// Looks for proofs.
#[derive(Clone, Debug)]
pub(crate) struct Prover {
    own: OwnNames,
    resolver: Resolver,
}

impl Prover {
    /// Goes by these settings.
    pub(crate) fn new(config: &Config) -> Self {
        let own = own_names(config);
        Self { own, resolver: Resolver::new(config.domains.resolver) }
    }

    /// The names that the relay itself goes by.
    pub(crate) fn own(&self) -> &OwnNames {
        &self.own
    }

    /// What proves that `name` is the owner's who has this code. `all` is what is kept of host
    /// names.
    pub(crate) fn records<'a>(
        &self,
        name: &DomainName,
        owner: &Name,
        code: &str,
        all: impl IntoIterator<Item = &'a DomainRecord>,
    ) -> Records {
        let labels = all.into_iter().filter(|record| record.owner == *owner);
        let labels = labels.filter_map(|record| match &record.host {
            WebHost::Subdomain(label) => Some(label),
            WebHost::Host(_) => None,
        });
        Records::new(name, code, &self.own, labels)
    }

    /// Looks whether one of the records is there.
    pub(crate) async fn look(&self, name: &DomainName, records: &Records) -> Verdict {
        let txt_name = records.txt_name();
        let (txt, alias) = tokio::join!(
            self.resolver.look_up(&txt_name, Kind::Txt),
            self.resolver.look_up(name.as_str(), Kind::Alias),
        );
        records.judge(Found { txt, alias })
    }
}

/// The names that a relay with these settings goes by.
pub(super) fn own_names(config: &Config) -> OwnNames {
    let (domain, board) = (config.web.domain_name().cloned(), config.web.board.clone());
    OwnNames::new(domain, config.public_name.as_ref(), board)
}
