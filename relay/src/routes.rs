//! Which tunnel a request or a TLS connection is for.
//!
//! Read with every request, so it has a lock of its own that only openings and closings of tunnels
//! write. A look-up takes one step for the host and one for each segment that a path may have, however
//! many routes there are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::RwLock;
use shared::control::protocol::{DomainName, Subdomain, WebHost};

use crate::entrance::{Entrance, WebAddress};
use crate::tunnel::Tunnel;

/// The routes of all hosts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    subdomains: HashMap<Subdomain, Paths>,
    domains: HashMap<DomainName, Paths>,
    server_names: HashMap<WebHost, Arc<Tunnel>>,
}

/// The host that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host<'a> {
    /// The label in front of the relay's domain, or in a path.
    Subdomain(&'a str),
    /// Any other.
    Domain(&'a str),
}

/// The tunnels of one host, by what their paths begin with.
#[derive(Debug, Default)]
struct Paths {
    /// That of all other paths.
    root: Option<Arc<Tunnel>>,
    others: HashMap<Box<str>, Arc<Tunnel>>,
    /// The most segments of any.
    deepest: usize,
}

impl Routes {
    /// The tunnel of a host whose prefix of `path` is the longest.
    pub(crate) fn find(&self, host: Host<'_>, path: &str) -> Option<Arc<Tunnel>> {
        let table = self.0.read();
        let paths = match host {
            Host::Subdomain(label) => table.subdomains.get(label)?,
            Host::Domain(name) => table.domains.get(name)?,
        };
        paths.find(path).map(Arc::clone)
    }

    /// Whether any tunnel has this host.
    pub(crate) fn has(&self, host: Host<'_>) -> bool {
        let table = self.0.read();
        match host {
            Host::Subdomain(label) => table.subdomains.contains_key(label),
            Host::Domain(name) => table.domains.contains_key(name),
        }
    }

    /// The tunnel for TLS connections that name `host`.
    pub(crate) fn find_server_name(&self, host: &WebHost) -> Option<Arc<Tunnel>> {
        self.0.read().server_names.get(host).map(Arc::clone)
    }

    /// An entrance leads to `tunnel` from now on. A port is none of its business.
    pub(crate) fn insert(&self, entrance: &Entrance, tunnel: &Arc<Tunnel>) {
        let mut table = self.0.write();
        match entrance {
            Entrance::Port(_) => (),
            Entrance::ServerName(host) => {
                table.server_names.insert(host.clone(), Arc::clone(tunnel));
            }
            Entrance::Web(WebAddress { host, path }) => {
                let paths = match host {
                    WebHost::Subdomain(label) => table.subdomains.entry(label.clone()).or_default(),
                    WebHost::Host(name) => table.domains.entry(name.clone()).or_default(),
                };
                if path.is_root() {
                    paths.root = Some(Arc::clone(tunnel));
                } else {
                    paths.others.insert(path.as_str().into(), Arc::clone(tunnel));
                    paths.deepest = paths.deepest.max(path.segments());
                }
            }
        }
    }

    /// An entrance leads nowhere any more.
    pub(crate) fn remove(&self, entrance: &Entrance) {
        let mut table = self.0.write();
        match entrance {
            Entrance::Port(_) => (),
            Entrance::ServerName(host) => drop(table.server_names.remove(host)),
            Entrance::Web(WebAddress { host, path }) => match host {
                WebHost::Subdomain(label) => {
                    remove(table.subdomains.entry(label.clone()), path.as_str());
                }
                WebHost::Host(name) => remove(table.domains.entry(name.clone()), path.as_str()),
            },
        }
    }
}

/// Takes a path away from a host, and the host with its last path.
fn remove<K>(host: Entry<'_, K, Paths>, path: &str) {
    let Entry::Occupied(mut host) = host else { return };
    let paths = host.get_mut();
    if path == "/" {
        paths.root = None;
    } else {
        paths.others.remove(path);
    }
    if paths.root.is_none() && paths.others.is_empty() {
        host.remove();
    }
}

impl Paths {
    fn find(&self, path: &str) -> Option<&Arc<Tunnel>> {
        if self.others.is_empty() {
            return self.root.as_ref();
        }
        // Where segments end, as far as any prefix goes; the longest first.
        let ends = path.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/');
        let ends = ends.map(|(at, _)| at).chain([path.len()]).take(self.deepest);
        let mut prefixes = [0; shared::control::protocol::MAX_SEGMENTS];
        let mut count = 0;
        for (place, end) in prefixes.iter_mut().zip(ends) {
            *place = end;
            count += 1;
        }
        let longest_first = prefixes[..count].iter().rev();
        longest_first.filter_map(|end| self.others.get(&path[..*end])).next().or(self.root.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::access::Owner;
    use crate::limits::Limits;
    use crate::metrics::Metrics;
    use crate::tunnel::{TunnelId, Vacancies};

    fn tunnel(name: &str) -> Arc<Tunnel> {
        let id = TunnelId { owner: Owner::Anybody, name: name.parse().unwrap() };
        let metrics = Metrics::new(|| 0).unwrap();
        let vacancies = Vacancies::new(Limits::new(64));
        Tunnel::new(id, Box::default(), &metrics, CancellationToken::new(), vacancies)
    }

    fn web(host: &str, path: &str) -> Entrance {
        let host = match host.contains('.') {
            true => WebHost::Host(host.parse().unwrap()),
            false => WebHost::Subdomain(host.parse().unwrap()),
        };
        Entrance::Web(WebAddress { host, path: path.parse().unwrap() })
    }

    #[test]
    fn the_longest_prefix_wins_and_is_made_of_whole_segments() {
        let routes = Routes::default();
        for (name, path) in [("all", "/"), ("api", "/api"), ("v1", "/api/v1"), ("deep", "/a/b/c")] {
            routes.insert(&web("app", path), &tunnel(name));
        }
        let found = |path| {
            let tunnel = routes.find(Host::Subdomain("app"), path);
            tunnel.map(|tunnel| tunnel.name().to_string()).unwrap_or_default()
        };
        let cases = [
            ("/", "all"),
            ("/apix", "all"),
            ("/api", "api"),
            ("/api/", "api"),
            ("/api/v", "api"),
            ("/api/v1", "v1"),
            ("/api/v1/x/y/z/a/b/c/d", "v1"),
            ("//api", "all"),
            ("/a/b", "all"),
            ("/a/b/c/", "deep"),
            ("*", "all"),
        ];
        for (path, name) in cases {
            assert_eq!(found(path), name, "{path}");
        }
        assert!(routes.find(Host::Domain("app"), "/").is_none());
        assert!(routes.find(Host::Subdomain("ap"), "/").is_none());
    }

    #[test]
    fn a_host_goes_with_its_last_path() {
        let routes = Routes::default();
        let entrances = [web("a.example", "/"), web("a.example", "/api")];
        for entrance in &entrances {
            routes.insert(entrance, &tunnel("x"));
        }
        routes.remove(&entrances[0]);
        assert!(routes.find(Host::Domain("a.example"), "/api/x").is_some());
        assert!(routes.find(Host::Domain("a.example"), "/").is_none());
        routes.remove(&entrances[1]);
        assert!(!routes.has(Host::Domain("a.example")));
        assert!(routes.0.read().domains.is_empty());
    }
}
