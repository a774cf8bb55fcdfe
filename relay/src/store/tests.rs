//! What a store of SQLite goes through: others at the same file, kills, copies, other versions.

mod certificates;
mod versions;

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::token::{Grant, Token};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::pool::FILE;
use super::*;
use crate::data::DataFolder;

/// A store in a folder of its own, which is removed with it.
struct Kept {
    path: PathBuf,
    store: Store,
}

impl Kept {
    async fn new() -> Self {
        let path = own_folder();
        let store = open(&path).await.unwrap();
        Self { path, store }
    }

    fn folder(&self) -> DataFolder {
        DataFolder::open(&self.path).unwrap()
    }

    /// Somebody else at the same file.
    async fn other(&self) -> SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new();
        options.filename(self.path.join(FILE)).connect().await.unwrap()
    }

    async fn change(&self) {
        let gone = name("gone");
        self.store.create_user(&gone).await.unwrap();
        self.store.delete_user(&gone).await.unwrap();
    }
}

/// Where nobody else has anything.
fn own_folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("sallyport-store-{}-{next}", std::process::id()))
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
    }
}

async fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(&Place::Folder(DataFolder::open(path).unwrap())).await
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(connection).await.unwrap();
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

async fn names(store: &Store) -> Vec<String> {
    store.users().await.unwrap().into_iter().map(|user| user.name.to_string()).collect()
}

#[tokio::test]
async fn who_writes_waits_for_others_who_write_and_who_reads_does_not() {
    let kept = Kept::new().await;
    let mut other = kept.other().await;
    execute(&mut other, "BEGIN IMMEDIATE").await;
    let ann = name("ann");
    let mut writing = std::pin::pin!(kept.store.create_user(&ann));
    tokio::select! {
        biased;
        done = &mut writing => panic!("it has not waited: {done:?}"),
        read = kept.store.users() => assert_eq!(read.unwrap(), []),
    }
    execute(&mut other, "COMMIT").await;
    writing.await.unwrap();
    assert_eq!(names(&kept.store).await, ["ann"]);
}

#[tokio::test]
async fn who_cannot_wait_any_longer_is_told_that_it_may_work_later() {
    let kept = Kept::new().await;
    let mut other = kept.other().await;
    execute(&mut other, "BEGIN IMMEDIATE").await;
    let err = kept.store.create_user(&name("ann")).await.unwrap_err();
    assert!(matches!(&err, StoreError::Unavailable(_)), "{err}");
    execute(&mut other, "COMMIT").await;
    kept.store.create_user(&name("ann")).await.unwrap();
}

#[tokio::test]
async fn a_change_by_somebody_else_is_told_and_so_is_that_some_are_missing() {
    let kept = Kept::new().await;
    kept.change().await;
    let mut changes = kept.store.changes("users");
    assert_eq!(changes.next().await, [Change::Everything], "what was there before");
    let other = open(&kept.path).await.unwrap();
    let ann = name("ann");
    other.create_user(&ann).await.unwrap();
    other.disable_user(&ann, true).await.unwrap();
    assert_eq!(changes.next().await, [Change::Owner(ann.clone())]);

    // More were made than are kept.
    let mut raw = kept.other().await;
    execute(&mut raw, "INSERT INTO changes (number, owner) VALUES (50000, 'ann')").await;
    execute(&mut raw, "DELETE FROM changes WHERE number < 50000").await;
    assert_eq!(changes.next().await, [Change::Everything]);

    // A store of yesterday has been put in place, in which fewer were made.
    execute(&mut raw, "UPDATE changes SET number = 7").await;
    assert_eq!(changes.next().await, [Change::Everything]);
    other.disable_user(&ann, false).await.unwrap();
    let next = changes.next().await;
    assert!(next == [Change::Owner(ann)] || next == [Change::Everything], "{next:?}");
}

#[tokio::test]
async fn users_without_tokens_are_no_reason_to_want_one_and_those_that_are_gone_are() {
    let kept = Kept::new().await;
    kept.change().await;
    let ann = name("ann");
    kept.store.create_user(&ann).await.unwrap();
    for disabled in [true, false] {
        kept.store.disable_user(&ann, disabled).await.unwrap();
    }
    assert!(!kept.store.has_had_tokens().await.unwrap());

    let token = Token::random();
    let (id, verifier) = (token.id(), token.verifier());
    let grant = Grant::default();
    let new = NewToken { id, owner: ann.clone(), name: ann.clone(), verifier, grant };
    kept.store.create_token(&new).await.unwrap();
    assert!(kept.store.has_had_tokens().await.unwrap());
    kept.store.delete_user(&ann).await.unwrap();
    assert!(kept.store.has_had_tokens().await.unwrap());

    // Its change may be forgotten one day, among many others.
    let mut raw = kept.other().await;
    execute(&mut raw, "DELETE FROM changes WHERE token IS NOT NULL").await;
    execute(&mut raw, "INSERT INTO changes (number, owner) VALUES (20001, 'bob')").await;
    assert!(kept.store.has_had_tokens().await.unwrap());
}

