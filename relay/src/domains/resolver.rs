//! Looking records up, at the name servers that the operator or the system names.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hickory_proto::rr::{RData, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use shared::kit::small_file;
use tokio::time::timeout;

use super::proof::Answer;

/// How long a look-up may take in all. Whoever waits for one is a person, or a certificate.
const LONGEST: Duration = Duration::from_secs(5);

/// How long a name server may take before it is asked once more.
const ATTEMPT: Duration = Duration::from_secs(2);

/// So many records of an answer are looked at: more than anybody has under one name, and what a
/// stranger puts there is read and compared.
const MOST_RECORDS: usize = 64;

/// Where the system names its name servers.
const SYSTEM: &str = "/etc/resolv.conf";

/// The longest such file, in bytes.
const LONGEST_FILE: u64 = 64 * 1024;

/// So many name servers of the system are asked, as the system itself does (resolv.conf(5)).
const MOST_SERVERS: usize = 3;

/// The port of name servers (RFC 1035, section 4.2).
const PORT: u16 = 53;

/// Looks records up. Nothing is remembered from one time to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolver(Option<SocketAddr>);

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Txt,
    Alias,
}

impl Resolver {
    /// Asks this name server, or else those of the system.
    pub(super) fn new(server: Option<SocketAddr>) -> Self {
        Self(server)
    }

    /// The records of this kind that `name` has.
    pub(super) async fn look_up(self, name: &str, kind: Kind) -> Answer {
        match timeout(LONGEST, self.ask(name, kind)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Failed(format!("{} did not answer in time", self.who())),
        }
    }

    async fn ask(self, name: &str, kind: Kind) -> Answer {
        let resolver = match self.open().await {
            Ok(resolver) => resolver,
            Err(why) => return Answer::Failed(why),
        };
        let record_type = match kind {
            Kind::Txt => RecordType::TXT,
            Kind::Alias => RecordType::CNAME,
        };
        // With a dot at the end nothing is put behind it.
        match resolver.lookup(format!("{name}."), record_type).await {
            Ok(found) => {
                let records = found.answers().iter().take(MOST_RECORDS);
                Answer::Records(records.filter_map(|record| text(&record.data, kind)).collect())
            }
            Err(err) if err.is_no_records_found() => Answer::Records(Vec::new()),
            Err(NetError::Timeout) => Answer::Failed(format!("{} does not answer", self.who())),
            Err(err) => Answer::Failed(format!("{} cannot say: {err}", self.who())),
        }
    }

    async fn open(self) -> Result<TokioResolver, String> {
        let servers = match self.0 {
            Some(server) => vec![server],
            None => {
                let read = tokio::task::spawn_blocking(|| servers_in(Path::new(SYSTEM)));
                read.await.map_err(|err| err.to_string())??
            }
        };
        let servers = servers.into_iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options();
        builder.build().map_err(|err| format!("cannot ask {}: {err}", self.who()))
    }

    fn who(self) -> String {
        match self.0 {
            Some(server) => format!("the name server {server}"),
            None => format!("the name server of {SYSTEM}"),
        }
    }
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    (options.timeout, options.attempts) = (ATTEMPT, 1);
    // What has just been put into DNS is to be seen, and what was taken out is not.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
    options
}

fn text(data: &RData, kind: Kind) -> Option<String> {
    match (data, kind) {
        // Long texts are kept in pieces (RFC 1035, section 3.3.14).
        (RData::TXT(txt), Kind::Txt) => {
            Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
        }
        (RData::CNAME(target), Kind::Alias) => Some(target.to_string()),
        _ => None,
    }
}

/// The name servers that a file of the system names.
fn servers_in(path: &Path) -> Result<Vec<SocketAddr>, String> {
    let help = "name a server with --resolver";
    let text = small_file::read_text(path, LONGEST_FILE)
        .map_err(|err| format!("cannot read {}: {err}: {help}", path.display()))?;
    match servers(&text) {
        none if none.is_empty() => {
            Err(format!("there is no name server in {}: {help}", path.display()))
        }
        servers => Ok(servers),
    }
}

fn servers(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let ip = line.trim().strip_prefix("nameserver")?;
        let ip: IpAddr = ip.split_whitespace().next()?.parse().ok()?;
        Some(SocketAddr::new(ip, PORT))
    };
    text.lines().filter_map(server).take(MOST_SERVERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_name_servers_are_those_in_its_file() {
        let text = "# nameserver 10.0.0.1\nsearch lan\nnameserver 10.0.0.2 \n nameserver\t::1\n\
            nameserver nonsense\nnameserver\noptions ndots:2\nnameserver 10.0.0.3\nnameserver 10.0.0.4";
        let found: Vec<_> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2:53", "[::1]:53", "10.0.0.3:53"]);
        assert!(servers_in(Path::new("/nonexistent")).unwrap_err().contains("--resolver"));
    }
}
