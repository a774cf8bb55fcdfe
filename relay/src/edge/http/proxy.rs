//! One request: from the visitor to a local service, and its answer back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{EXPECT, HOST, HeaderMap, HeaderValue, STRICT_TRANSPORT_SECURITY};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use shared::control::protocol::{Balance, HttpVersion};
use shared::visit::id::VisitId;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::admit::{Admission, counted, too_many_at_once};
use super::answers;
use super::body::{Accounted, Answering, FromVisitor, Relayed, ToVisitor};
use super::forwarded::{Way, with_port};
use super::head::{X_REQUEST_ID, accepted, join_cookies, length, own_id, size};
use super::host::RequestedHost;
use super::leasing::Leasing;
use super::route::{Route, route};
use super::shrink::Wish;
use super::signed;
use super::upgrade::{self, Upgrade};
use super::upstream::{Kept, Lease, Wanted, fault_of, is_lost, is_refused};
use super::visitor::Visitor;
use super::{board, expect, heads, hops, options};
use crate::inspect::Arrived;
use crate::metrics::Limit;
use crate::placement::{Order, place};
use crate::snapshot::Kind;
use crate::tunnel::{Conditions, Tunnel};
use crate::visit::Placed;
use crate::web::{Arrival, Fault, RequestBody, Verdict};

/// The largest header of a request in bytes, its target included.
const MAX_HEADER: usize = 32 * 1024;

/// How often a request is sent at most, when the connections that it goes to turn out to be gone.
const MOST_TRIES: u32 = 3;

/// A request on its way, as far as all attempts have it in common.
struct Exchange<'a> {
    visitor: Arc<Visitor>,
    tunnel: Arc<Tunnel>,
    visit: VisitId,
    /// As the local service is to see it, but for what its client says of that.
    head: Parts,
    /// The path for it.
    target: PathAndQuery,
    arrival: Arrival,
    /// What its answer is to be.
    wish: Wish,
    /// By whose policies it has been let in.
    passed: Vec<Arc<Conditions>>,
    upgrade: Option<Upgrade>,
    /// Whether it may be sent again, although something of it has been.
    may_repeat: bool,
    /// Fires when the local service wants the body, which is kept back.
    wanted: Option<CancellationToken>,
    account: Arc<Account>,
    admission: Admission,
    /// What browsers are told of TLS.
    hsts: &'a mut Option<HeaderValue>,
}

/// What goes with the answer to a request, whoever gives it.
#[derive(Default)]
struct Besides {
    /// What browsers are told of TLS.
    hsts: Option<HeaderValue>,
    /// What was taken away in front of the path.
    prefix: Option<String>,
}

