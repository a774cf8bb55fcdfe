//! `/tunnels/{tunnel}/exchanges`: requests and their answers, found again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::theirs;
use super::view::ExchangeLine;
use crate::admin::api::caller::Caller;
use crate::admin::api::page::{Page, Paging, number};
use crate::admin::api::problem::{Problem, Problems};
use crate::admin::api::{Api, Params};
use crate::inspect::{Fields, Record};

/// Which exchanges somebody wants: those of which all of this is true.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Of a request of this method.
    method: Option<String>,
    /// Of a host with this text in it.
    host: Option<String>,
    /// Of a path or query with this text in it.
    path: Option<String>,
    /// With this status, or with one like `4xx`.
    status: Option<String>,
    /// With this header, or with `name: text` in its value, in the request or the answer.
    header: Option<String>,
    /// With this text in a body, an event or a message.
    body: Option<String>,
    /// With this text anywhere.
    q: Option<String>,
    /// The most entries of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    #[expect(dead_code, reason = "read with the page")]
    limit: Option<String>,
    /// Where the page begins: `next` of the page before.
    #[param(max_length = 512)]
    #[expect(dead_code, reason = "read with the page")]
    cursor: Option<String>,
}

impl Wanted {
    pub(super) fn fits(&self, record: &Record) -> bool {
        let is = |wanted: &Option<String>, fits: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || fits(wanted))
        };
        let asked = &record.asked;
        is(&self.method, &|method| asked.method.eq_ignore_ascii_case(method))
            && is(&self.host, &|text| contains(record.host.as_bytes(), text))
            && is(&self.path, &|text| contains(asked.target.as_bytes(), text))
            && is(&self.status, &|status| has_status(record, status))
            && is(&self.header, &|header| heads(record).any(|fields| has_header(fields, header)))
            && is(&self.body, &|text| has_body(record, text))
            && is(&self.q, &|text| has_anywhere(record, text))
    }
}

fn has_status(record: &Record, wanted: &str) -> bool {
    let status = record.answer.as_ref().map_or(0, |answer| answer.status);
    match wanted.strip_suffix("xx") {
        Some(class) => class.parse() == Ok(status / 100),
        None => wanted.parse() == Ok(status),
    }
}

fn heads(record: &Record) -> impl Iterator<Item = &Fields> {
    let sent = record.sent.as_ref().map(|sent| &sent.fields);
    let answer = record.answer.as_ref().map(|answer| &answer.fields);
    [&record.asked.fields].into_iter().chain(sent).chain(answer)
}

fn has_header(fields: &Fields, wanted: &str) -> bool {
    let (name, value) = wanted.split_once(':').unwrap_or((wanted, ""));
    let named = fields.0.iter().filter(|field| field.name.eq_ignore_ascii_case(name.trim()));
    named.into_iter().any(|field| contains(&field.value, value.trim()))
}

fn has_body(record: &Record, text: &str) -> bool {
    let answer = record.answer.as_ref().map(|answer| &answer.body);
    let mut bodies = [&record.request_body].into_iter().chain(answer);
    let mut messages = record.messages.iter().flat_map(|messages| &messages.list);
    bodies.any(|body| {
        let mut events = body.events.iter().flat_map(|events| &events.list);
        contains(&body.kept, text) || events.any(|event| contains(event.data.as_bytes(), text))
    }) || messages.any(|message| contains(&message.data, text))
}

fn has_anywhere(record: &Record, text: &str) -> bool {
    let first = [&record.asked.method, &record.host, &record.asked.target, &record.request_id];
    let in_field = |fields: &Fields| {
        let mut all = fields.0.iter();
        all.any(|field| contains(field.name.as_bytes(), text) || contains(&field.value, text))
    };
    first.into_iter().any(|one| contains(one.as_bytes(), text))
        || heads(record).any(in_field)
        || has_status(record, text)
        || has_body(record, text)
}

/// Whether a text is there, in whichever case.
fn contains(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    text.is_empty() || bytes.windows(text.len()).any(|there| there.eq_ignore_ascii_case(text))
}

/// The exchanges of a tunnel that are kept, the last one first.
#[utoipa::path(
    get, path = "/tunnels/{tunnel}/exchanges", tag = "inspector", operation_id = "list_exchanges",
    params(("tunnel" = String, Path, description = "Its id; of your own the name is enough."), Wanted),
    responses((status = 200, body = Page<ExchangeLine>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(tunnel): Path<String>,
    Params(wanted): Params<Wanted>,
    paging: Paging,
) -> Result<Json<Page<ExchangeLine>>, Problem> {
    let (_, whose) = theirs(&api, &caller, &tunnel)?;
    let kept = api.inspector.exchanges(&whose);
    let lines = kept.iter().filter_map(|exchange| {
        exchange.look(|record| wanted.fits(record).then(|| ExchangeLine::of(exchange, record)))?
    });
    // In the order of the list: the last one first.
    Ok(Json(paging.of(lines, |line| number(u64::MAX - line.id))))
}

/// Forgets all exchanges and captures of a tunnel.
#[utoipa::path(
    delete, path = "/tunnels/{tunnel}/exchanges", tag = "inspector",
    operation_id = "forget_exchanges",
    params(("tunnel" = String, Path, description = "Its id; of your own the name is enough.")),
    responses((status = 204), Problems)
)]
pub(super) async fn forget(
    State(api): State<Api>,
    caller: Caller,
    Path(tunnel): Path<String>,
) -> Result<StatusCode, Problem> {
    let (_, whose) = theirs(&api, &caller, &tunnel)?;
    api.inspector.forget(&whose);
    Ok(StatusCode::NO_CONTENT)
}
