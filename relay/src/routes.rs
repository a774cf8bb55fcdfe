//! Which tunnel a request or a TLS connection is for.
//!
//! Read with every request, so it has a lock of its own that only openings and closings of tunnels
//! write. A look-up takes one step for the host and one for each segment that a path may have, however
//! many routes there are.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use shared::control::protocol::{DomainName, MAX_SEGMENTS, PathPrefix, Subdomain, WebHost};

use crate::entrance::{Entrance, WebAddress};
use crate::tunnel::Tunnel;

/// The routes of all hosts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    requests: Hosts<Paths>,
    connections: Hosts<(Entrance, Arc<Tunnel>)>,
}

/// Something for each host.
#[derive(Debug)]
struct Hosts<T> {
    subdomains: HashMap<Subdomain, T>,
    domains: HashMap<DomainName, T>,
}

/// The host that a visitor names.
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
    others: HashMap<PathPrefix, Arc<Tunnel>>,
    /// The most segments of any.
    deepest: usize,
}

impl Routes {
    /// The tunnel of a host whose prefix of `path` is the longest.
    pub(crate) fn find(&self, host: Host<'_>, path: &str) -> Option<Arc<Tunnel>> {
        self.0.read().requests.get(host)?.find(path).map(Arc::clone)
    }

    /// Whether requests for this host have a tunnel, with whatever path.
    pub(crate) fn has(&self, host: Host<'_>) -> bool {
        self.0.read().requests.get(host).is_some()
    }

    /// By what TLS connections that name this host come in, and to which tunnel.
    pub(crate) fn find_connection(&self, host: Host<'_>) -> Option<(Entrance, Arc<Tunnel>)> {
        self.0.read().connections.get(host).cloned()
    }

    /// An entrance leads to `tunnel` from now on. A port is none of its business.
    pub(crate) fn insert(&self, entrance: &Entrance, tunnel: &Arc<Tunnel>) {
        let mut table = self.0.write();
        match entrance {
            Entrance::Port(_) => (),
            Entrance::ServerName(host) => {
                table.connections.insert(host, (entrance.clone(), Arc::clone(tunnel)));
            }
            Entrance::Web(WebAddress { host, path }) => match table.requests.get_mut(host) {
                Some(paths) => paths.insert(path, tunnel),
                None => {
                    let mut paths = Paths::default();
                    paths.insert(path, tunnel);
                    table.requests.insert(host, paths);
                }
            },
        }
    }

    /// An entrance leads nowhere any more.
    pub(crate) fn remove(&self, entrance: &Entrance) {
        let mut table = self.0.write();
        match entrance {
            Entrance::Port(_) => (),
            Entrance::ServerName(host) => table.connections.remove(host),
            Entrance::Web(WebAddress { host, path }) => {
                let Some(paths) = table.requests.get_mut(host) else { return };
                paths.remove(path);
                if paths.is_empty() {
                    table.requests.remove(host);
                }
            }
        }
    }
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self { subdomains: HashMap::new(), domains: HashMap::new() }
    }
}

impl<T> Hosts<T> {
    fn get(&self, host: Host<'_>) -> Option<&T> {
        match host {
            Host::Subdomain(label) => self.subdomains.get(label),
            Host::Domain(name) => self.domains.get(name),
        }
    }

    fn get_mut(&mut self, host: &WebHost) -> Option<&mut T> {
        match host {
            WebHost::Subdomain(label) => self.subdomains.get_mut(label),
            WebHost::Host(name) => self.domains.get_mut(name),
        }
    }

    fn insert(&mut self, host: &WebHost, value: T) {
        match host {
            WebHost::Subdomain(label) => drop(self.subdomains.insert(label.clone(), value)),
            WebHost::Host(name) => drop(self.domains.insert(name.clone(), value)),
        }
    }

    fn remove(&mut self, host: &WebHost) {
        match host {
            WebHost::Subdomain(label) => drop(self.subdomains.remove(label)),
            WebHost::Host(name) => drop(self.domains.remove(name)),
        }
    }
}

impl Paths {
    fn insert(&mut self, path: &PathPrefix, tunnel: &Arc<Tunnel>) {
        if path.is_root() {
            self.root = Some(Arc::clone(tunnel));
        } else {
            self.others.insert(path.clone(), Arc::clone(tunnel));
            self.deepest = self.deepest.max(path.segments());
        }
    }

    fn remove(&mut self, path: &PathPrefix) {
        if path.is_root() {
            self.root = None;
        } else {
            self.others.remove(path);
        }
    }

    fn is_empty(&self) -> bool {
        self.root.is_none() && self.others.is_empty()
    }

    fn find(&self, path: &str) -> Option<&Arc<Tunnel>> {
        if self.others.is_empty() {
            return self.root.as_ref();
        }
        // Where segments end, as far as any prefix goes; the longest first.
        let ends = path.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/');
        let ends = ends.map(|(at, _)| at).chain([path.len()]).take(self.deepest);
        let mut prefixes = [0; MAX_SEGMENTS];
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
        assert!(routes.0.read().requests.domains.is_empty());
    }
}