#[tokio::test]
async fn what_a_newer_relay_has_written_is_left_alone() {
    let kept = Kept::new().await;
    kept.store.create_user(&name("ann")).await.unwrap();
    let copy = kept.path.join("copy");
    let mut raw = kept.other().await;
    execute(
        &mut raw,
        "INSERT INTO _sqlx_migrations VALUES (9999, '', CURRENT_TIMESTAMP, TRUE, x'00', 0)",
    )
    .await;
    assert_eq!(open(&kept.path).await.unwrap_err(), StoreError::Newer);
    kept.store.backup(&copy).await.unwrap();
    let empty = Kept::new().await;
    let restored = Store::restore(File::open(&copy).unwrap(), &empty.folder(), true).await;
    assert_eq!(restored, Err(StoreError::Newer));
    assert!(open(&empty.path).await.is_ok(), "it is as it was");
}

#[tokio::test]
async fn a_backup_is_a_moment_of_the_store_whatever_is_written_meanwhile() {
    let kept = Kept::new().await;
    let written = AtomicUsize::new(0);
    let write = async {
        for n in 0.. {
            kept.store.create_user(&name(&format!("u{n:05}"))).await.unwrap();
            written.store(n + 1, Ordering::Relaxed);
        }
    };
    let copy = async {
        for n in 0..8 {
            while written.load(Ordering::Relaxed) < n * 20 {
                tokio::task::yield_now().await;
            }
            let before = written.load(Ordering::Relaxed);
            let file = kept.path.join(format!("copy{n}"));
            kept.store.backup(&file).await.unwrap();
            let there = Kept::new().await;
            Store::restore(File::open(&file).unwrap(), &there.folder(), true).await.unwrap();
            let names = names(&open(&there.path).await.unwrap()).await;
            assert!(names.len() >= before, "{} of {before}", names.len());
            let all: Vec<_> = (0..names.len()).map(|n| format!("u{n:05}")).collect();
            assert_eq!(names, all);
        }
    };
    tokio::select! {
        () = copy => (),
        () = write => (),
    }
}

#[tokio::test]
async fn a_damaged_backup_is_not_put_in_place() {
    let kept = Kept::new().await;
    for n in 0..200 {
        kept.store.create_user(&name(&format!("a-name-to-fill-pages-with-{n:05}"))).await.unwrap();
    }
    kept.change().await;
    let good = kept.path.join("good");
    kept.store.backup(&good).await.unwrap();
    let bytes = fs::read(&good).unwrap();
    const PAGE: usize = 4096;
    assert!(bytes.len() > 8 * PAGE);
    let there = Kept::new().await;
    there.store.create_user(&name("ann")).await.unwrap();
    let bad = kept.path.join("bad");
    let attempt = async |bytes: &[u8], what: &str| {
        fs::write(&bad, bytes).unwrap();
        let restored = Store::restore(File::open(&bad).unwrap(), &there.folder(), true).await;
        assert!(matches!(restored, Err(StoreError::Failed(_))), "{what}: {restored:?}");
    };
    for page in 0..bytes.len() / PAGE {
        let mut damaged = bytes.clone();
        damaged[page * PAGE..][..PAGE].fill(0xa5);
        attempt(&damaged, &format!("page {page}")).await;
    }
    attempt(&bytes[..bytes.len() / 2], "half of it").await;
    attempt(b"something else", "no store").await;
    attempt(b"", "nothing").await;
    assert_eq!(names(&open(&there.path).await.unwrap()).await, ["ann"]);
    assert!(!there.path.join("relay.db.restored").exists());
    Store::restore(File::open(&good).unwrap(), &there.folder(), true).await.unwrap();
}

#[tokio::test]
async fn what_is_to_be_replaced_is_whole_without_what_is_beside_it() {
    let kept = Kept::new().await;
    // What is written is in the file beside it at first.
    kept.store.create_user(&name("ann")).await.unwrap();
    let there = Kept::new().await;
    let before = fs::metadata(kept.path.join(FILE)).unwrap().len();
    backup::merge(&kept.path.join(FILE)).await.unwrap();
    assert!(fs::metadata(kept.path.join(FILE)).unwrap().len() > before);
    let alone = there.path.join("alone");
    fs::copy(kept.path.join(FILE), &alone).unwrap();
    Store::restore(File::open(&alone).unwrap(), &there.folder(), true).await.unwrap();
    assert_eq!(names(&open(&there.path).await.unwrap()).await, ["ann"]);

    // What is damaged may be replaced all the same, and so may nothing.
    fs::write(there.path.join("bad"), b"no store").unwrap();
    backup::merge(&there.path.join("bad")).await.unwrap();
    backup::merge(&there.path.join("none")).await.unwrap();
    assert!(!there.path.join("none").exists());
}