/// Answers a request, in whatever way.
pub(super) async fn answer(
    visitor: Arc<Visitor>,
    request: Request<Incoming>,
) -> Result<Response<Answering>, Infallible> {
    let counted = visitor.activity.request();
    let edge = Arc::clone(&visitor.http.edge);
    let visit = edge.registry.visits().next();
    let id = own_id(request.headers()).unwrap_or_else(|| {
        // Shared, for it is copied several times.
        HeaderValue::from_maybe_shared(Bytes::from(visit.to_string()))
            .expect("a visit's number is plain")
    });
    // Whoever is refused learns why in a form that it reads.
    let accept: HeaderMap = accepted(request.headers());
    let is_head = request.method() == Method::HEAD;
    let account = Account::begin(&edge, visitor.peer.ip(), &request, &id);
    let mut besides = Besides::default();
    let mut response = match serve(visitor, request, &account, visit, &id, &mut besides).await {
        Ok(response) => response,
        Err(fault) => {
            account.failed(fault);
            let id = id.to_str().unwrap_or_default();
            let mut response = answers::fault(fault, &accept, id, &edge.error_pages.now());
            if let (Fault::LoginNeeded, Some(tunnel)) = (fault, account.tunnel()) {
                let prefix = besides.prefix.as_deref();
                answers::ask_for_login(&mut response, tunnel.name(), prefix);
            }
            response
        }
    };
    if is_head {
        answers::leave_out_body(&mut response);
    }
    response.headers_mut().entry(X_REQUEST_ID).or_insert(id);
    if let Some(hsts) = besides.hsts {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    if let Some(tap) = account.tap().filter(|_| !account.is_served()) {
        tap.answers_itself(&response, account.fault());
    }
    account.answered(response.status());
    let answering = |body| Answering { body: Accounted::new(body, account), request: counted };
    Ok(response.map(answering))
}

/// Sends a request to where it belongs.
async fn serve(
    visitor: Arc<Visitor>,
    mut request: Request<Incoming>,
    account: &Arc<Account>,
    visit: VisitId,
    id: &HeaderValue,
    besides: &mut Besides,
) -> Result<Response<ToVisitor>, Fault> {
    let http = &visitor.http;
    if http.stopping.is_cancelled() {
        // On a connection that was there: its client is gone, or about to go.
        return Err(Fault::Stopping);
    }
    let mut upgrade = Upgrade::extended(&mut request);
    if upgrade.is_none() && request.method() == Method::CONNECT {
        return Err(Fault::MethodNotAllowed);
    }
    let size = size(&request);
    if size > MAX_HEADER {
        return Err(Fault::HeaderTooLarge);
    }
    let on_upgrade = upgrade.is_none().then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    if let Some(answer) = http.challenge(&head, visitor.is_tls()) {
        return Ok(answer);
    }
    let config = http.edge.config.now();
    let way = Way::of(&head.headers, visitor.peer.ip(), visitor.is_tls(), &config.trust_proxy);
    account.comes_from(way.visitor);
    let host = RequestedHost::of(&head)?;
    visitor.check_server_name(host.name())?;
    if http.edge.board.is_at(host.name()) {
        // For whoever answers with another protocol.
        on_upgrade.and_then(|on| head.extensions.insert(on));
        let body = FromVisitor::new(body, visitor.activity.upload(), Arc::clone(account));
        return board::answer(http, head, body, &way, &host).await;
    }
    let registry = &http.edge.registry;
    let (tunnel, target, prefix) =
        match route(&host, &head.uri, registry.routes(), registry.front())? {
            Route::To { tunnel, target, prefix } => (tunnel, target, prefix),
            Route::AddSlash(location) => return redirect(&location),
        };
    account.goes_to(&tunnel);
    if let Some(on) = tunnel.inspection().now() {
        account.inspects(on.exchange(&Arrived {
            head: &head,
            request_id: id.to_str().unwrap_or_default(),
            host: &host.as_written,
            target: head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            is_tls: way.tls,
            visitor: Some(way.visitor),
            replay_of: None,
        }));
    }
    let conditions = tunnel.conditions();
    let policy = conditions.as_ref().and_then(|conditions| conditions.policy.as_ref());
    besides.prefix.clone_from(&prefix);
    let arrival = Arrival {
        host: host.as_written,
        prefix,
        visitor: way.visitor,
        is_tls: way.tls,
        https_port: registry.front().https_port(),
    };
    besides.hsts = options::hsts(conditions.as_deref(), &arrival);
    let mut admission = Admission::new(http, &tunnel, &config, way.visitor)?;
    account.admitted(admission.present(), admission.allowance(http));
    if let Some(policy) = policy
        && let Err(verdict) = policy.admit(&head, &target, &arrival)
    {
        return answers::instead(counted(http, verdict));
    }
    account.holds_head(heads::hold(http, &config, way.visitor, size)?);

    if let Some(protocol) = hops::remove(&mut head.headers) {
        upgrade = on_upgrade.map(|on| Upgrade::by_headers(on, protocol));
    }
    let length = length(&head.headers)?;
    let has_body = !body.is_end_stream();
    if has_body {
        account.set_max_body(options::max_body_of_any(&tunnel));
    }
    if length.is_some_and(|length| length > account.max_body()) {
        return Err(Fault::BodyTooLarge);
    }
    way.tell(&mut head.headers, &arrival.host, arrival.prefix.as_deref());
    head.headers.insert(X_REQUEST_ID, id.clone());
    if head.headers.get(HOST).is_none_or(|host| *host != *arrival.host)
        && let Ok(host) = HeaderValue::from_str(&arrival.host)
    {
        head.headers.insert(HOST, host);
    }
    join_cookies(&mut head.headers);
    if let Some(upgrade) = &upgrade {
        upgrade.ask(&mut head);
    }
    let mut body = match has_body {
        false => RequestBody::Empty,
        true => {
            let upload = visitor.activity.upload();
            let body = FromVisitor::new(body, upload, Arc::clone(account));
            RequestBody::Streamed(Box::pin(body))
        }
    };
    if let Some(webhook) = policy.and_then(|policy| policy.webhook.as_ref()) {
        body =
            Box::pin(signed::check(http, webhook, &head.headers, (&tunnel, arrival.visitor), body))
                .await?;
        head.headers.remove(EXPECT);
    }
    let wanted = (has_body && expect::keeps_back(&head.headers)).then(CancellationToken::new);
    if let Some(wanted) = &wanted {
        body = expect::keep_back(body, wanted.clone());
    }
    let may_repeat = !has_body && head.method.is_idempotent() && upgrade.is_none();
    let (hold, limit) = (config.web.hold_requests, config.web.request_timeout);
    let exchange = Exchange {
        visitor: Arc::clone(&visitor),
        tunnel,
        visit,
        wish: Wish::of(&head.method, &head.headers),
        head,
        target,
        arrival,
        passed: conditions.into_iter().collect(),
        upgrade,
        may_repeat,
        wanted,
        account: Arc::clone(account),
        admission,
        hsts: &mut besides.hsts,
    };
    exchange.run(body, hold, limit).await.or_else(answers::instead)
}

impl Exchange<'_> {
    /// Sends it until there is an answer, or no use. Of a client that does not say how long an answer
    /// may take it is `limit`.
    async fn run(
        mut self,
        mut body: RequestBody,
        hold: Duration,
        limit: Duration,
    ) -> Result<Response<ToVisitor>, Verdict> {
        // When it was last about to be sent.
        let mut tried = None;
        let mut tries = 0;
        let has_body = matches!(body, RequestBody::Streamed(_));
        // Whether it has to be known that a local service is there before the request is sent.
        // That is also when one who looks at it learns how long it took to get there.
        let mut is_sure = has_body || self.account.tap().is_some();
        loop {
            tries += 1;
            let passed = self.passed.len();
            let length = body.size_hint().lower();
            let (lease, conditions) = self.place(hold, tried, is_sure, length).await?;
            tried = Some(Instant::now());
            let conditions = conditions.as_deref();
            self.account.set_max_body(options::max_body(conditions));
            let limit = options::timeout(conditions).unwrap_or(limit);
            for policy in self.passed[passed..].iter().filter_map(|new| new.policy.as_ref()) {
                if let Some(webhook) = &policy.webhook {
                    let http = &self.visitor.http;
                    if let Some(wanted) = self.wanted.take() {
                        wanted.cancel();
                        self.head.headers.remove(EXPECT);
                    }
                    let from = (&*self.tunnel, self.arrival.visitor);
                    let checked = signed::check(http, webhook, &self.head.headers, from, body);
                    body = Box::pin(checked).await?;
                }
            }
            let is_used = lease.is_used;
            if let Some(tap) = self.account.tap() {
                tap.connected(is_used);
            }
            let request = self.request(conditions, body);
            let account = Arc::clone(&self.account);
            if let Some(tap) = account.tap() {
                tap.sends(&request);
            }
            // How long it took to get here is not the local service's.
            account.touch();
            let Some(sent) = within(&account, limit, lease.send(request)).await else {
                let is_visitors = account.awaits_body();
                return Err(
                    if is_visitors { Fault::RequestTimeout } else { Fault::LocalTimeout }.into()
                );
            };
            match sent {
                Ok((response, kept)) => {
                    return Ok(self.answered(conditions, response, kept)?);
                }
                Err(mut err) => match err.take_message() {
                    Some(unsent) if tries < MOST_TRIES => body = unsent.into_body(),
                    _ => {
                        let err = err.into_error();
                        // A connection that was there may have been closed in this moment, and a
                        // session that is lost took no part in it. What a client could not connect
                        // has not been seen by anybody.
                        let is_refused = !has_body && is_refused(&err);
                        let repeats = is_refused || (self.may_repeat && (is_used || is_lost(&err)));
                        if !repeats || tries == MOST_TRIES {
                            return Err(fault_of(&err).into());
                        }
                        // The next one may do.
                        is_sure |= is_refused;
                        body = RequestBody::Empty;
                    }
                },
            }
        }
    }

    /// A connection to the local service of one of the tunnel's clients, for a body of so many bytes
    /// at least.
    async fn place(
        &mut self,
        hold: Duration,
        newer_than: Option<Instant>,
        is_sure: bool,
        length: u64,
    ) -> Result<(Lease, Option<Arc<Conditions>>), Verdict> {
        let order = match options::balance(&self.tunnel) {
            Balance::Newest => Order::Newest,
            balance => Order::Shared(balance, self.arrival.visitor.into()),
        };
        let source = self.admission.source();
        let attempt = Leasing {
            http: &self.visitor.http,
            admission: &mut self.admission,
            head: &self.head,
            target: &self.target,
            arrival: &self.arrival,
            passed: &mut self.passed,
            wanted: Wanted {
                visit: self.visit,
                tunnel: self.tunnel.name(),
                visitor: self.visitor.peer,
                source,
                newer_than,
                is_sure,
            },
            length,
            hsts: self.hsts,
            tap: self.account.tap(),
        };
        let placed = place(&self.tunnel, order, hold, attempt).await;
        // Here, for each client that it was tried with says so.
        if let Err(Verdict::Fault(Fault::TooManyAtOnce)) = placed {
            let of = (self.tunnel.name(), self.arrival.visitor.into());
            too_many_at_once(&self.visitor.http, Limit::ClientSharePerSource, of);
        }
        placed
    }

    /// The request as the local service behind a client sees it.
    fn request(&self, conditions: Option<&Conditions>, body: RequestBody) -> Request<RequestBody> {
        let (mut head, mut target) = (self.head.clone(), self.target.clone());
        for policy in self.passed.iter().filter_map(|passed| passed.policy.as_ref()) {
            policy.forget(&mut head, &mut target);
        }
        if let Some(policy) = conditions.and_then(|conditions| conditions.policy.as_ref()) {
            policy.prepare(&mut head);
        }
        head.uri = match options::version(conditions) {
            HttpVersion::Http1 => {
                head.version = Version::HTTP_11;
                Uri::from(target)
            }
            HttpVersion::Http2 => {
                head.version = Version::HTTP_2;
                let authority = head.headers.remove(HOST);
                let authority = authority.as_ref().map_or(b"".as_slice(), HeaderValue::as_bytes);
                let uri = Uri::builder().scheme("http").authority(authority);
                let uri = uri.path_and_query(target.clone()).build();
                uri.unwrap_or_else(|_| Uri::from(target))
            }
        };
        let mut request = Request::from_parts(head, body);
        if let Some(wanted) = &self.wanted {
            expect::ask(&mut request, wanted);
        } else if self.account.tap().is_some() {
            // What is over when this is called is not to go on for its sake.
            let account = Arc::downgrade(&self.account);
            hyper::ext::on_informational(&mut request, move |said| {
                if let Some(account) = account.upgrade()
                    && let Some(tap) = account.tap()
                {
                    tap.announced(said.status().as_u16(), said.headers());
                }
            });
        }
        request
    }

    /// What the visitor is answered.
    fn answered(
        self,
        conditions: Option<&Conditions>,
        mut response: Response<Incoming>,
        kept: Kept,
    ) -> Result<Response<ToVisitor>, Fault> {
        let Self { account, visitor, upgrade, wish, head: asked, admission, .. } = self;
        let source = admission.source();
        account.holds(admission.into_parts());
        if let Some(tap) = account.tap() {
            tap.answered(&response);
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(upgrade) = upgrade else { return Err(Fault::LocalBroken) };
            account.served();
            let placed = Placed {
                id: self.visit,
                kind: Kind::Http,
                tunnel: self.tunnel,
                visitor: with_port(self.arrival.visitor, visitor.peer),
                session: kept.session().unwrap_or_default(),
            };
            let listed = visitor.http.edge.registry.visits().list(placed);
            if let Some(tap) = account.tap() {
                tap.changes(response.headers());
            }
            return Ok(upgrade::change(upgrade, visitor, response, account, (kept, listed)));
        }
        if response.status().is_success() && upgrade.is_some_and(|upgrade| upgrade.is_extended()) {
            // To HTTP/2 that would say that the protocol has been changed.
            return Err(Fault::LocalBroken);
        }
        hops::remove_of_answer(&mut response, asked.version)?;
        account.served();
        // An old one of the local service's does not end the connection of the visitor.
        *response.version_mut() = Version::HTTP_11;
        // By HTTP/2 it is the stream that is reset, and the others go on.
        let is_alone = asked.version < Version::HTTP_2;
        let broke_off = is_alone.then(|| Arc::clone(&visitor.broke_off));
        let (mut head, body) = response.into_parts();
        let body = Relayed::new(body, account, kept, broke_off);
        let policy = conditions.and_then(|conditions| conditions.policy.as_ref());
        let body = match policy.is_some_and(|policy| policy.compress) {
            true => wish.grant(&visitor.http.room, source, &mut head, body),
            false => ToVisitor::Relayed(body),
        };
        Ok(Response::from_parts(head, body))
    }
}

/// What comes of `sending`, unless nothing of the request moves for so long.
async fn within<T>(
    account: &Account,
    limit: Duration,
    sending: impl Future<Output = T>,
) -> Option<T> {
    let mut sending = std::pin::pin!(sending);
    loop {
        tokio::select! {
            biased;
            sent = &mut sending => return Some(sent),
            () = sleep(limit.saturating_sub(account.idle())) => {
                if account.idle() >= limit {
                    return None;
                }
            }
        }
    }
}

fn redirect(location: &str) -> Result<Response<ToVisitor>, Fault> {
    let location = HeaderValue::from_str(location).map_err(|_| Fault::UnknownTunnel)?;
    Ok(answers::redirect(StatusCode::PERMANENT_REDIRECT, location))
}
