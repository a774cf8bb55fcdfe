//! Certificates, accounts and orders, as they are kept.

use shared::token::Hidden;

use super::*;
use crate::store::{KeptCertificate, OrderEnd};

const AUTHORITY: &str = "https://acme.example/directory";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn certificate(name: &str, expires: u64) -> KeptCertificate {
    KeptCertificate {
        name: name.into(),
        chain: format!("the chain of {name} until {expires}"),
        key: Hidden(format!("the key of {name} until {expires}")),
        expires: at(expires),
        renew: at(expires / 2),
    }
}

#[tokio::test]
async fn what_an_authority_has_issued_is_its_own_and_the_last_one_counts() {
    let kept = Kept::new().await;
    let store = &kept.store;
    for expires in [100, 200] {
        store.keep_certificate(AUTHORITY, &certificate("a.example", expires)).await.unwrap();
    }
    store.keep_certificate(AUTHORITY, &certificate("*.example", 300)).await.unwrap();
    assert_eq!(store.certificates("https://other.example").await.unwrap().len(), 0);
    let all = store.certificates(AUTHORITY).await.unwrap();
    let all: Vec<_> = all.iter().map(|kept| (kept.name.as_str(), kept.expires)).collect();
    assert_eq!(all, [("*.example", at(300)), ("a.example", at(200))]);
    store.renew_certificate_at(AUTHORITY, "a.example", at(7)).await.unwrap();
    let one = store.certificate(AUTHORITY, "a.example").await.unwrap().unwrap();
    assert_eq!((one.renew, one.chain.as_str()), (at(7), "the chain of a.example until 200"));
    assert_eq!(one.key.0, "the key of a.example until 200");
    store.forget_certificates(at(250), at(0)).await.unwrap();
    assert!(store.certificate(AUTHORITY, "a.example").await.unwrap().is_none());
    assert!(store.certificate(AUTHORITY, "*.example").await.unwrap().is_some());
}

#[tokio::test]
async fn one_order_of_a_name_goes_on_at_a_time_and_what_came_of_it_is_remembered() {
    let kept = Kept::new().await;
    let store = &kept.store;
    let begin = async |seconds, running| {
        store.begin_order(AUTHORITY, "a.example", at(seconds), at(running)).await
    };
    begin(10, 0).await.unwrap();
    assert_eq!(begin(20, 0).await, Err(StoreError::Exists));
    begin(21, 20).await.unwrap();
    let end =
        |seconds, end, again| store.end_order(AUTHORITY, "a.example", at(seconds), end, again);
    end(10, OrderEnd::NotReached, None).await.unwrap();
    end(21, OrderEnd::Failed, Some(at(99))).await.unwrap();
    begin(30, 0).await.unwrap();
    let past = store.certificate_orders(AUTHORITY, at(11)).await.unwrap();
    let past: Vec<_> = past.iter().map(|order| (order.began, order.end, order.again)).collect();
    assert_eq!(past, [(at(21), Some(OrderEnd::Failed), Some(at(99))), (at(30), None, None)]);
    store.forget_certificates(at(0), at(25)).await.unwrap();
    assert_eq!(store.certificate_orders(AUTHORITY, at(0)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn of_two_accounts_the_first_stays_until_it_is_forgotten() {
    let kept = Kept::new().await;
    let store = &kept.store;
    for credentials in ["one", "two"] {
        store.keep_acme_account(AUTHORITY, &Hidden(credentials.into())).await.unwrap();
    }
    let account = async || store.acme_account(AUTHORITY).await.unwrap();
    assert_eq!(account().await, Some(Hidden("one".into())));
    store.forget_acme_account(AUTHORITY).await.unwrap();
    assert_eq!(account().await, None);
}
