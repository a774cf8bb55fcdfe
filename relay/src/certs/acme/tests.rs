//! Orders at an authority that says nothing: what is looked at before one is placed. Those that are
//! placed are watched by the tests of the programs, at a real authority.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shared::control::protocol::DomainName;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::CertName;
use super::super::table::Table;
use super::super::wanted::Hosts;
use super::checks::Standing;
use super::job::{Done, What};
use super::{Authority, Orders};
use crate::access::Owner;
use crate::config::{AcmeSettings, Config, CurrentConfig, Settings};
use crate::data::DataFolder;
use crate::domains::Domains;
use crate::metrics::Metrics;
use crate::scratch::Scratch;
use crate::store::{DomainRecord, Name, Place, Store, host_in};

/// A store in which ann has these domains.
async fn store(folder: &Scratch, domains: &[DomainName]) -> Store {
    let place = Place::Folder(DataFolder::open(&folder.file("data")).unwrap());
    let store = Store::open(&place).await.unwrap();
    let ann: Name = "ann".parse().unwrap();
    store.create_user(&ann).await.unwrap();
    for domain in domains {
        let host = host_in(domain.as_str()).unwrap();
        let mut record = DomainRecord::new(host, ann.clone(), "code".into());
        record.proven = Some(record.created);
        store.add_domain(&record).await.unwrap();
    }
    store
}

/// The authority there, of a relay that asks `resolver` about domains.
async fn authority(
    store: &Store,
    directory: String,
    resolver: SocketAddr,
    metrics: &Metrics,
) -> Arc<Authority> {
    let mut settings = Settings::loopback();
    settings.domains.resolver = Some(resolver);
    settings.domains.any_host = true;
    let config = CurrentConfig::new(Config::new(settings).unwrap());
    let domains = Domains::new(config, Some(store.clone()), metrics.clone()).await.unwrap();
    let acme = AcmeSettings { directory, ..AcmeSettings::default() };
    Arc::new(Authority::new(&acme, None, store.clone(), domains).unwrap())
}

#[tokio::test]
async fn a_silent_name_server_costs_the_store_nothing_and_holds_up_no_other_name() {
    let (folder, silent) = (Scratch::new(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let anns: Vec<DomainName> =
        (0..40).map(|n| format!("n{n}.example.com").parse().unwrap()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = format!("https://{}/directory", listener.local_addr().unwrap());
    let store = store(&folder, &anns).await;
    let (metrics, resolver) = (Metrics::new(|| 0).unwrap(), silent.local_addr().unwrap());
    let authority = authority(&store, directory.clone(), resolver, &metrics).await;

    let (hosts, stop) = (Hosts::default(), CancellationToken::new());
    let ann = Owner::User("ann".into());
    let _anns: Vec<_> = anns.into_iter().map(|name| hosts.want(name, Some(ann.clone()))).collect();
    // Nothing has to be proven of this one.
    let _other = hosts.want("other.example.org".parse().unwrap(), None);
    let mut ordering = JoinSet::new();
    ordering.spawn(Orders::new(authority, hosts, Table::default(), metrics, stop.clone()).run());
    // Whoever comes to the authority has written down that it does.
    let came = timeout(Duration::from_secs(20), listener.accept()).await;
    let _authority = came.expect("an order").unwrap();
    let orders = store.certificate_orders(&directory, SystemTime::UNIX_EPOCH).await.unwrap();
    let names: Vec<_> = orders.iter().map(|order| order.name.as_str()).collect();
    assert_eq!(names, ["other.example.org"]);
    stop.cancel();
    ordering.join_all().await;
}

#[tokio::test]
async fn jobs_that_have_ended_together_are_taken_note_of_together() {
    let (folder, metrics) = (Scratch::new(), Metrics::new(|| 0).unwrap());
    let store = store(&folder, &[]).await;
    // Nobody is asked.
    let (directory, resolver) =
        ("https://127.0.0.1:1/directory".into(), ([127, 0, 0, 1], 1).into());
    let authority = authority(&store, directory, resolver, &metrics).await;
    let (hosts, stop) = (Hosts::default(), CancellationToken::new());
    let mut orders = Orders::new(authority, hosts, Table::default(), metrics, stop);
    let names: Vec<CertName> =
        (0..5).map(|n| format!("n{n}.example.com").parse().unwrap()).collect();
    let mut looks = Vec::new();
    for name in names.iter().cloned() {
        orders.checks.begin(name.clone(), None);
        let done = Done { name, what: What::Checked(Some(Ok(()))) };
        looks.push(orders.running.spawn(async { done }));
    }
    while !looks.iter().all(AbortHandle::is_finished) {
        yield_now().await;
    }
    let first = orders.running.join_next().await.unwrap();
    orders.have_ended(first).await;
    for name in &names {
        assert_eq!(orders.checks.of(name, SystemTime::now()), Standing::Ready, "{name}");
    }
}
