//! Stores that earlier relays have left. Each version of the tables has one among the `fixtures`, as
//! it was written then; those of PostgreSQL are tried with a server, by the tests of the programs.

use std::time::UNIX_EPOCH;

use super::*;
use crate::store::pool::SQLITE;

/// A store of each version before this one.
const EARLIER: &[&str] = &[
    include_str!("../fixtures/sqlite_1.sql"),
    include_str!("../fixtures/sqlite_2.sql"),
    include_str!("../fixtures/sqlite_3.sql"),
];

#[tokio::test]
async fn what_every_earlier_version_has_left_is_all_there_and_goes_on() {
    assert_eq!(EARLIER.len() + 1, SQLITE.len(), "each version leaves a store behind");
    for (number, left) in (1..).zip(EARLIER) {
        let kept = Kept::left_by(left).await;
        let store = &kept.store;
        let users = store.users().await.unwrap();
        let users: Vec<_> = users.iter().map(|u| (u.name.as_str(), u.disabled.is_some())).collect();
        assert_eq!(users, [("ann", false), ("bob", true)], "version {number}");

        let tokens = store.tokens().await.unwrap();
        let seen = tokens.iter().map(|token| {
            (token.id.to_string(), token.name.as_str(), token.is_in_use(), token.owner_disabled)
        });
        let expected = [
            ("bwejrfvftkxr4cnn".to_owned(), "laptop", true, false),
            ("chllsk6r6erlowk3".to_owned(), "old", false, false),
            ("ks4gbqf564umrqal".to_owned(), "phone", true, true),
        ];
        assert!(seen.eq(expected), "version {number}: {tokens:?}");
        let grant = serde_json::to_string(&tokens[0].grant).unwrap();
        assert_eq!(grant, r#"{"tunnels":["web-*"],"quota":"100GB/month"}"#);
        let created = tokens[0].created.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(created.as_millis(), 1_795_797_720_632);
        assert_eq!(store.traffic("ann", 1_793_000_000).await.unwrap(), Some(12_345));
        assert_eq!(store.last_change().await.unwrap(), 5);

        // And it takes what this version does.
        let token = Token::random();
        let (old, grant) = (&tokens[0], &tokens[0].grant);
        let overlap = Some(Duration::from_secs(3600));
        store.rotate_token(old.id, token.id(), token.verifier(), grant, overlap).await.unwrap();
        let old = store.token(old.id).await.unwrap().unwrap();
        assert!(old.revoked.is_none() && old.replaced.is_some() && !old.is_in_use());
        assert!(open(&kept.path).await.is_ok(), "a second time there is nothing to do");
    }
}

impl Kept {
    /// What these statements make, as this version opens it.
    async fn left_by(sql: &'static str) -> Self {
        let path = own_folder();
        let folder = DataFolder::open(&path).unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.file(FILE));
        let mut file = options.create_if_missing(true).foreign_keys(false).connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut file).await.unwrap();
        file.close().await.unwrap();
        let store = open(&path).await.unwrap();
        Self { path, store }
    }
}
