//! Certificates that authorities have issued, the accounts there, and what was ordered of late.

use std::time::SystemTime;

use shared::token::Hidden;
use sqlx::Row;

use super::pool::{read, write_all};
use super::{Store, StoreError, from_millis, to_millis};

/// More certificates are not read at once: each takes some kilobytes, and far fewer can be ordered
/// while they are good.
const MOST: i64 = 10_000;

/// A certificate as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptCertificate {
    /// The name that it is for, which may begin with `*.`.
    pub(crate) name: String,
    /// The chain in PEM, the name's own certificate first.
    pub(crate) chain: String,
    /// Its key in PEM.
    pub(crate) key: Hidden,
    pub(crate) expires: SystemTime,
    /// When it is to be renewed.
    pub(crate) renew: SystemTime,
}

/// An order of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastOrder {
    pub(crate) name: String,
    pub(crate) began: SystemTime,
    /// `None`: it goes on, or whoever placed it was killed.
    pub(crate) end: Option<OrderEnd>,
    /// Before that the name is not to be ordered again.
    pub(crate) again: Option<SystemTime>,
}

/// How an order has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderEnd {
    Issued,
    /// The authority has said no.
    Failed,
    /// The authority has not heard of it, so it does not count with it.
    NotReached,
}

/// The certificate in a row, of whichever database.
macro_rules! kept {
    ($row:expr) => {
        (|| {
            Ok::<_, StoreError>(KeptCertificate {
                name: $row.try_get("name")?,
                chain: $row.try_get("chain")?,
                key: Hidden($row.try_get("private_key")?),
                expires: from_millis($row.try_get("expires")?),
                renew: from_millis($row.try_get("renew")?),
            })
        })()
    };
}

impl OrderEnd {
    /// As it is kept, and shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Failed => "failed",
            Self::NotReached => "not_reached",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        let all = [Self::Issued, Self::Failed, Self::NotReached];
        let found = all.into_iter().find(|end| end.as_str() == text);
        found.ok_or_else(|| StoreError::Unreadable(format!("the outcome {text} of an order")))
    }
}

impl Store {
    /// What is needed to go on with the account at the authority with this directory.
    pub(crate) async fn acme_account(&self, directory: &str) -> Result<Option<Hidden>, StoreError> {
        const GET: &str = "SELECT credentials FROM acme_accounts WHERE directory = $1";
        read!(self, |pool| {
            let row = sqlx::query(GET).bind(directory).fetch_optional(pool).await?;
            let credentials: Option<String> =
                row.map(|row| row.try_get("credentials")).transpose()?;
            Ok(credentials.map(Hidden))
        })
    }

    /// Keeps it, unless there is one already.
    pub(crate) async fn keep_acme_account(
        &self,
        directory: &str,
        credentials: &Hidden,
    ) -> Result<(), StoreError> {
        const KEEP: &str = "INSERT INTO acme_accounts (directory, credentials) VALUES ($1, $2) \
            ON CONFLICT (directory) DO NOTHING";
        write_all!(self, |all, _lock| {
            let keep = sqlx::query(KEEP).bind(directory).bind(credentials.0.as_str());
            keep.execute(&mut *all).await?;
        });
        Ok(())
    }

    /// Forgets the account: the authority does not know it any more.
    pub(crate) async fn forget_acme_account(&self, directory: &str) -> Result<(), StoreError> {
        write_all!(self, |all, _lock| {
            let forget = sqlx::query("DELETE FROM acme_accounts WHERE directory = $1");
            forget.bind(directory).execute(&mut *all).await?;
        });
        Ok(())
    }

    /// The certificates of this authority, those that last longest first.
    pub(crate) async fn certificates(
        &self,
        directory: &str,
    ) -> Result<Vec<KeptCertificate>, StoreError> {
        const ALL: &str = "SELECT name, chain, private_key, expires, renew FROM certificates \
            WHERE directory = $1 ORDER BY expires DESC LIMIT $2";
        read!(self, |pool| {
            let rows = sqlx::query(ALL).bind(directory).bind(MOST).fetch_all(pool).await?;
            rows.iter().map(|row| kept!(row)).collect()
        })
    }

    /// The one for this name, if there is one.
    pub(crate) async fn certificate(
        &self,
        directory: &str,
        name: &str,
    ) -> Result<Option<KeptCertificate>, StoreError> {
        const GET: &str = "SELECT name, chain, private_key, expires, renew FROM certificates \
            WHERE directory = $1 AND name = $2";
        read!(self, |pool| {
            let row = sqlx::query(GET).bind(directory).bind(name).fetch_optional(pool).await?;
            row.as_ref().map(|row| kept!(row)).transpose()
        })
    }

