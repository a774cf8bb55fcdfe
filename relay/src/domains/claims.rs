//! Whether somebody may have a host name: a decision about what is known, and nothing else.

use std::collections::HashMap;

use shared::control::protocol::{DomainName, Refusal, RefusalCode, Subdomain, WebHost};

use super::lookalike::Looks;
use super::own::{OwnNames, Place};
use super::proof::Records;
use super::reserved::Reserved;
use crate::access::Owner;
use crate::config::DomainSettings;
use crate::metrics::HostRefusal;
use crate::store::{Asked, DomainRecord, Name};

/// What a store knows of host names.
#[derive(Debug, Default)]
pub(super) struct Table {
    hosts: HashMap<WebHost, Vec<DomainRecord>>,
    looks: Looks,
    asked: HashMap<Name, Asked>,
}

/// A refusal, and what it is counted as.
pub(crate) type Refused = (HostRefusal, Refusal);

impl Table {
    pub(super) fn new(records: Vec<DomainRecord>) -> Self {
        let mut table = Self { looks: Looks::new(&records), ..Self::default() };
        for record in records {
            if record.asked.is_some() {
                let asked = table.asked.entry(record.owner.clone()).or_default();
                asked.all += 1;
                asked.unproven += usize::from(record.proven.is_none());
            }
            table.hosts.entry(record.host.clone()).or_default().push(record);
        }
        table
    }

    /// How many names the clients of `owner` have asked for.
    pub(super) fn asked_by(&self, owner: &Name) -> Asked {
        self.asked.get(owner).copied().unwrap_or_default()
    }

    /// Everything that is known.
    pub(super) fn all(&self) -> impl Iterator<Item = &DomainRecord> {
        self.hosts.values().flatten()
    }

    /// Whose a host name is.
    pub(super) fn holder(&self, host: &WebHost) -> Option<&DomainRecord> {
        self.of(host).find(|record| record.proven.is_some())
    }

    /// What `owner` says of a host name.
    pub(super) fn said_by(&self, owner: &str, host: &WebHost) -> Option<&DomainRecord> {
        self.of(host).find(|record| record.owner.as_str() == owner)
    }

    /// What everybody says who has to do with a host name.
    fn of(&self, host: &WebHost) -> impl Iterator<Item = &DomainRecord> {
        self.hosts.get(host).into_iter().flatten()
    }

    /// What proven domains look like.
    pub(super) fn looks(&self) -> &Looks {
        &self.looks
    }
}

/// What a decision is made from.
pub(super) struct Claims<'a> {
    pub(super) own: &'a OwnNames,
    pub(super) settings: &'a DomainSettings,
    pub(super) table: &'a Table,
    /// Whether there are users who could have host names.
    pub(super) has_users: bool,
}

