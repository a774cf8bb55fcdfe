//! One order, from its first request to the certificate.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, Identifier, NewOrder, Order, OrderStatus,
    Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::CertificateDer;
use shared::token::Hidden;

use super::super::CertName;
use super::super::served::Served;
use super::super::table::Table;
use super::answer::Answers;
use super::https::Https;
use super::trouble::Trouble;
use crate::config::AcmeChallenge;
use crate::domains::Domains;

/// What an authority has issued.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) served: Served,
    pub(super) chain: String,
    pub(super) key: Hidden,
}

/// What an order is placed with.
#[derive(Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) account: &'a Account,
    pub(super) https: &'a Https,
    pub(super) table: &'a Table,
    pub(super) domains: &'a Domains,
    pub(super) challenge: AcmeChallenge,
}

/// How often an order is looked at that the authority works on: first soon, then less and less, and
/// no longer than it takes when the authority is busy.
const LOOKS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));

impl Desk<'_> {
    /// Orders a certificate for `name`, in the place of `old` if there is one. What answers the
    /// authority's challenges is put into `answers`, and has to be taken back by the caller.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) async fn order(
        self,
        name: &CertName,
        old: Option<&CertificateDer<'static>>,
        answers: &mut Answers,
    ) -> Result<Issued, Trouble> {
        let mut order = self.place(name, old).await?;
        let issued = self.complete(name, &mut order, answers).await;
        issued.map_err(Trouble::counted)
    }

    async fn place(
        self,
        name: &CertName,
        old: Option<&CertificateDer<'static>>,
    ) -> Result<Order, Trouble> {
        let names = [Identifier::Dns(name.to_string())];
        // It costs less with some authorities, and with others there is no such thing.
        let old = old.and_then(|old| CertificateIdentifier::try_from(old).ok());
        if let Some(old) = old {
            match self.account.new_order(&NewOrder::new(&names).replaces(old)).await {
                Ok(order) => return Ok(order),
                Err(instant_acme::Error::Unsupported(_) | instant_acme::Error::Other(_)) => (),
                Err(err) => {
                    let trouble = self.trouble(&err);
                    if !trouble.is_replaced_already() {
                        return Err(trouble);
                    }
                }
            }
        }
        self.account.new_order(&NewOrder::new(&names)).await.map_err(|err| self.trouble(&err))
    }

    async fn complete(
        self,
        name: &CertName,
        order: &mut Order,
        answers: &mut Answers,
    ) -> Result<Issued, Trouble> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|err| self.trouble(&err))?;
            match authorization.status {
                AuthorizationStatus::Pending => (),
                AuthorizationStatus::Valid => continue,
                status => {
                    return Err(Trouble::own(format_args!("the authorization is {status:?}")));
                }
            }
            let challenge = self.challenge.of(name);
            let mut open = authorization.challenge(challenge.kind()).ok_or_else(|| {
                let what = format!(
                    "the authority does not offer {challenge}: choose another \
                    --acme-challenge"
                );
                Trouble::own(what)
            })?;
            let authorization = open.key_authorization();
            let asked = (open.token.as_str(), &authorization);
            answers.give((self.table, self.domains), (challenge, name), asked).await?;
            open.set_ready().await.map_err(|err| self.trouble(&err))?;
        }
        match order.poll_ready(&LOOKS).await {
            Ok(OrderStatus::Ready) => (),
            Ok(_) => return Err(self.reason(order).await),
            Err(err) => return Err(self.trouble(&err)),
        }
        let key = KeyPair::generate().map_err(Trouble::own)?;
        let request = request(name, &key).map_err(Trouble::own)?;
        order.finalize_csr(request.der()).await.map_err(|err| self.trouble(&err))?;
        let chain = order.poll_certificate(&LOOKS).await.map_err(|err| self.trouble(&err))?;
        let key = Hidden(key.serialize_pem());
        let served = Served::from_pem(&chain, &key.0).map_err(Trouble::own)?;
        if !served.names.contains(name) {
            return Err(Trouble::own("the authority has issued a certificate for another name"));
        }
        Ok(Issued { served, chain, key })
    }

    /// Why the authority does not believe that the name is the relay's.
    async fn reason(self, order: &mut Order) -> Trouble {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let Ok(mut authorization) = authorization else { break };
            let Ok(state) = authorization.refresh().await else { break };
            let problem: Option<&Problem> =
                state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problem {
                return Trouble::problem(problem);
            }
        }
        Trouble::own("the authority has not said why")
    }

    fn trouble(self, err: &instant_acme::Error) -> Trouble {
        Trouble::new(err, self.https)
    }
}

/// Asks for a certificate for `name`, with a key that no other has.
fn request(
    name: &CertName,
    key: &KeyPair,
) -> Result<rcgen::CertificateSigningRequest, rcgen::Error> {
    let mut params = CertificateParams::new([name.to_string()])?;
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(key)
}
