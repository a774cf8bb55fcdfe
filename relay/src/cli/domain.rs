//! `relay domain`: whose host names are.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::control::protocol::{DnsRecord, DomainName, Subdomain, WebHost};
use shared::kit::args;
use tokio::time::{Instant, sleep};

use super::domains::name_server;
use super::table::{ago, table};
use super::tools::say;
use crate::config::Config;
use crate::domains::{Looks, Prover, Records, Reserved, Verdict, Why, Writer, new_code, own};
use crate::store::{DomainRecord, Name, Store, StoreError, host_in};

/// How long to wait before a proof is looked for once more.
const BETWEEN: Duration = Duration::from_secs(2);

/// What goes before the relay's settings.
#[derive(Debug, Args)]
pub(super) struct DnsAt {
    /// The domain of the relay [env: RELAY_DOMAIN]
    #[arg(long, global = true, value_name = "NAME")]
    domain: Option<DomainName>,

    /// The name server to ask, IP or IP:PORT [env: RELAY_RESOLVER]
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = name_server)]
    resolver: Option<SocketAddr>,
}

/// What to do with host names.
#[derive(Debug, Subcommand)]
pub(super) enum DomainTool {
    /// Say that a domain is a user's, and print the records that prove it
    Add {
        /// The domain, such as app.example.com. Those below it are others
        name: DomainName,
        /// Whose it is [default: the only user that there is]
        #[arg(long, value_name = "USER")]
        user: Option<Name>,
        /// Make the record, in the zone of --dns-update-zone or by --dns-hook
        #[arg(long)]
        make_record: bool,
        /// Also if it looks like the relay's own name, or like another user's
        #[arg(long)]
        lookalike: bool,
    },
    /// Look for the records, and give the domain to the user for whom they are there
    Verify {
        /// The domain
        name: DomainName,
        /// Whose it is, if several say so
        #[arg(long, value_name = "USER")]
        user: Option<Name>,
        /// Look for them again and again for so long, such as 10m [default: look once]
        #[arg(long, value_name = "TIME", default_value = "0s", hide_default_value = true,
              value_parser = args::duration)]
        wait: Duration,
        /// Also if it looks like the relay's own name, or like another user's
        #[arg(long)]
        lookalike: bool,
    },
    /// List domains and subdomains that are somebody's
    List {
        /// Only those of this user
        #[arg(long, value_name = "USER")]
        user: Option<Name>,
    },
    /// Take a domain or a subdomain from a user
    Remove {
        /// The domain, or the label of the subdomain
        #[arg(value_name = "NAME", value_parser = host_in)]
        host: WebHost,
        /// Whose it is, if several say so
        #[arg(long, value_name = "USER")]
        user: Option<Name>,
    },
    /// Keep a subdomain for a user, also while no client asks for it
    Reserve {
        /// The label in front of the relay's domain
        label: Subdomain,
        /// For whom
        #[arg(long, value_name = "USER")]
        user: Name,
    },
}

impl DnsAt {
    /// The same as arguments of a relay.
    pub(super) fn args(&self) -> Vec<String> {
        let domain = self.domain.as_ref().map(|name| format!("--domain={name}"));
        let resolver = self.resolver.map(|server| format!("--resolver={server}"));
        domain.into_iter().chain(resolver).collect()
    }
}

impl DomainTool {
    pub(super) async fn run(
        self,
        store: &Store,
        config: &Config,
        json: bool,
    ) -> anyhow::Result<String> {
        let prover = Prover::new(config);
        match self {
            Self::Add { name, user, make_record, lookalike } => {
                if let Some(why) = own(prover.own(), &name) {
                    bail!("{why}");
                }
                if !name.as_str().contains('.') {
                    bail!("nobody could prove that {name} is theirs: name a domain with a dot");
                }
                let user = user_or_only(store, user).await?;
                check_looks(&store.domains().await?, &prover, &name, &user, lookalike)?;
                let record = added(store, &name, &user).await?;
                let records = prover.records(&name, &user, &record.code, &store.domains().await?);
                if make_record {
                    let writer = writer(config, &records)?;
                    writer.set_txt(&records.txt_name(), records.txt()).await?;
                    say(&format!("The record for {name} has been made."));
                }
                Ok(to_make(&record, &records, (make_record, lookalike), json))
            }
            Self::Verify { name, user, wait, lookalike } => {
                let record = which(store, &WebHost::Host(name.clone()), user).await?;
                let by = proven(store, &prover, &name, &record, (wait, lookalike)).await?;
                let owner = &record.owner;
                Ok(match json {
                    true => {
                        format!(
                            "{}\n",
                            json!({ "name": name, "owner": owner, "done": "proven", "by": by })
                        )
                    }
                    false => format!("{name}: proven, it is {owner}'s\n"),
                })
            }
            Self::List { user } => {
                let mut records = store.domains().await?;
                records.retain(|record| user.as_ref().is_none_or(|user| record.owner == *user));
                list(&records, json)
            }
            Self::Remove { host, user } => {
                let record = which(store, &host, user).await?;
                store.remove_domain(&host, &record.owner).await?;
                clear_record(config, &prover, &record).await;
                Ok(done(&record, "removed", json))
            }
            Self::Reserve { label, user } => {
                if Reserved::new(prover.own(), &[]).permits(&label) == Err(Why::Own) {
                    bail!("the relay itself goes by {label}: choose another");
                }
                let host = WebHost::Subdomain(label);
                let mut record = DomainRecord::new(host, user, new_code());
                record.proven = Some(record.created);
                let kept = store.add_domain(&record).await;
                kept.with_context(|| {
                    let label = record.host.as_str();
                    format!(
                        "the subdomain {label}, for the user {}, who has to be there, as nobody \
                         who has it must be",
                        record.owner
                    )
                })?;
                Ok(done(&record, "reserved", json))
            }
        }
    }
}