impl Claims<'_> {
    /// Whether `owner` may have `host`.
    ///
    /// # Errors
    ///
    /// The refusal that says what would help.
    pub(super) fn check(&self, owner: &Owner, host: &WebHost) -> Result<(), Refused> {
        match host {
            WebHost::Subdomain(label) => self.subdomain(owner, host, label),
            WebHost::Host(name) => self.domain(owner, host, name),
        }
    }

    fn subdomain(&self, owner: &Owner, host: &WebHost, label: &Subdomain) -> Result<(), Refused> {
        match self.table.holder(host) {
            // The operator has thought about it.
            Some(holder) if is_of(holder, owner) => return Ok(()),
            Some(_) => {
                let message = format!(
                    "the subdomain `{label}` is kept for another user of the relay: choose another"
                );
                return Err((HostRefusal::Taken, Refusal::new(RefusalCode::HostTaken, message)));
            }
            None => (),
        }
        Reserved::new(self.own, &self.settings.reserved).permits(label).map_err(|why| {
            let message = format!(
                "the subdomain `{label}` cannot be had by asking: it {why}. Choose another, or ask \
                 the operator of the relay for it (`relay domain reserve {label} --user USER`)"
            );
            (HostRefusal::KeptBack, Refusal::new(RefusalCode::HostNotAllowed, message))
        })
    }

    fn domain(&self, owner: &Owner, host: &WebHost, name: &DomainName) -> Result<(), Refused> {
        if let Some(message) = own(self.own, name) {
            return Err((HostRefusal::Own, Refusal::new(RefusalCode::HostNotAllowed, message)));
        }
        match self.table.holder(host) {
            Some(holder) if is_of(holder, owner) => return Ok(()),
            Some(_) => {
                let message = format!("{name} belongs to another user of the relay");
                return Err((HostRefusal::Taken, Refusal::new(RefusalCode::HostTaken, message)));
            }
            None => (),
        }
        let owner_name = match owner {
            Owner::User(user) => Some(&**user),
            Owner::Anybody | Owner::Shared | Owner::Subject(_) => None,
        };
        if let Some(message) = self.table.looks().imitated(self.own, name, owner_name) {
            let refusal = Refusal::new(RefusalCode::HostNotAllowed, message);
            return Err((HostRefusal::Lookalike, refusal));
        }
        if self.settings.any_host {
            return Ok(());
        }
        self.unproven(owner, host, name)
    }

    /// What is said of a domain that nobody has proven.
    fn unproven(&self, owner: &Owner, host: &WebHost, name: &DomainName) -> Result<(), Refused> {
        let not_allowed = |message| {
            Err((HostRefusal::NoUser, Refusal::new(RefusalCode::HostNotAllowed, message)))
        };
        if !self.has_users {
            return not_allowed(format!(
                "the relay keeps no users, so it cannot know whose {name} is: its operator can keep \
                 them (`relay --data DIR`, then `relay domain add {name} --user USER`), or let \
                 whoever comes first have any host name (`relay --any-host`)"
            ));
        }
        let Owner::User(user) = owner else {
            return not_allowed(format!(
                "{name} can only be had by a user of the relay who has proven that it is theirs: \
                 come with a token of `relay token create`. The operator can add it (`relay domain \
                 add {name} --user USER`), or let whoever comes first have any host name (`relay \
                 --any-host`)"
            ));
        };
        let refusal = match self.table.said_by(user, host) {
            None => Refusal::new(
                RefusalCode::HostNotProven,
                format!(
                    "the relay does not know that {name} is yours: ask for it anew, or its operator \
                     for `relay domain add {name} --user {user}`, which says what to do"
                ),
            ),
            Some(DomainRecord { code, .. }) => unproven(name, code, self.own),
        };
        Err((HostRefusal::NotProven, refusal))
    }
}

/// Why nobody may have `name` as a host name of its own, if it is the relay's.
pub(crate) fn own(own: &OwnNames, name: &DomainName) -> Option<String> {
    match own.place(name) {
        Place::Elsewhere => None,
        Place::Own => Some(format!("{name} is the relay's own name: choose another")),
        Place::Subdomain(label) => Some(format!(
            "{name} is below the relay's own domain: ask for the subdomain `{label}` instead"
        )),
        Place::Below => Some(format!(
            "{name} is below the relay's own domain, where tunnels have one label of a-z, 0-9 and - \
             in front: choose another"
        )),
    }
}

/// What is said of a name that is not its owner's yet, who has this code.
fn unproven(name: &DomainName, code: &str, own: &OwnNames) -> Refusal {
    let records = Records::new(name, code, own, [""; 0]).recommended();
    // Short: what may be long goes beside it.
    let message = format!(
        "it is not proven yet, or not any more, that {name} is yours: make one of the records that \
         prove it"
    );
    Refusal { records, ..Refusal::new(RefusalCode::HostNotProven, message) }
}

fn is_of(record: &DomainRecord, owner: &Owner) -> bool {
    matches!(owner, Owner::User(user) if **user == *record.owner.as_str())
}
