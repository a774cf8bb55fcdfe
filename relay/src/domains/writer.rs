//! Where the relay makes records by itself: in a zone that takes its changes, or by the operator's
//! program, which knows any other provider.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::bail;
use shared::kit::backoff::Backoff;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::hook::Hook;
use super::proof::Answer;
use super::resolver::{Kind, Resolver};
use super::update::Zone;
use crate::config::{DnsUpdate, DomainSettings};

/// How long it is waited until a record of a zone can be seen: other name servers of the zone have
/// it a moment later, and an authority may ask those. Afterwards it is tried all the same.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// The pauses between two looks for it.
const LOOKS: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

/// What puts records into the DNS.
#[derive(Clone, Debug)]
pub(crate) enum Writer {
    /// The changes of a zone, and what shows whether they can be seen.
    Zone(Zone, Resolver),
    Hook(Hook),
}

impl Writer {
    /// What these settings have for records of `name`: the zone if the name is in it, and else the
    /// program.
    ///
    /// # Errors
    ///
    /// The relay makes no such records, and why.
    pub(crate) fn of(settings: &DomainSettings, name: &str) -> anyhow::Result<Self> {
        match (&settings.update, &settings.hook) {
            (Some(update), _) if update.has(name) => {
                Ok(Self::Zone(Zone::new(update), Resolver::new(settings.resolver)))
            }
            (_, Some(program)) => Ok(Self::Hook(Hook::new(program))),
            (Some(DnsUpdate { zone, .. }), None) => {
                bail!("the record {name} is not in the zone {zone} of --dns-update-zone")
            }
            (None, None) => {
                bail!("the relay can make no records: see --dns-update and --dns-hook of `relay`")
            }
        }
    }

    /// Puts a text under `name`, beside others that are there.
    ///
    /// # Errors
    ///
    /// The name server or the program does not do it.
    pub(crate) async fn set_txt(&self, name: &str, value: &str) -> anyhow::Result<()> {
        match self {
            Self::Zone(zone, _) => zone.set_txt(name, value).await,
            Self::Hook(hook) => hook.add(name, "TXT", value).await,
        }
    }

    /// Takes that text away, and leaves others.
    ///
    /// # Errors
    ///
    /// As [`set_txt`](Self::set_txt).
    pub(crate) async fn unset_txt(&self, name: &str, value: &str) -> anyhow::Result<()> {
        match self {
            Self::Zone(zone, _) => zone.unset_txt(name, value).await,
            Self::Hook(hook) => hook.remove(name, "TXT", value).await,
        }
    }

    /// Lets `name` lead to these addresses. In a zone to no others; the program is told to take
    /// away those of `before`.
    ///
    /// # Errors
    ///
    /// As [`set_txt`](Self::set_txt).
    pub(super) async fn point(
        &self,
        name: &str,
        addresses: &[IpAddr],
        before: &[IpAddr],
    ) -> anyhow::Result<()> {
        let hook = match self {
            Self::Zone(zone, _) => return zone.point(name, addresses).await,
            Self::Hook(hook) => hook,
        };
        let kind = |ip: &IpAddr| if ip.is_ipv4() { "A" } else { "AAAA" };
        for ip in addresses {
            hook.add(name, kind(ip), &ip.to_string()).await?;
        }
        for ip in before.iter().filter(|ip| !addresses.contains(ip)) {
            hook.remove(name, kind(ip), &ip.to_string()).await?;
        }
        Ok(())
    }

    /// Whether somebody has to make them again from time to time: a zone may have been replaced by
    /// an older one, while a program is not run without a reason.
    pub(super) fn is_renewed(&self) -> bool {
        matches!(self, Self::Zone(..))
    }

    /// Waits until a text under `name` can be seen. A program has done so when it ends.
    async fn seen(&self, name: &str, value: &str) {
        let Self::Zone(_, resolver) = self else { return };
        let (until, mut pauses) = (Instant::now() + SEEN_WITHIN, LOOKS);
        loop {
            if let Answer::Records(found) = resolver.look_up(name, Kind::Txt).await
                && found.iter().any(|found| found == value)
            {
                return;
            }
            if Instant::now() >= until {
                info!(name, "the record cannot be seen by --resolver: going on without that");
                return;
            }
            sleep(pauses.next_delay()).await;
        }
    }
}

/// A text that is in the DNS for a while.
#[derive(Debug)]
pub(crate) struct Passing {
    writer: Writer,
    name: String,
    value: String,
}

impl Passing {
    pub(crate) fn new(writer: Writer, name: String, value: String) -> Self {
        Self { writer, name, value }
    }

    /// Puts it there, and waits until it can be seen.
    ///
    /// # Errors
    ///
    /// It may be there all the same.
    ///
    /// # Cancel safety
    ///
    /// It may be there.
    pub(crate) async fn set(&self) -> anyhow::Result<()> {
        self.writer.set_txt(&self.name, &self.value).await?;
        self.writer.seen(&self.name, &self.value).await;
        Ok(())
    }

    /// Takes it away. That it fails is logged and stops nothing.
    pub(crate) async fn unset(self) {
        if let Err(err) = self.writer.unset_txt(&self.name, &self.value).await {
            warn!("the record {} may still be in the DNS: {err:#}", self.name);
        }
    }
}
