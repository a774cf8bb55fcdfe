//! How many quotas the holders of a token may make.

use super::*;
use crate::data::DataFolder;
use crate::store::Place;

/// Somebody with a token of its own, and what is narrowed from it.
fn admitted(grants: &[(LinkId, &str)]) -> Admitted {
    let grant =
        |(link, grant): &(LinkId, &str)| (Some(*link), serde_json::from_str(grant).unwrap());
    Admitted {
        owner: Owner::User("ann".into()),
        token: None,
        standing: Standing::default(),
        grants: grants.iter().map(grant).collect(),
    }
}

fn link(root: u8, number: u64) -> LinkId {
    let mut link = [root; 32];
    link[8..16].copy_from_slice(&number.to_be_bytes());
    LinkId(link)
}

#[tokio::test]
async fn so_many_quotas_are_narrowed_from_one_token_and_no_other_one_minds() {
    let path = std::env::temp_dir().join(format!("sallyport-quotas-{}", std::process::id()));
    let store = Store::open(&Place::Folder(DataFolder::open(&path).unwrap())).await.unwrap();
    let metrics = Metrics::new(|| 0).unwrap();
    let (rules, limits) = (AccessRules::default(), Limits::new(256));
    let access = Access::new(&rules, limits, metrics.clone(), Some(store.clone())).await.unwrap();
    let [ann, bob] = [1, 2].map(|root| LinkId([root; 32]));
    let quota = r#"{"quota":"1kB/month"}"#;
    let narrowed = |root: LinkId, number| [(root, "{}"), (link(root.0[0], number), quota)];
    // So many have moved a byte each.
    for number in 0..MOST_QUOTAS {
        let principal = access.principal(admitted(&narrowed(ann, number))).await.unwrap();
        principal.accounts().iter().for_each(|account| assert!(account.moved(1)));
    }
    access.flush(&store).await;

    let refused = access.principal(admitted(&narrowed(ann, MOST_QUOTAS))).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::OverLimit, "{refused}");
    assert!(refused.message.contains("1000 tokens narrowed from the same one"), "{refused}");
    let counted = metrics.scrape().unwrap().collect::<Vec<_>>().concat();
    assert!(counted.contains("relay_limits_total{limit=\"quotas_per_token\"} 1\n"), "{counted}");
    for good in [
        admitted(&narrowed(ann, 7)),
        admitted(&narrowed(bob, 7)),
        // Nothing of these is kept.
        admitted(&[(ann, "{}"), (link(1, MOST_QUOTAS), r#"{"rate":"1mbit","max-visitors":7}"#)]),
        // The operator has made this one.
        admitted(&[(ann, quota)]),
    ] {
        assert!(access.principal(good).await.is_ok());
    }
    std::fs::remove_dir_all(path).unwrap();
}

#[tokio::test]
async fn without_a_store_quotas_are_remembered_and_no_more_of_them_than_with_one() {
    let (rules, limits) = (AccessRules::default(), Limits::new(256));
    let metrics = Metrics::new(|| 0).unwrap();
    let access = Access::new(&rules, limits.clone(), metrics, None).await.unwrap();
    let root = LinkId([1; 32]);
    let narrowed = |number| admitted(&[(root, "{}"), (link(1, number), r#"{"quota":"1kB/day"}"#)]);
    for number in 0..MOST_QUOTAS {
        let principal = access.principal(narrowed(number)).await.unwrap();
        for account in principal.accounts().iter() {
            account.moved(2000);
        }
    }
    let now = SystemTime::now();
    let has_quota = |principal: &Principal| principal.accounts().iter().all(|a| a.has_quota(now));
    let again = access.principal(narrowed(7)).await.unwrap();
    assert!(!has_quota(&again), "it has come back, and nothing is left");
    let refused = access.principal(narrowed(MOST_QUOTAS)).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::OverLimit, "{refused}");

    // Nobody asks for it any more.
    drop(again);
    limits.accounts().forget(now + Duration::from_secs(63 * 24 * 3600));
    assert!(has_quota(&access.principal(narrowed(7)).await.unwrap()));
}