    /// Keeps a certificate in the place of the last one for its name.
    pub(crate) async fn keep_certificate(
        &self,
        directory: &str,
        kept: &KeptCertificate,
    ) -> Result<(), StoreError> {
        const KEEP: &str = "INSERT INTO certificates \
            (directory, name, chain, private_key, expires, renew) VALUES ($1, $2, $3, $4, $5, $6) \
            ON CONFLICT (directory, name) DO UPDATE SET \
            chain = $3, private_key = $4, expires = $5, renew = $6";
        let (expires, renew) = (to_millis(kept.expires), to_millis(kept.renew));
        write_all!(self, |all, _lock| {
            let keep = sqlx::query(KEEP).bind(directory).bind(&kept.name).bind(&kept.chain);
            let keep = keep.bind(kept.key.0.as_str()).bind(expires).bind(renew);
            keep.execute(&mut *all).await?;
        });
        Ok(())
    }

    /// A certificate is to be renewed at another time.
    pub(crate) async fn renew_certificate_at(
        &self,
        directory: &str,
        name: &str,
        renew: SystemTime,
    ) -> Result<(), StoreError> {
        const SET: &str = "UPDATE certificates SET renew = $3 WHERE directory = $1 AND name = $2";
        write_all!(self, |all, _lock| {
            let set = sqlx::query(SET).bind(directory).bind(name).bind(to_millis(renew));
            set.execute(&mut *all).await?;
        });
        Ok(())
    }

    /// Forgets certificates that have expired, and orders that began before `since`.
    pub(crate) async fn forget_certificates(
        &self,
        expired: SystemTime,
        since: SystemTime,
    ) -> Result<(), StoreError> {
        let (expired, since) = (to_millis(expired), to_millis(since));
        write_all!(self, |all, _lock| {
            let old = sqlx::query("DELETE FROM certificates WHERE expires < $1");
            old.bind(expired).execute(&mut *all).await?;
            let old = sqlx::query("DELETE FROM certificate_orders WHERE began < $1");
            old.bind(since).execute(&mut *all).await?;
        });
        Ok(())
    }

    /// The orders that began since then, the oldest first.
    pub(crate) async fn certificate_orders(
        &self,
        directory: &str,
        since: SystemTime,
    ) -> Result<Vec<PastOrder>, StoreError> {
        const SINCE: &str = "SELECT name, began, outcome, again FROM certificate_orders \
            WHERE directory = $1 AND began >= $2 ORDER BY began";
        read!(self, |pool| {
            let query = sqlx::query(SINCE).bind(directory).bind(to_millis(since));
            let rows = query.fetch_all(pool).await?;
            let orders = rows.iter().map(|row| {
                let outcome: Option<String> = row.try_get("outcome")?;
                let again: Option<i64> = row.try_get("again")?;
                Ok(PastOrder {
                    name: row.try_get("name")?,
                    began: from_millis(row.try_get("began")?),
                    end: outcome.as_deref().map(OrderEnd::parse).transpose()?,
                    again: again.map(from_millis),
                })
            });
            orders.collect()
        })
    }

    /// Takes down that an order begins.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`]: another one of this name, which began since `running`, goes on.
    pub(crate) async fn begin_order(
        &self,
        directory: &str,
        name: &str,
        began: SystemTime,
        running: SystemTime,
    ) -> Result<(), StoreError> {
        const RUNNING: &str = "SELECT 1 AS one FROM certificate_orders \
            WHERE directory = $1 AND name = $2 AND outcome IS NULL AND began >= $3";
        const BEGIN: &str =
            "INSERT INTO certificate_orders (directory, name, began) VALUES ($1, $2, $3)";
        let (began, running) = (to_millis(began), to_millis(running));
        write_all!(self, |all, lock| {
            sqlx::query(lock).execute(&mut *all).await?;
            let others = sqlx::query(RUNNING).bind(directory).bind(name).bind(running);
            if others.fetch_optional(&mut *all).await?.is_some() {
                return Err(StoreError::Exists);
            }
            let begin = sqlx::query(BEGIN).bind(directory).bind(name).bind(began);
            begin.execute(&mut *all).await?;
        });
        Ok(())
    }

    /// Takes down how an order has ended, and before when there is to be no other.
    pub(crate) async fn end_order(
        &self,
        directory: &str,
        name: &str,
        began: SystemTime,
        end: OrderEnd,
        again: Option<SystemTime>,
    ) -> Result<(), StoreError> {
        const END: &str = "UPDATE certificate_orders SET outcome = $4, again = $5 \
            WHERE directory = $1 AND name = $2 AND began = $3";
        let (began, again) = (to_millis(began), again.map(to_millis));
        write_all!(self, |all, _lock| {
            let order = sqlx::query(END).bind(directory).bind(name).bind(began);
            order.bind(end.as_str()).bind(again).execute(&mut *all).await?;
        });
        Ok(())
    }
}
