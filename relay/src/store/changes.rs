//! What others have changed: whoever works on the same store, in this process or another one.

use std::time::Duration;

use shared::control::protocol::WebHost;
use shared::token::TokenId;
use sqlx::Row;
use sqlx::postgres::{PgListener, PgPool};
use sqlx::sqlite::SqliteConnection;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::domains::host_in;
use super::pool::{Pool, for_listening, read, within_answer, write_all};
use super::{Name, Store, StoreError};

/// How often a file is looked at: one number, which SQLite has at hand.
const LOOK: Duration = Duration::from_millis(200);

/// How often a server is asked without having said anything.
const ASK: Duration = Duration::from_secs(10);

/// How long to wait before a store is tried again that could not be reached.
const AGAIN: Duration = Duration::from_secs(1);

/// When changes that could not be followed are tried again.
const OWED_AGAIN: Duration = Duration::from_secs(5);

/// So many of them are remembered one by one.
const MOST_OWED: usize = 1024;

/// So many changes are kept; whoever has missed more has to look at everything.
const KEPT: i64 = 10_000;

/// When there are more than so many, the oldest are forgotten.
pub(super) const MOST_CHANGES: i64 = 2 * KEPT;

/// What somebody has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Token(TokenId),
    /// All tokens and host names of this owner.
    Owner(Name),
    /// Whose this host name is.
    Domain(WebHost),
    /// Perhaps everything.
    Everything,
}

/// Follows the changes of a store.
#[derive(Debug)]
pub(crate) struct Changes {
    store: Store,
    /// What somebody follows them for, in the plural.
    subject: &'static str,
    /// The number of the last change that is known. `None`: nothing has been read yet.
    last: Option<i64>,
    signal: Signal,
    /// There may be a change that has not been looked at.
    is_due: bool,
    /// When a server is asked that has said nothing. Whoever waits gives up and begins again more
    /// often than that.
    ask_at: Instant,
    /// It is asked because of that.
    is_unprompted: bool,
    /// The store could not be reached the last time.
    is_away: bool,
}

/// What tells that there is a change.
#[derive(Debug)]
enum Signal {
    /// SQLite counts the changes of a file by other connections than this one.
    File(Option<(SqliteConnection, i64)>),
    Server(Option<PgListener>),
}

impl Store {
    /// The changes from now on. The first is [`Change::Everything`], as soon as the store can be
    /// reached: what is read after it is up to date, or told of later. `subject` is what they are
    /// followed for, for the log.
    pub(crate) fn changes(&self, subject: &'static str) -> Changes {
        let signal = match &*self.0 {
            Pool::Sqlite(_) => Signal::File(None),
            Pool::Postgres(_) => Signal::Server(None),
        };
        Changes {
            store: self.clone(),
            subject,
            last: None,
            signal,
            is_due: false,
            ask_at: Instant::now() + ASK,
            is_unprompted: false,
            is_away: false,
        }
    }

    pub(super) async fn last_change(&self) -> Result<i64, StoreError> {
        const LAST: &str = "SELECT COALESCE(MAX(number), 0) AS number FROM changes";
        read!(self, |pool| Ok(sqlx::query(LAST).fetch_one(pool).await?.try_get("number")?))
    }

    /// The changes after number `last`, with the number of the last one.
    async fn changes_after(&self, last: Option<i64>) -> Result<(i64, Vec<Change>), StoreError> {
        const AFTER: &str = "SELECT number, token, owner, domain FROM changes \
            WHERE number > $1 ORDER BY number";
        const BOUNDS: &str = "SELECT COALESCE(MIN(number), 0) AS first, \
            COALESCE(MAX(number), 0) AS newest FROM changes";
        const PRUNE: &str = "DELETE FROM changes WHERE number < $1";
        let Some(last) = last else {
            return Ok((self.last_change().await?, vec![Change::Everything]));
        };
        let (newest, first, changes) = read!(self, |pool| {
            let bounds = sqlx::query(BOUNDS).fetch_one(pool).await?;
            let first: i64 = bounds.try_get("first")?;
            let mut newest: i64 = bounds.try_get("newest")?;
            let rows = sqlx::query(AFTER).bind(last).fetch_all(pool).await?;
            let mut changes = Vec::new();
            for row in &rows {
                newest = row.try_get("number")?;
                let token: Option<String> = row.try_get("token")?;
                let owner: Option<String> = row.try_get("owner")?;
                let domain: Option<String> = row.try_get("domain")?;
                let token = token.and_then(|id| id.parse().ok()).map(Change::Token);
                let owner = owner.and_then(|name| name.parse().ok()).map(Change::Owner);
                let domain = domain.and_then(|name| host_in(&name).ok()).map(Change::Domain);
                changes.push(token.or(owner).or(domain).unwrap_or(Change::Everything));
            }
            Ok((newest, first, changes))
        })?;
        // Some are forgotten, or the store is an older one that was put in its place.
        let has_missed = first > last + 1 || newest < last;
        let changes = if has_missed { vec![Change::Everything] } else { changes };
        if newest - first > MOST_CHANGES {
            write_all!(self, |all, _lock| {
                sqlx::query(PRUNE).bind(newest - KEPT).execute(&mut *all).await?;
            });
        }
        Ok((newest, changes))
    }
}

