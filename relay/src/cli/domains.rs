//! The flags of host names and DNS.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use shared::control::protocol::{DomainName, Subdomain};
use shared::kit::args;
use shared::kit::net::HostPort;
use shared::kit::small_file;

use crate::config::{BadSetting, DnsUpdate, DomainSettings, TsigKey};

/// The port of name servers.
const PORT: u16 = 53;

/// The longest file with a key, in bytes.
const LONGEST_KEY: u64 = 16 * 1024;

/// By which host names the web reaches tunnels, and what proves whose they are.
#[derive(Debug, Args)]
pub(super) struct DomainArgs {
    /// Subdomains that nobody gets by asking, besides those that mislead, such as www and login:
    /// labels with commas between them
    #[arg(long, env = "RELAY_RESERVED_NAMES", value_name = "NAMES", value_delimiter = ',')]
    reserved_names: Vec<Subdomain>,

    /// Let whoever comes first have a host name that nobody has proven to be its own
    #[arg(long, env = "RELAY_ANY_HOST", value_parser = BoolishValueParser::new())]
    any_host: bool,

    /// The name server that is asked for proofs, IP or IP:PORT [default: those of the system]
    #[arg(long, env = "RELAY_RESOLVER", value_name = "ADDRESS", value_parser = name_server)]
    resolver: Option<SocketAddr>,

    /// How long a client's new code is left alone before it is looked for in the DNS: what a name
    /// server has not found it may remember
    #[arg(long, env = "RELAY_DOMAIN_FIRST_LOOK", value_name = "TIME", default_value = "30s",
          value_parser = args::duration)]
    domain_first_look: Duration,

    /// How often the proofs of host names are looked for again
    #[arg(long, env = "RELAY_DOMAIN_RECHECK", value_name = "TIME", default_value = "1h",
          value_parser = args::positive_duration)]
    domain_recheck: Duration,

    /// How long a host name stays a user's whose proof is not there any more
    #[arg(long, env = "RELAY_DOMAIN_GRACE", value_name = "TIME", default_value = "72h",
          value_parser = args::duration)]
    domain_grace: Duration,

    /// The most host names that the clients of one user may ask for. Those that `relay domain add` has
    /// added do not count
    #[arg(long, env = "RELAY_MAX_DOMAINS_PER_OWNER", value_name = "N", default_value_t = 100)]
    max_domains_per_owner: u32,

    /// The name server at which the relay makes records by itself (RFC 2136), HOST or HOST:PORT
    #[arg(long, env = "RELAY_DNS_UPDATE", value_name = "SERVER", value_parser = update_server)]
    dns_update: Option<HostPort>,

    /// A file with the key that it takes them by, as `tsig-keygen` makes it, or NAME:ALGORITHM:SECRET
    #[arg(long, env = "RELAY_DNS_UPDATE_KEY_FILE", value_name = "FILE")]
    dns_update_key_file: Option<PathBuf>,

    /// The zone in which the relay makes records [default: --domain]
    #[arg(long, env = "RELAY_DNS_UPDATE_ZONE", value_name = "NAME")]
    dns_update_zone: Option<DomainName>,

    /// What writes to any other DNS: a program that is run with `add NAME TYPE VALUE`, and with
    /// `remove NAME TYPE VALUE` when a record is to go
    #[arg(long, env = "RELAY_DNS_HOOK", value_name = "PROGRAM")]
    dns_hook: Option<PathBuf>,

    /// The addresses to which all subdomains of --domain are to lead, with commas between them
    #[arg(long, env = "RELAY_DNS_ADDRESS", value_name = "IPS", value_delimiter = ',')]
    dns_address: Vec<IpAddr>,
}

impl DomainArgs {
    /// The file with the key for changes of a zone, if there is one.
    pub(super) fn key_file(&self) -> Option<&Path> {
        self.dns_update_key_file.as_deref()
    }