#[tokio::test]
async fn a_backup_that_fails_leaves_nothing_behind() {
    let kept = Kept::new().await;
    let copy = kept.path.join("copy");
    kept.store.create_user(&name("ann")).await.unwrap();
    // Where SQLite would write it.
    fs::create_dir(kept.path.join(".copy.new")).unwrap();
    assert!(kept.store.backup(&copy).await.is_err());
    assert!(!copy.exists());
    fs::remove_dir(kept.path.join(".copy.new")).unwrap();
    kept.store.backup(&copy).await.unwrap();
    assert_eq!(kept.store.backup(&copy).await, Err(StoreError::Exists));
    assert!(!kept.path.join(".copy.new").exists());
}

impl Store {
    /// As by a hand at the file, or a disk that forgets.
    pub(crate) async fn break_token(&self, id: shared::token::TokenId) {
        let Pool::Sqlite(file) = &*self.0 else { panic!("a file") };
        let broken = sqlx::query("UPDATE tokens SET verifier = 'broken' WHERE id = $1");
        broken.bind(id.to_string()).execute(&file.writer).await.unwrap();
    }
}

/// Where the process that is killed finds its store.
const KILLED: &str = "SALLYPORT_TEST_KILLED";

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    if let Some(path) = env::var_os(KILLED) {
        return acknowledge(Path::new(&path)).await;
    }
    let kept = Kept::new().await;
    let mut acknowledged = 0;
    for _ in 0..5 {
        let mut process = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::what_was_acknowledged_before_a_kill_is_there_after_it",
            ])
            .args(["--nocapture"])
            .env(KILLED, &kept.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut numbers = lines.by_ref().filter_map(|line| {
            let line = line.unwrap();
            Some(line.split_once("user ")?.1.parse::<usize>().unwrap())
        });
        acknowledged = numbers.by_ref().nth(200).unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        // Some more were acknowledged on its way to death.
        acknowledged = numbers.last().unwrap_or(acknowledged);

        let mut raw = kept.other().await;
        let state: String =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut raw).await.unwrap();
        assert_eq!(state, "ok");
        let there = names(&kept.store).await;
        let expected: Vec<_> = (0..there.len()).map(|n| format!("u{n:05}")).collect();
        assert!(there.len() > acknowledged, "{} of {acknowledged}", there.len());
        assert_eq!(there, expected);
        let changes = kept.store.last_change().await.unwrap();
        // Each is one, and is there together with what it tells of.
        let disabled = kept.store.users().await.unwrap();
        let disabled = disabled.iter().filter(|user| user.disabled.is_some()).count();
        assert_eq!(changes, i64::try_from(disabled).unwrap());
        raw.close().await.unwrap();
    }
    assert!(acknowledged >= 1000, "{acknowledged}");
}

/// Adds users without end, and says of each that it is there.
async fn acknowledge(path: &Path) {
    let store = open(path).await.unwrap();
    let first = store.users().await.unwrap().len();
    let mut stdout = std::io::stdout();
    for n in first.. {
        let user = name(&format!("u{n:05}"));
        store.create_user(&user).await.unwrap();
        store.disable_user(&user, true).await.unwrap();
        writeln!(stdout, "user {n}").unwrap();
    }
}

impl Store {
    /// How many series there are, also of those who have gone.
    pub(crate) async fn count_series(&self) -> i64 {
        let Pool::Sqlite(file) = &*self.0 else { panic!("a file") };
        sqlx::query_scalar("SELECT COUNT(*) FROM series").fetch_one(&file.writer).await.unwrap()
    }

    /// As by a hand at the file, or a disk that forgets.
    pub(crate) async fn spoil_statistics(&self) {
        let Pool::Sqlite(file) = &*self.0 else { panic!("a file") };
        let spoil = sqlx::query("UPDATE statistics SET first_byte = x'ff'");
        spoil.execute(&file.writer).await.unwrap();
    }

    /// Somebody else writes, until this is dropped.
    pub(crate) async fn lock(&self) -> SqliteConnection {
        let Pool::Sqlite(file) = &*self.0 else { panic!("a file") };
        let options = file.writer.connect_options();
        let mut other = options.connect().await.unwrap();
        execute(&mut other, "BEGIN IMMEDIATE").await;
        other
    }
}
