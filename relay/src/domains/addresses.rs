//! Where all subdomains of the relay lead: the records that it keeps for `--dns-address`.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use shared::kit::backoff::Backoff;
use shared::kit::logging::Rate;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Domains;
use super::writer::Writer;
use crate::config::{DnsUpdate, DomainSettings};

/// How often it is looked whether the settings of records have changed.
const LOOK: Duration = Duration::from_secs(5);

/// The pauses before records are made again that could not be: a name server comes back soon, and a
/// program that is wrong is not run all the time.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));

/// How often the records of a zone are made again: somebody may have put an older zone in place.
const RENEW: Duration = Duration::from_secs(3600);

/// Records that cannot be made, again and again.
static NOT_MADE: Rate = Rate::new(|more| {
    warn!(left_out = more.count, "records are not made: {more}");
});

impl Domains {
    /// Lets all subdomains lead to where the settings say, as long as they do.
    pub(super) async fn keep_addresses(&self) -> Infallible {
        let mut kept: Option<Kept> = None;
        let (mut again, mut pauses) = (Instant::now(), AGAIN);
        let (mut failed, mut told) = (None, Told::default());
        loop {
            let config = self.0.config.now();
            let wildcard = config.web.domain_name().map(|domain| format!("*.{domain}"));
            let settings = &config.domains;
            if let Some(name) = wildcard.filter(|_| !settings.addresses.is_empty())
                && let Ok(writer) = Writer::of(settings, &name)
            {
                let wanted = Kept { settings: Records::of(settings, &name), since: Instant::now() };
                let is_kept = kept.as_ref().is_some_and(|kept| {
                    let is_new = !writer.is_renewed() || kept.since.elapsed() < RENEW;
                    kept.settings == wanted.settings && is_new
                });
                // Other settings are tried at once.
                if failed.as_ref().is_some_and(|failed| *failed != wanted.settings) {
                    (again, pauses) = (Instant::now(), AGAIN);
                }
                if !is_kept && Instant::now() >= again {
                    told.add(&name, &settings.addresses);
                    if self.make_records(&writer, &name, &settings.addresses, &told.addresses).await
                    {
                        told.addresses.clone_from(&settings.addresses);
                        (kept, failed, pauses) = (Some(wanted), None, AGAIN);
                    } else {
                        failed = Some(wanted.settings);
                        again = Instant::now() + pauses.next_delay();
                    }
                }
            }
            sleep(LOOK).await;
        }
    }

    async fn make_records(
        &self,
        writer: &Writer,
        name: &str,
        addresses: &[IpAddr],
        before: &[IpAddr],
    ) -> bool {
        let done = writer.point(name, addresses, before).await;
        self.0.metrics.dns_update(done.is_ok());
        match &done {
            Ok(()) => info!(name, "the name leads to --dns-address"),
            Err(err) if NOT_MADE.allows() => {
                warn!(name, "the name does not lead to --dns-address: {err:#}");
            }
            Err(_) => (),
        }
        done.is_ok()
    }
}

/// What all subdomains lead to, and who was to see to it.
#[derive(PartialEq)]
struct Records {
    update: Option<DnsUpdate>,
    hook: Option<PathBuf>,
    addresses: Vec<IpAddr>,
    name: String,
}

impl Records {
    fn of(settings: &DomainSettings, name: &str) -> Self {
        let DomainSettings { update, hook, addresses, .. } = settings.clone();
        Self { update, hook, addresses, name: name.to_owned() }
    }
}

/// What was made.
struct Kept {
    settings: Records,
    since: Instant,
}

/// Where a name may lead by what a program was told: also by what has failed, which may be there.
#[derive(Default)]
struct Told {
    name: String,
    addresses: Vec<IpAddr>,
}

impl Told {
    /// The program is about to be told to add these.
    fn add(&mut self, name: &str, addresses: &[IpAddr]) {
        if self.name != name {
            *self = Self { name: name.to_owned(), addresses: Vec::new() };
        }
        for ip in addresses {
            if !self.addresses.contains(ip) {
                self.addresses.push(*ip);
            }
        }
    }
}
