//! What somebody may do: what each link of a token's chain allows.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use shared::control::protocol::{Refusal, RefusalCode, TunnelName};
use shared::token::{Grant, Scope};

/// What somebody may do. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Rights(Arc<[Grant]>);

impl Rights {
    /// The right to do anything.
    pub(crate) fn unlimited() -> Self {
        Self(Arc::new([]))
    }

    /// The right to do what all of the grants allow.
    pub(super) fn new(grants: Vec<Grant>) -> Self {
        Self(grants.into())
    }

    /// What these grants allow, as they stand in tokens.
    #[cfg(test)]
    pub(crate) fn of(grants: &[impl AsRef<str>]) -> Self {
        let grant = |json: &str| serde_json::from_str(json).unwrap();
        Self::new(grants.iter().map(|json| grant(json.as_ref())).collect())
    }

    /// Whether it goes as far as a tunnel of this name.
    ///
    /// # Errors
    ///
    /// The refusal that says how far it goes.
    pub(crate) fn check_name(&self, name: &TunnelName) -> Result<(), Refusal> {
        for Grant { tunnels, .. } in &*self.0 {
            if !tunnels.is_empty() && !tunnels.iter().any(|pattern| pattern.fits(name.as_str())) {
                let names: Vec<_> = tunnels.iter().map(|pattern| format!("`{pattern}`")).collect();
                let message = format!(
                    "the token is not for the tunnel `{name}`: it is for {}",
                    names.join(", ")
                );
                return Err(Refusal::new(RefusalCode::Forbidden, message));
            }
        }
        Ok(())
    }

    /// Whether it goes as far as this public port.
    ///
    /// # Errors
    ///
    /// The refusal that says how far it goes.
    pub(crate) fn check_port(&self, port: u16) -> Result<(), Refusal> {
        match self.ports().find(|ports| !ports.contain(port)) {
            None => Ok(()),
            Some(ports) => {
                let message = format!("the token is not for port {port}: it is for {ports}");
                Err(Refusal::new(RefusalCode::Forbidden, message))
            }
        }
    }

    /// Whether it goes as far as this host name, as visitors know it.
    ///
    /// # Errors
    ///
    /// The refusal that says how far it goes.
    pub(crate) fn check_host(&self, host: &str) -> Result<(), Refusal> {
        for Grant { hosts, .. } in &*self.0 {
            if !hosts.is_empty() && !hosts.iter().any(|pattern| pattern.fits(host)) {
                let hosts: Vec<_> = hosts.iter().map(|pattern| format!("`{pattern}`")).collect();
                let message =
                    format!("the token is not for the host {host}: it is for {}", hosts.join(", "));
                return Err(Refusal::new(RefusalCode::Forbidden, message));
            }
        }
        Ok(())
    }

    /// Whether it goes as far as this public port.
    pub(crate) fn may_have(&self, port: u16) -> bool {
        self.ports().all(|ports| ports.contain(port))
    }

    /// The lists of ports that it is limited to. A port has to be in all of them.
    pub(crate) fn ports(&self) -> impl Iterator<Item = &shared::token::Ports> {
        self.0.iter().filter_map(|grant| grant.ports.as_ref())
    }

    /// Whether a visitor may come from there.
    pub(crate) fn admit_visitor(&self, ip: IpAddr) -> bool {
        self.0.iter().all(|grant| grant.allow.is_empty() || grant.allow.contain(ip))
    }

    /// Whether the API is open to it as far as this: the token says so, and no link takes it away.
    pub(crate) fn has_scope(&self, scope: Scope) -> bool {
        let mut links = self.0.iter().map(|grant| &grant.scopes);
        links.next().is_some_and(|token| token.contains(&scope))
            && links.all(|link| link.is_empty() || link.contains(&scope))
    }

    /// Whether there is any limit to what it may do, its end aside.
    pub(crate) fn are_limited(&self) -> bool {
        let unlimited = |grant: &Grant| {
            let rest = Grant { expires: None, scopes: Vec::new(), ..grant.clone() };
            rest == Grant::default()
        };
        !self.0.iter().all(unlimited)
    }