/// What the store keeps of `name` as the user's, from now on if not before.
async fn added(store: &Store, name: &DomainName, user: &Name) -> anyhow::Result<DomainRecord> {
    let host = WebHost::Host(name.clone());
    let known = store.domain(&host).await?;
    if let Some(other) = known.iter().find(|known| known.proven.is_some() && known.owner != *user) {
        say(&format!(
            "{name} is {}'s at this time: it becomes {user}'s when their proof is gone",
            other.owner
        ));
    }
    if let Some(mut record) = known.into_iter().find(|record| record.owner == *user) {
        // What the operator adds does not count as what a client has asked for.
        if record.asked.take().is_some() {
            store.adopt_domain(&record.host, &record.owner).await?;
        }
        return Ok(record);
    }
    let record = DomainRecord::new(host, user.clone(), new_code());
    store.add_domain(&record).await.with_context(|| format!("the user {user}"))?;
    Ok(record)
}

/// Whether the user may have `name`, whatever it looks like. `may`: the operator says so.
///
/// # Errors
///
/// Whom it looks like.
fn check_looks(
    all: &[DomainRecord],
    prover: &Prover,
    name: &DomainName,
    user: &Name,
    may: bool,
) -> anyhow::Result<()> {
    match Looks::new(all).imitated(prover.own(), name, Some(user.as_str())) {
        Some(why) if !may => {
            bail!("{why}; or, if you know that it is not meant to mislead, give --lookalike")
        }
        _ => Ok(()),
    }
}

/// Tells which records are needed: each on a line of stdout, as a zone's file has it.
fn to_make(
    record: &DomainRecord,
    records: &Records,
    (is_made, lookalike): (bool, bool),
    json: bool,
) -> String {
    let (name, owner) = (record.host.as_str(), &record.owner);
    let all = records.all();
    if json {
        let state = state(record);
        let made = json!({ "name": name, "owner": owner, "state": state, "records": all });
        return format!("{made}\n");
    }
    let word = if lookalike { " --lookalike" } else { "" };
    if record.proven.is_some() {
        say(&format!("{name} is {owner}'s already, as long as one of these records is there."));
    } else if !is_made {
        say(&format!(
            "Make one of these records, then run `relay domain verify {name} --user {owner}{word}`. \
             An alias (CNAME) leads visitors here as well."
        ));
    }
    all.iter().map(|one| format!("{one}\n")).collect()
}

/// Looks for the proof of `record` until it is there, but no longer than for `wait`, and gives the
/// domain to its owner. `lookalike`: whomever it looks like.
///
/// # Errors
///
/// It is not there, and what was found instead; or it is somebody else's who has proven it too, or
/// looks like somebody else's.
async fn proven(
    store: &Store,
    prover: &Prover,
    name: &DomainName,
    record: &DomainRecord,
    (wait, lookalike): (Duration, bool),
) -> anyhow::Result<DnsRecord> {
    let end = Instant::now() + wait;
    let mut is_told = false;
    loop {
        let all = store.domains().await?;
        let records = prover.records(name, &record.owner, &record.code, &all);
        let why = match prover.look(name, &records).await {
            Verdict::Proven(by) => {
                if record.proven.is_none() {
                    check_looks(&all, prover, name, &record.owner, lookalike)?;
                }
                give(store, prover, name, record, &all).await?;
                return Ok(by);
            }
            Verdict::Missing(found) => {
                let wanted: Vec<_> = records.all().iter().map(ToString::to_string).collect();
                format!(
                    "{name} is not proven to be {}'s. It takes one of these records:\n  {}\nFound \
                     was: {found}",
                    record.owner,
                    wanted.join("\n  ")
                )
            }
            Verdict::Unknown(why) => format!("nobody can say whether {name} is proven: {why}"),
        };
        if Instant::now() + BETWEEN > end {
            bail!("{why}\nWhat has just been made may take a while to be seen: --wait 10m waits");
        }
        if !std::mem::replace(&mut is_told, true) {
            say(&format!("{why}\nLooking again for {}.", args::time(wait)));
        }
        sleep(BETWEEN).await;
    }
}

