//! Who may come without a token.

use std::fmt;
use std::net::IpAddr;

use clap::ValueEnum;
use parking_lot::Mutex;
use shared::control::protocol::Refusal;

use super::standing::Standing;
use super::{AccessRules, unauthorized};

/// Who may come without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Anonymous {
    /// Nobody.
    Never,
    /// Whoever comes from this machine or a private network.
    Private,
    /// Everybody.
    Any,
}

impl Anonymous {
    /// Whether somebody at `ip` may.
    fn check(self, ip: IpAddr) -> Result<(), Refusal> {
        match self {
            Self::Any => Ok(()),
            Self::Private if is_private(ip.to_canonical()) => Ok(()),
            Self::Private | Self::Never => Err(self.refusal()),
        }
    }

    /// What those are told who may not.
    fn refusal(self) -> Refusal {
        unauthorized(match self {
            Self::Never => {
                "the relay wants a token: ask its operator for one (`relay token create`), then \
                 run `client login`, or set CLIENT_TOKEN or --token-file"
            }
            Self::Private | Self::Any => {
                "without a token the relay lets in clients of its own network only: ask its \
                 operator for a token (`relay token create`, or `relay --anonymous any` to do \
                 without)"
            }
        })
    }
}

/// Those who come without a token.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Policy>);

#[derive(Debug, Default)]
struct Policy {
    /// What the operator says.
    said: Option<Anonymous>,
    /// There are other ways to come in by the operator's rules, or by the tokens of a store. Without
    /// a word of the operator that is enough to want one.
    rules_want_one: bool,
    store_wants_one: bool,
    near: Standing,
    far: Standing,
}

impl Strangers {
    /// The operator's rules are these from now on. Whoever may not come any more has to go.
    pub(super) fn set_rules(&self, rules: &AccessRules) {
        self.change(|policy| {
            policy.said = rules.anonymous;
            policy.rules_want_one = rules.token.is_some() || rules.jwt.is_some();
        });
    }

    /// Whether the store has ever had a token.
    pub(super) fn set_store_has_had_tokens(&self, any: bool) {
        self.change(|policy| policy.store_wants_one = any);
    }

    /// For how long somebody at `ip` may be here.
    ///
    /// # Errors
    ///
    /// Somebody who may not come in.
    pub(super) fn admit(&self, ip: IpAddr) -> Result<Standing, Refusal> {
        let policy = self.0.lock();
        policy.who().check(ip)?;
        let is_near = is_private(ip.to_canonical());
        Ok(if is_near { policy.near.clone() } else { policy.far.clone() })
    }

    fn change(&self, change: impl FnOnce(&mut Policy)) {
        let mut policy = self.0.lock();
        change(&mut policy);
        let who = policy.who();
        let Policy { near, far, .. } = &mut *policy;
        for (standing, may_come) in [(near, who != Anonymous::Never), (far, who == Anonymous::Any)]
        {
            if !may_come {
                // Whoever comes later, if anybody may, has nothing to do with these.
                std::mem::take(standing).end(who.refusal());
            }
        }
    }
}

impl Policy {
    fn who(&self) -> Anonymous {
        let is_closed = self.rules_want_one || self.store_wants_one;
        self.said.unwrap_or(if is_closed { Anonymous::Never } else { Anonymous::Private })
    }
}

/// This machine, or a network that the internet does not lead to (RFC 1918, RFC 6598 for carriers'
/// customers is none of them; RFC 3927, RFC 4193, RFC 4291 section 2.5.6).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

impl fmt::Display for Anonymous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::Private => "private",
            Self::Any => "any",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_are_addresses_that_the_internet_does_not_lead_to() {
        let may = |text: &str| Anonymous::Private.check(text.parse().unwrap()).is_ok();
        for near in
            ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.1.1", "::1", "fd00::1"]
        {
            assert!(may(near), "{near}");
        }
        for far in ["8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "0.0.0.0"] {
            assert!(!may(far), "{far}");
        }
        assert!(may("::ffff:10.0.0.1") && !may("::ffff:8.8.8.8") && may("fe80::1"));
        assert!(Anonymous::Never.check("127.0.0.1".parse().unwrap()).is_err());
        assert!(Anonymous::Any.check("8.8.8.8".parse().unwrap()).is_ok());
    }

    #[tokio::test]
    async fn whoever_may_not_come_any_more_has_to_go_and_nobody_else() {
        let strangers = Strangers::default();
        let said = |anonymous| AccessRules { anonymous, ..AccessRules::default() };
        let admit = |ip: &str| strangers.admit(ip.parse().unwrap());
        let has_gone = async |standing: &Standing| {
            tokio::select! {
                biased;
                _ = standing.ended() => true,
                () = std::future::ready(()) => false,
            }
        };
        strangers.set_rules(&said(Some(Anonymous::Any)));
        let (near, far) = (admit("10.0.0.1").unwrap(), admit("8.8.8.8").unwrap());
        strangers.set_rules(&said(Some(Anonymous::Private)));
        assert!(!has_gone(&near).await && has_gone(&far).await);
        assert!(admit("8.8.8.8").is_err());
        strangers.set_rules(&said(Some(Anonymous::Any)));
        assert!(!has_gone(&admit("8.8.8.8").unwrap()).await);

        // The first token counts where the operator says nothing.
        strangers.set_store_has_had_tokens(true);
        assert!(!has_gone(&near).await);
        strangers.set_rules(&said(None));
        assert!(has_gone(&near).await && admit("10.0.0.1").is_err());
    }
}