impl Changes {
    /// Waits for more changes and adds them to those that could not be followed yet, which have come
    /// before. While there are any it returns after a moment, so that they are tried again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn add_to(&mut self, owed: &mut Vec<Change>) {
        if owed.is_empty() {
            *owed = self.next().await;
        } else if let Ok(new) = timeout(OWED_AGAIN, self.next()).await {
            owed.extend(new);
        }
        if owed.len() > MOST_OWED {
            *owed = vec![Change::Everything];
        }
    }

    /// Waits for the next changes. While the store cannot be reached nothing can change.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was not returned comes the next time.
    pub(crate) async fn next(&mut self) -> Vec<Change> {
        loop {
            match self.look().await {
                Ok(changes) => {
                    let is_told = !matches!(self.signal, Signal::Server(None));
                    if is_told && std::mem::take(&mut self.is_away) {
                        info!(
                            "the store is back, and what is known of {} is up to date",
                            self.subject
                        );
                    }
                    if !changes.is_empty() {
                        return changes;
                    }
                }
                Err(err) => {
                    if !std::mem::replace(&mut self.is_away, true) {
                        warn!("{} that are known go on being good: {err}", self.subject);
                    }
                    // Its connection may be gone.
                    match &mut self.signal {
                        Signal::File(signal) => *signal = None,
                        Signal::Server(signal) => *signal = None,
                    }
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Vec<Change>, StoreError> {
        if !self.is_due {
            self.wait().await?;
            self.is_due = true;
        }
        let after = timeout(ASK, self.store.changes_after(self.last)).await;
        let late = |_| StoreError::Unavailable("it does not answer".into());
        let (last, changes) = after.map_err(late)??;
        (self.last, self.is_due, self.ask_at) = (Some(last), false, Instant::now() + ASK);
        if std::mem::take(&mut self.is_unprompted)
            && !changes.is_empty()
            && let Signal::Server(signal) = &mut self.signal
        {
            // It should have told: the connection may be gone without a word.
            *signal = None;
        }
        Ok(changes)
    }

    /// Waits until there may be a change. Nothing is lost when it is given up before it returns: the
    /// last step is the one that is taken note of.
    async fn wait(&mut self) -> Result<(), StoreError> {
        match (&mut self.signal, &*self.store.0) {
            (Signal::File(signal), Pool::Sqlite(file)) => loop {
                let Some((connection, before)) = signal else {
                    file.is_in_place()?;
                    // From here on none is missed.
                    let mut connection = file.reader().await?;
                    let version = data_version(&mut connection).await?;
                    *signal = Some((connection, version));
                    return Ok(());
                };
                sleep(LOOK).await;
                file.is_in_place()?;
                let version = data_version(connection).await?;
                if version != *before {
                    *before = version;
                    return Ok(());
                }
            },
            (Signal::Server(signal), Pool::Postgres(pool)) => {
                let Some(listener) = signal else {
                    if Instant::now() >= self.ask_at {
                        // Whoever cannot be listened to may still answer.
                        return Ok(());
                    }
                    *signal = Some(within_answer(listen(pool)).await?);
                    return Ok(());
                };
                match timeout_at(self.ask_at, listener.try_recv()).await {
                    Ok(Ok(Some(_))) => Ok(()),
                    Err(_) => {
                        self.is_unprompted = true;
                        Ok(())
                    }
                    Ok(Ok(None)) => Err(StoreError::Unavailable("the connection was lost".into())),
                    Ok(Err(err)) => Err(err.into()),
                }
            }
            // A store does not become another one.
            (_, _) => Err(StoreError::Failed("another store".into())),
        }
    }
}

/// Listens at the server that `pool` leads to, by a connection of its own: one that is gone without
/// a word takes none away from those who ask.
async fn listen(pool: &PgPool) -> Result<PgListener, StoreError> {
    let mut listener = PgListener::connect_with(&for_listening(pool)).await?;
    listener.listen("sallyport_changes").await?;
    Ok(listener)
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let row = sqlx::query("PRAGMA data_version").fetch_one(connection).await?;
    Ok(row.try_get(0)?)
}