    /// When it ends, if it does.
    pub(crate) fn ends(&self) -> Option<SystemTime> {
        self.0.iter().filter_map(Grant::ends).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_has_no_grant_may_do_anything() {
        let rights = Rights::unlimited();
        assert!(rights.check_name(&"web".parse().unwrap()).is_ok());
        assert!(rights.check_host("app.example.com").is_ok());
        assert!(rights.may_have(443) && rights.admit_visitor("8.8.8.8".parse().unwrap()));
        assert_eq!(rights.ends(), None);
    }

    #[test]
    fn every_link_has_to_allow_it() {
        let rights = Rights::of(&[
            r#"{"tunnels":["web-*","db"],"ports":"9000-9010","expires":2000,"allow":["10.0.0.0/8"]}"#,
            r#"{"tunnels":["*-1","db"],"ports":"9005-9020","expires":1000,"allow":["::ffff:10.1.0.0/112"]}"#,
        ]);
        let name = |name: &str| rights.check_name(&name.parse().unwrap());
        assert!(name("web-1").is_ok() && name("db").is_ok());
        for (other, says) in [("web-2", "it is for `*-1`, `db`"), ("x-1", "it is for `web-*`")] {
            let refusal = name(other).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Forbidden);
            assert!(refusal.message.contains(says), "{refusal}");
        }
        assert!(rights.check_host("app.example.com").is_ok(), "no link says anything of hosts");
        assert!(rights.may_have(9005) && rights.check_port(9010).is_ok());
        assert!(!rights.may_have(9004) && rights.check_port(9011).is_err());
        assert!(rights.admit_visitor("10.1.2.3".parse().unwrap()));
        assert!(rights.admit_visitor("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!rights.admit_visitor("10.2.2.3".parse().unwrap()));
        assert_eq!(rights.ends(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1000)));
    }

    #[test]
    fn the_api_is_open_as_far_as_the_token_says_and_no_link_takes_away() {
        let scopes = |grants: &[&str]| {
            let rights = Rights::of(grants);
            [Scope::Own, Scope::Admin, Scope::Metrics].map(|scope| rights.has_scope(scope))
        };
        assert_eq!(scopes(&[]), [false; 3], "nobody in particular");
        assert_eq!(scopes(&["{}"]), [false; 3], "a client's token");
        assert_eq!(scopes(&["{}", r#"{"scopes":["admin"]}"#]), [false; 3], "whoever narrows it");
        let all = r#"{"scopes":["own","admin"]}"#;
        assert_eq!(scopes(&[all, "{}"]), [true, true, false]);
        assert_eq!(scopes(&[all, r#"{"scopes":["own","metrics"]}"#]), [true, false, false]);
        assert!(!Rights::of(&[r#"{"expires":5,"scopes":["own"]}"#, "{}"]).are_limited());
        assert!(Rights::of(&["{}", r#"{"tunnels":["web"]}"#]).are_limited());
    }

    #[test]
    fn a_host_has_to_fit_a_pattern_of_every_link_that_has_some() {
        let rights = Rights::of(&[
            r#"{"hosts":["*.example.com","shop.example"]}"#,
            "{}",
            r#"{"hosts":["a*","shop.example"]}"#,
        ]);
        for good in ["app.example.com", "APP.Example.COM", "a.b.example.com", "shop.example"] {
            assert!(rights.check_host(good).is_ok(), "{good}");
        }
        for (bad, says) in [
            ("example.com", "it is for `*.example.com`, `shop.example`"),
            ("www.example.com", "it is for `a*`, `shop.example`"),
            ("app.example.com.evil.example", "not for the host app.example.com.evil.example"),
            ("appexample.com", "it is for `*.example.com`"),
        ] {
            let refusal = rights.check_host(bad).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Forbidden);
            assert!(refusal.message.contains(says), "{refusal}");
        }
    }
}
