//! What is done for one name, in a task of its own.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{CertificateIdentifier, RenewalInfo};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::CertName;
use super::super::table::Table;
use super::account::Authority;
use super::answer::{Answers, can_answer};
use super::checks::Obstacle;
use super::order::{Desk, Issued};
use super::ration::LONGEST_ORDER;
use super::trouble::Trouble;
use crate::domains::Unproven;

/// What has come of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) name: CertName,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// It was looked whether the name could be ordered. `None`: the relay stops.
    Checked(Option<Result<(), Obstacle>>),
    /// An order, which began at that time. `None`: the relay stops.
    Ordered(SystemTime, Option<Result<Box<Issued>, Trouble>>),
    /// The authority was asked when it wants the certificate renewed, and how long until it is to
    /// be asked again. `None`: it does not say such things.
    Asked(Result<Option<(RenewalInfo, Duration)>, Trouble>),
}

/// What answers to challenges may take to be taken back, beside the order itself.
const TAKEN_BACK: Duration = Duration::from_secs(5 * 60);

/// Looks whether an order for `name` could come to anything: whether it is still proven whose it
/// is, and whether the relay could answer the authority.
pub(super) async fn check(
    authority: Arc<Authority>,
    name: CertName,
    stop: CancellationToken,
) -> Done {
    let checked = stop.run_until_cancelled(try_check(&authority, &name)).await;
    Done { name, what: What::Checked(checked) }
}

async fn try_check(authority: &Authority, name: &CertName) -> Result<(), Obstacle> {
    can_answer(authority.challenge.of(name), name, &authority.domains)?;
    let CertName::Host(host) = name else { return Ok(()) };
    authority.domains.recheck(host).await.map_err(|why| match why {
        Unproven::Missing => Obstacle::Name(
            "nothing proves any more whose it is".into(),
            "`relay domain verify` says which record is missing",
        ),
        Unproven::Unknown(why) => Obstacle::NameServers(format!(
            "nobody can say whether it is still proven whose it is: {why}"
        )),
    })
}

/// Orders a certificate for `name`, in the place of `old`.
pub(super) async fn order(
    authority: Arc<Authority>,
    table: Table,
    name: CertName,
    old: Option<CertificateDer<'static>>,
    began: SystemTime,
    stop: CancellationToken,
) -> Done {
    let mut answers = Answers::default();
    let ordering = async {
        match try_order(&authority, &table, &name, old.as_ref(), &mut answers).await {
            Err(trouble) if trouble.is_unknown_account() => {
                // It has heard of nothing so far.
                authority.forget_account().await;
                try_order(&authority, &table, &name, old.as_ref(), &mut answers).await
            }
            result => result,
        }
    };
    let result = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        result = timeout(LONGEST_ORDER - TAKEN_BACK, ordering) => Some(
            result.unwrap_or_else(|_| Err(Trouble::own("it takes too long").counted())),
        ),
    };
    answers.take_back().await;
    Done { name, what: What::Ordered(began, result.map(|result| result.map(Box::new))) }
}

async fn try_order(
    authority: &Authority,
    table: &Table,
    name: &CertName,
    old: Option<&CertificateDer<'static>>,
    answers: &mut Answers,
) -> Result<Issued, Trouble> {
    let (account, https) = authority.account().await?;
    let (account, https, domains) = (&account, &https, &authority.domains);
    let desk = Desk { account, https, table, domains, challenge: authority.challenge };
    desk.order(name, old, answers).await
}

/// Asks when the authority wants the certificate of `name` renewed.
pub(super) async fn ask(
    authority: Arc<Authority>,
    name: CertName,
    certificate: CertificateDer<'static>,
    stop: CancellationToken,
) -> Done {
    let info = stop.run_until_cancelled(renewal_info(&authority, &certificate)).await;
    Done { name, what: What::Asked(info.unwrap_or_else(|| Err(Trouble::own("the relay stops")))) }
}

async fn renewal_info(
    authority: &Authority,
    certificate: &CertificateDer<'static>,
) -> Result<Option<(RenewalInfo, Duration)>, Trouble> {
    let id = CertificateIdentifier::try_from(certificate).map_err(Trouble::own)?;
    let (account, https) = authority.account().await?;
    match account.renewal_info(&id).await {
        Ok(info) => Ok(Some(info)),
        Err(instant_acme::Error::Unsupported(_)) => Ok(None),
        Err(err) => Err(Trouble::new(&err, &https)),
    }
}
