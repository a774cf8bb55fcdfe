//! `/statistics`: what has moved, step by step, and `/history`: which requests and visits there were.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::page::Page;
use super::problem::{Problem, Problems};
use super::{Api, Params};
use crate::statistics::{Cursor, HistoryPage, Percentiles, Point, Scope, Span};
use crate::store::{HistoryEntry, HistoryFilter, StoreError};

/// What is told unless the caller says otherwise: the last hour, minute by minute.
const USUAL_TIME: u64 = 3600;
const USUAL_STEP: u64 = 60;

/// So many entries of the history are on a page unless the caller says otherwise, and at most.
const USUAL_ENTRIES: u32 = 100;
const MOST_ENTRIES: u32 = 500;

/// Of what, and of which time.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The tunnel with this id.
    tunnel: Option<String>,
    /// All tunnels of this owner together.
    owner: Option<String>,
    /// The beginning, in seconds since 1970. Without it: an hour before the end.
    from: Option<u64>,
    /// The end. Without it: now.
    to: Option<u64>,
    /// How long a step is, in seconds: whole minutes below an hour, or whole hours. Without it: a
    /// minute.
    step: Option<u64>,
}

/// What has moved.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Moved {
    /// How long a step is.
    step_seconds: u64,
    /// One for each step, also for those in which nothing has moved.
    points: Vec<PointShown>,
}

/// What has moved in one step.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PointShown {
    /// When the step begins, in seconds since 1970.
    time: u64,
    /// Requests that have ended.
    requests: u64,
    /// Visits that have ended.
    visits: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// Requests and visits that did not get what they came for, through no fault of their visitor.
    errors: u64,
    /// How long it took until the first byte went back. Missing if none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_seconds: Option<PercentilesShown>,
}

/// The times that so many percent of all were not longer than, with an error of 9.1 % at most.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PercentilesShown {
    p50: f64,
    p95: f64,
    p99: f64,
}

impl From<Point> for PointShown {
    fn from(point: Point) -> Self {
        let Point { time, requests, visits, bytes_in, bytes_out, errors, first_byte } = point;
        let shown = |Percentiles { p50, p95, p99 }| PercentilesShown {
            p50: p50.as_secs_f64(),
            p95: p95.as_secs_f64(),
            p99: p99.as_secs_f64(),
        };
        Self {
            time: seconds(time),
            requests,
            visits,
            bytes_in,
            bytes_out,
            errors,
            first_byte_seconds: first_byte.map(shown),
        }
    }
}

/// What has moved at a tunnel, at those of an owner, or at all of the relay.
#[utoipa::path(
    get, path = "/statistics", tag = "statistics", operation_id = "get_statistics", params(Wanted),
    responses((status = 200, body = Moved), Problems)
)]
pub(super) async fn moved(
    State(api): State<Api>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Moved>, Problem> {
    let scope = match (&wanted.tunnel, &wanted.owner) {
        (Some(id), _) => {
            let (owner, name) = of_tunnel(&caller, id)?;
            Scope::Tunnel { owner: owner.into(), name: name.into() }
        }
        (None, Some(owner)) => {
            caller.must_be(owner)?;
            Scope::Owner(owner.as_str().into())
        }
        (None, None) => match caller.owner().filter(|_| !caller.is_admin()) {
            Some(owner) => {
                caller.must_be(&owner.to_string())?;
                Scope::Owner(owner.to_string().into())
            }
            None => {
                caller.must_be_admin()?;
                Scope::Relay
            }
        },
    };
    let to = wanted.to.unwrap_or_else(|| seconds(SystemTime::now()) + 1);
    let from = wanted.from.unwrap_or_else(|| to.saturating_sub(USUAL_TIME));
    let step = wanted.step.unwrap_or(USUAL_STEP);
    let span = Span::new(moment(from)?, moment(to)?, Duration::from_secs(step));
    let span = span.map_err(|err| Problem::invalid(err.to_string()))?;
    let points = api.statistics.of(&scope, &span).await.map_err(|err| of_store(&err))?;
    let points = points.into_iter().map(PointShown::from).collect();
    Ok(Json(Moved { step_seconds: step, points }))
}

/// Which entries of the history somebody wants.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedEntries {
    /// Of the tunnel with this id.
    tunnel: Option<String>,
    /// Of tunnels of this owner.
    owner: Option<String>,
    /// Requests with this method.
    method: Option<String>,
    /// Requests with a status of this hundred: 5 is for 500 to 599, 0 for no answer.
    #[param(maximum = 9)]
    class: Option<u16>,
    /// Requests in whose path this stands.
    q: Option<String>,
    /// That came at this time or later, in seconds since 1970.
    from: Option<u64>,
    /// That came before this time.
    to: Option<u64>,
    /// The most entries of the page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// Where the page begins: `next` of the page before.
    #[param(pattern = "^[0-9a-f]{1,15}-[0-9a-f]{1,15}$")]
    cursor: Option<String>,
}