    /// The settings that the arguments describe for a relay of this domain, with the key that is in
    /// their file.
    ///
    /// # Errors
    ///
    /// Half of what a zone needs, or a program whose folder is not known.
    pub(super) fn into_settings(
        self,
        domain: Option<&DomainName>,
        key: Option<TsigKey>,
    ) -> Result<DomainSettings, BadSetting> {
        let bad = |key, must| Err(BadSetting { key, must });
        let zone = self.dns_update_zone.clone().or_else(|| domain.cloned());
        let update = match (self.dns_update, key, zone) {
            (Some(server), Some(key), Some(zone)) => Some(DnsUpdate { server, key, zone }),
            (Some(_), None, _) => {
                return bad("dns-update", "needs dns-update-key-file as well");
            }
            (Some(_), _, None) => return bad("dns-update", "needs dns-update-zone or domain"),
            (None, Some(_), _) => return bad("dns-update-key-file", NEEDS_SERVER),
            (None, None, _) if self.dns_update_zone.is_some() => {
                return bad("dns-update-zone", NEEDS_SERVER);
            }
            (None, None, _) => None,
        };
        // Of the folder in which the relay has started, and not of those of $PATH.
        let hook = self.dns_hook.map(std::path::absolute).transpose();
        let Ok(hook) = hook else { return bad("dns-hook", NO_FOLDER) };
        Ok(DomainSettings {
            reserved: self.reserved_names,
            any_host: self.any_host,
            resolver: self.resolver,
            first_look: self.domain_first_look,
            recheck: self.domain_recheck,
            grace: self.domain_grace,
            max_per_owner: self.max_domains_per_owner,
            update,
            hook,
            addresses: self.dns_address,
        })
    }
}

/// What is said of something that means nothing without a server.
const NEEDS_SERVER: &str = "needs dns-update as well";

/// What is said of a program that is named from the folder of a process that has none any more.
const NO_FOLDER: &str =
    "must be a path from / on: the folder that the relay was started in is gone";

/// The key in a file.
pub(super) fn key_in(path: &Path) -> Result<TsigKey, String> {
    let about =
        |err: &dyn fmt::Display| format!("--dns-update-key-file: {}: {err}", path.display());
    let text = small_file::read_text(path, LONGEST_KEY).map_err(|err| about(&err))?;
    TsigKey::parse(&text).map_err(|err| about(&err))
}

/// The address of a name server: a name would need another one to be found.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, String> {
    let whole = text.parse().ok();
    let server = whole.or_else(|| Some(SocketAddr::new(text.parse().ok()?, PORT)));
    let server = server.filter(|server| server.port() != 0);
    server.ok_or_else(|| "expected an address, such as 9.9.9.9 or 127.0.0.1:5353".into())
}

fn update_server(text: &str) -> Result<HostPort, String> {
    let bare = |host: &str| format!("{host}:{PORT}").parse::<HostPort>().ok();
    let found = match text.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => Some(HostPort { host: Some(ip.to_string()), port: PORT }),
        Err(_) => match text.parse::<HostPort>() {
            Ok(with_port) => Some(with_port).filter(|at| at.host.is_some()),
            Err(_) => bare(text),
        },
    };
    let found = found.filter(|server| server.port != 0);
    found.ok_or_else(|| "expected HOST or HOST:PORT, such as ns1.example.com".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_hosts_whose_port_can_be_left_out() {
        for (text, server) in
            [("9.9.9.9", "9.9.9.9:53"), ("::1", "[::1]:53"), ("127.0.0.1:5353", "127.0.0.1:5353")]
        {
            assert_eq!(name_server(text).unwrap().to_string(), server);
            assert_eq!(update_server(text).unwrap().to_string(), server);
        }
        assert_eq!(update_server("ns1.example.com").unwrap().to_string(), "ns1.example.com:53");
        for bad in ["", "53", "127.0.0.1:0", "a b", "[::1]"] {
            assert!(name_server(bad).is_err(), "{bad}");
        }
        for bad in ["", "53", "127.0.0.1:0", "a b", "tcp://a"] {
            assert!(update_server(bad).is_err(), "{bad}");
        }
        assert!(name_server("dns.example").is_err());
    }
}
