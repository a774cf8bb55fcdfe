//! Orders at an authority that says nothing: what is looked at before one is placed. Those that are
//! placed are watched by the tests of the programs, at a real authority.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shared::control::protocol::DomainName;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::table::Table;
use super::super::wanted::Hosts;
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

#[tokio::test]
async fn a_silent_name_server_costs_the_store_nothing_and_holds_up_no_other_name() {
    let (folder, silent) = (Scratch::new(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let anns: Vec<DomainName> =
        (0..40).map(|n| format!("n{n}.example.com").parse().unwrap()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = format!("https://{}/directory", listener.local_addr().unwrap());
    let store = store(&folder, &anns).await;
    let mut settings = Settings::loopback();
    settings.domains.resolver = Some(silent.local_addr().unwrap());
    settings.domains.any_host = true;
    let config = CurrentConfig::new(Config::new(settings).unwrap());
    let metrics = Metrics::new(|| 0).unwrap();
    let domains = Domains::new(config, Some(store.clone()), metrics.clone()).await.unwrap();
    let acme = AcmeSettings { directory: directory.clone(), ..AcmeSettings::default() };
    let authority = Arc::new(Authority::new(&acme, None, store.clone(), domains).unwrap());

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