/// A request or a visit that is over.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EntryShown {
    /// When it came, in milliseconds since 1970.
    time_ms: u64,
    /// The tunnel's id.
    tunnel: String,
    /// `http`, `tcp`, or `left_out`: in these seconds so many more came than are kept.
    kind: &'static str,
    /// Its number, as in the logs of both ends.
    id: String,
    /// Who came, if that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    visitor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// With its query, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Zero: it was not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why the relay answered it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
    /// How long it took in all.
    length_seconds: f64,
    /// How long it took until the first byte went back.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_seconds: Option<f64>,
    /// How many it stands for.
    count: u64,
}

impl From<&HistoryEntry> for EntryShown {
    fn from(entry: &HistoryEntry) -> Self {
        Self {
            time_ms: millis(entry.time),
            tunnel: format!("{}.{}", entry.owner, entry.tunnel),
            kind: entry.kind.label(),
            id: entry.id.clone(),
            visitor: entry.visitor.map(|visitor| visitor.to_string()),
            method: entry.method.clone(),
            host: entry.host.clone(),
            path: entry.path.clone(),
            status: entry.status,
            fault: entry.fault.clone(),
            outcome: entry.outcome.clone(),
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            length_seconds: entry.length.as_secs_f64(),
            first_byte_seconds: entry.first_byte.as_ref().map(Duration::as_secs_f64),
            count: entry.count,
        }
    }
}

/// Which requests and visits there were, the last ones first.
#[utoipa::path(
    get, path = "/history", tag = "statistics", operation_id = "list_history",
    params(WantedEntries),
    responses((status = 200, body = Page<EntryShown>), Problems)
)]
pub(super) async fn history(
    State(api): State<Api>,
    caller: Caller,
    Params(wanted): Params<WantedEntries>,
) -> Result<Json<Page<EntryShown>>, Problem> {
    let (owner, tunnel) = match (&wanted.tunnel, &wanted.owner) {
        (Some(id), _) => {
            let (owner, name) = of_tunnel(&caller, id)?;
            (Some(owner), Some(name))
        }
        (None, Some(owner)) => {
            caller.must_be(owner)?;
            (Some(owner.clone()), None)
        }
        (None, None) => {
            let owner = caller.owner().filter(|_| !caller.is_admin()).map(ToString::to_string);
            match &owner {
                Some(owner) => caller.must_be(owner)?,
                None => caller.must_be_admin()?,
            }
            (owner, None)
        }
    };
    let limit = wanted.limit.unwrap_or(USUAL_ENTRIES);
    if !(1..=MOST_ENTRIES).contains(&limit) {
        return Err(Problem::invalid(format!("`limit` is from 1 to {MOST_ENTRIES}")));
    }
    let cursor = wanted.cursor.map(|cursor| cursor.parse::<Cursor>()).transpose();
    let cursor = cursor.map_err(|_| Problem::invalid("`cursor` is not the `next` of a page"))?;
    let filter = HistoryFilter {
        owner,
        tunnel,
        method: wanted.method,
        class: wanted.class,
        text: wanted.q,
        from: wanted.from.map(moment).transpose()?,
        to: wanted.to.map(moment).transpose()?,
    };
    let page = api.history.page(&filter, cursor, limit).await.map_err(|err| of_store(&err))?;
    let HistoryPage { entries, next } = page;
    let items = entries.iter().map(|entry| EntryShown::from(&**entry)).collect();
    Ok(Json(Page::new(items, next.map(|next| next.to_string()))))
}

/// The owner and the name of a tunnel of the caller's, which may be gone.
fn of_tunnel(caller: &Caller, id: &str) -> Result<(String, String), Problem> {
    let (owner, name) = match id.rsplit_once('.') {
        Some((owner, name)) => (owner.to_owned(), name.to_owned()),
        None => {
            let owner = caller.owner().ok_or_else(|| Problem::not_found("tunnel"))?;
            (owner.to_string(), id.to_owned())
        }
    };
    match caller.may_see(&owner) {
        true => Ok((owner, name)),
        false => Err(Problem::not_found("tunnel")),
    }
}

fn of_store(err: &anyhow::Error) -> Problem {
    match err.downcast_ref::<StoreError>() {
        Some(err) => err.clone().into(),
        None => Problem::from(StoreError::Failed(format!("{err:#}"))),
    }
}

/// A time that somebody has written. Beyond what the clock reaches there is none.
fn moment(seconds: u64) -> Result<SystemTime, Problem> {
    /// The end of the year 9999.
    const LAST: u64 = 253_402_300_799;
    match seconds {
        ..=LAST => Ok(UNIX_EPOCH + Duration::from_secs(seconds)),
        _ => Err(Problem::invalid("a time is in seconds since 1970, and before the year 10000")),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