/// Gives a domain to whom it has been proven for. Whoever had it before, and has not its proof
/// there any more, has it no longer.
async fn give(
    store: &Store,
    prover: &Prover,
    name: &DomainName,
    record: &DomainRecord,
    all: &[DomainRecord],
) -> anyhow::Result<()> {
    let DomainRecord { host, owner, .. } = record;
    match store.prove_domain(host, owner, None).await {
        Err(StoreError::Exists) => (),
        done => return Ok(done?),
    }
    let holder = all.iter().find(|other| other.host == *host && other.proven.is_some());
    let holder = holder.context("somebody else has just proven it: try again")?;
    let records = prover.records(name, &holder.owner, &holder.code, all);
    match prover.look(name, &records).await {
        Verdict::Missing(_) => {
            store.prove_domain(host, owner, Some(&holder.owner)).await?;
            say(&format!("{name} was {}'s, whose proof is not there any more.", holder.owner));
            Ok(())
        }
        Verdict::Proven(by) => bail!(
            "{name} is {other}'s, who has proven it first, and that proof is still there: {by}\n\
             Take the record out of DNS, or `relay domain remove {name} --user {other}`",
            other = holder.owner
        ),
        Verdict::Unknown(why) => bail!(
            "{name} is {other}'s, and nobody can say whether their proof is still there: {why}",
            other = holder.owner
        ),
    }
}

/// Takes away the record that may have been made for a proof.
async fn clear_record(config: &Config, prover: &Prover, record: &DomainRecord) {
    let WebHost::Host(name) = &record.host else { return };
    let records = prover.records(name, &record.owner, &record.code, []);
    if let Ok(writer) = writer(config, &records)
        && let Err(err) = writer.unset_txt(&records.txt_name(), records.txt()).await
    {
        say(&format!("The record {} may still be there: {err:#}", records.as_txt()));
    }
}

fn writer(config: &Config, records: &Records) -> anyhow::Result<Writer> {
    Writer::of(&config.domains, &records.txt_name())
}

/// The record that somebody means.
async fn which(store: &Store, host: &WebHost, user: Option<Name>) -> anyhow::Result<DomainRecord> {
    let name = host.as_str();
    let mut all = store.domain(host).await?;
    all.retain(|record| user.as_ref().is_none_or(|user| record.owner == *user));
    let owners: Vec<_> = all.iter().map(|record| record.owner.to_string()).collect();
    match (<[_; 1]>::try_from(all), user) {
        (Ok([record]), _) => Ok(record),
        (Err(_), Some(user)) => {
            bail!("{user} has nothing to do with {name}: `relay domain list` shows all")
        }
        (Err(none), None) if none.is_empty() => {
            bail!("nobody has said that {name} is theirs: `relay domain list` shows all")
        }
        (Err(_), None) => bail!("{} say that {name} is theirs: give --user", owners.join(" and ")),
    }
}

async fn user_or_only(store: &Store, user: Option<Name>) -> anyhow::Result<Name> {
    if let Some(user) = user {
        return Ok(user);
    }
    let users = store.users().await?;
    match <[_; 1]>::try_from(users) {
        Ok([only]) => Ok(only.name),
        Err(_) => bail!("whose is it? give --user; `relay user list` shows all users"),
    }
}

fn state(record: &DomainRecord) -> &'static str {
    match record {
        DomainRecord { host: WebHost::Subdomain(_), .. } => "reserved",
        DomainRecord { proven: None, .. } => "pending",
        DomainRecord { missing: Some(_), .. } => "missing",
        DomainRecord { .. } => "proven",
    }
}

fn done(record: &DomainRecord, done: &str, json: bool) -> String {
    let (name, owner) = (record.host.as_str(), &record.owner);
    match json {
        true => format!("{}\n", json!({ "name": name, "owner": owner, "done": done })),
        false => format!("{name}: {done}\n"),
    }
}

fn list(records: &[DomainRecord], json: bool) -> anyhow::Result<String> {
    if json {
        let shown = records.iter().map(|record| {
            let mut shown = serde_json::to_value(record)?;
            shown["state"] = Value::from(state(record));
            Ok(shown)
        });
        return Ok(format!("{}\n", Value::Array(shown.collect::<anyhow::Result<_>>()?)));
    }
    let now = SystemTime::now();
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            let since = record.missing.or(record.proven).unwrap_or(record.created);
            let name = record.host.as_str().to_owned();
            [name, record.owner.to_string(), state(record).into(), ago(Some(since), now)]
        })
        .collect();
    Ok(table(["NAME", "USER", "STATE", "SINCE"], &rows))
}
