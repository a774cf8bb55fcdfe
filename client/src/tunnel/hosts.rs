//! The hosts by which the public reaches a tunnel.

use shared::control::protocol::{DomainName, MAX_ENTRANCES, Subdomain, TunnelName, WebHost};

use super::BadTunnel;

/// The hosts by which the public reaches a tunnel: domains of somebody else's, or a label in front of
/// the relay's domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Written);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Written {
    /// As it is by default: the tunnel's name.
    Name(Subdomain),
    Subdomain(Subdomain),
    /// One at least, and [`MAX_ENTRANCES`] at most, none of them twice.
    Domains(Vec<DomainName>),
}

impl Hosts {
    /// Those that the options of the tunnel `name` ask for.
    pub(super) fn of(
        name: &TunnelName,
        domains: Vec<DomainName>,
        subdomain: Option<Subdomain>,
    ) -> Result<Self, BadTunnel> {
        Ok(Self(match subdomain {
            Some(_) if !domains.is_empty() => return Err(BadTunnel::Both("host", "subdomain")),
            Some(subdomain) => Written::Subdomain(subdomain),
            None if !domains.is_empty() => Written::Domains(domains),
            None => match name.clone().try_into() {
                Ok(subdomain) => Written::Name(subdomain),
                Err(_) => return Err(BadTunnel::NoSubdomain(name.clone())),
            },
        }))
    }

    /// One after the other, one at least.
    pub(super) fn iter(&self) -> impl Iterator<Item = WebHost> {
        let (subdomain, domains) = match &self.0 {
            Written::Name(subdomain) | Written::Subdomain(subdomain) => (Some(subdomain), &[][..]),
            Written::Domains(domains) => (None, &domains[..]),
        };
        let subdomain = subdomain.cloned().map(WebHost::Subdomain);
        subdomain.into_iter().chain(domains.iter().cloned().map(WebHost::Host))
    }

    /// The domains that are written, if any are.
    pub(super) fn domains(&self) -> &[DomainName] {
        match &self.0 {
            Written::Domains(domains) => domains,
            Written::Name(_) | Written::Subdomain(_) => &[],
        }
    }

    /// The subdomain, if one is written.
    pub(super) fn subdomain(&self) -> Option<&Subdomain> {
        match &self.0 {
            Written::Subdomain(subdomain) => Some(subdomain),
            Written::Name(_) | Written::Domains(_) => None,
        }
    }
}

/// Adds one more domain to those that a tunnel has.
pub(super) fn add_domain(domains: &mut Vec<DomainName>, value: &str) -> Result<(), String> {
    let domain: DomainName =
        value.parse().map_err(|err: <DomainName as std::str::FromStr>::Err| err.to_string())?;
    if domains.contains(&domain) {
        return Err("it is there twice".into());
    }
    if domains.len() == MAX_ENTRANCES {
        return Err(format!("a tunnel has {MAX_ENTRANCES} hosts at most"));
    }
    domains.push(domain);
    Ok(())
}
