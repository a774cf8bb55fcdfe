//! `/tokens`: what lets clients in, and callers of the API.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use shared::token::{Grant, Scope, Token, TokenId};
use utoipa::ToSchema;

use super::caller::Caller;
use super::page::{Page, PageQuery, Paging};
use super::problem::{Code, Problem, Problems};
use super::{Api, Content, Params};
use crate::store::{Name, NewToken, Store, TokenRecord};

/// A token that is to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenWanted {
    /// Whose it is. Without it: the caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9._-]{1,63}$")]
    owner: Option<Name>,
    /// What it is called, to be told from others of the owner.
    #[schema(value_type = String, pattern = "^[a-z0-9._-]{1,63}$", example = "laptop")]
    name: Name,
    /// What its holder may do. What is left out is not limited.
    #[serde(default, deserialize_with = "Grant::object")]
    #[schema(value_type = Object)]
    grant: Grant,
}

/// How a token is replaced.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// For how many seconds the old one goes on being good.
    #[serde(default)]
    #[schema(maximum = 31_536_000)]
    overlap_seconds: u32,
}

/// A token that has just been made. What it is, is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeToken {
    /// The token itself.
    token: String,
    #[serde(flatten)]
    record: TokenRecord,
}

/// Which tokens somebody wants.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only those of this owner.
    owner: Option<String>,
    /// Those that were revoked or replaced as well.
    #[serde(default)]
    all: bool,
}

/// All tokens that are the caller's, by their ids.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens", operation_id = "list_tokens",
    params(Wanted, PageQuery),
    responses((status = 200, body = Page<TokenRecord>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
    paging: Paging,
) -> Result<Json<Page<TokenRecord>>, Problem> {
    let mut tokens = api.store()?.tokens().await?;
    tokens.retain(|token| {
        caller.may_see(token.owner.as_str())
            && wanted.owner.as_ref().is_none_or(|owner| owner == token.owner.as_str())
            && (wanted.all || token.is_in_use())
    });
    tokens.sort_by_cached_key(|token| token.id.to_string());
    Ok(Json(paging.of(tokens, |token| token.id.to_string())))
}

/// One token.
#[utoipa::path(
    get, path = "/tokens/{token}", tag = "tokens", operation_id = "get_token",
    params(("token" = String, Path, description = "Its id.")),
    responses((status = 200, body = TokenRecord), Problems)
)]
pub(super) async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TokenRecord>, Problem> {
    Ok(Json(find(api.store()?, &caller, &id).await?))
}

/// Makes a token.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens", operation_id = "create_token",
    request_body = TokenWanted,
    responses((status = 201, body = MadeToken), Problems)
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Content(TokenWanted { owner, name, grant }): Content<TokenWanted>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    let store = api.store()?;
    let owner = match owner {
        Some(owner) => owner,
        None => caller.user().ok_or_else(|| Problem::invalid("say whose token it is: `owner`"))?,
    };
    caller.must_be(owner.as_str())?;
    may_hand_on(&caller, &grant)?;
    let token = Token::random();
    let (id, verifier) = (token.id(), token.verifier());
    let new = NewToken { id, owner, name, verifier, grant };
    store.create_token(&new).await?;
    made(store, &token).await.map(|made| (StatusCode::CREATED, Json(made)))
}

/// Puts a new token in the place of one, with the same name and rights.
#[utoipa::path(
    post, path = "/tokens/{token}/rotate", tag = "tokens", operation_id = "rotate_token",
    params(("token" = String, Path, description = "Its id.")), request_body = Rotation,
    responses((status = 201, body = MadeToken), Problems)
)]
pub(super) async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Content(rotation): Content<Rotation>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    let store = api.store()?;
    let TokenRecord { id, grant, .. } = find(store, &caller, &id).await?;
    may_hand_on(&caller, &grant)?;
    if grant.ends().is_some_and(|end| end <= SystemTime::now()) {
        return Err(Problem::new(Code::Conflict, "the token has expired: make another one"));
    }
    let overlap = Some(rotation.overlap_seconds).filter(|seconds| *seconds > 0);
    let overlap = overlap.map(|seconds| Duration::from_secs(seconds.into()));
    let token = Token::random();
    store.rotate_token(id, token.id(), token.verifier(), &grant, overlap).await?;
    made(store, &token).await.map(|made| (StatusCode::CREATED, Json(made)))
}

/// Revokes a token, and what was narrowed from it, and ends the sessions that there are.
#[utoipa::path(
    delete, path = "/tokens/{token}", tag = "tokens", operation_id = "revoke_token",
    params(("token" = String, Path, description = "Its id.")),
    responses((status = 204), Problems)
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let store = api.store()?;
    let record = find(store, &caller, &id).await?;
    store.revoke_token(record.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(store: &Store, caller: &Caller, id: &str) -> Result<TokenRecord, Problem> {
    let not_there = || Problem::not_found("token");
    let id: TokenId = id.parse().map_err(|_| not_there())?;
    let record = store.token(id).await?.filter(|token| caller.may_see(token.owner.as_str()));
    record.ok_or_else(not_there)
}

async fn made(store: &Store, token: &Token) -> Result<MadeToken, Problem> {
    let record = store.token(token.id()).await?;
    let record = record.ok_or_else(|| Problem::new(Code::Conflict, "it was deleted at once"))?;
    Ok(MadeToken { token: token.to_string(), record })
}

/// Nobody makes a token that can do more than they can themselves.
fn may_hand_on(caller: &Caller, grant: &Grant) -> Result<(), Problem> {
    if caller.is_limited() {
        return Err(Problem::forbidden(
            "a token that is limited makes no others over the API: narrow it (client token narrow)",
        ));
    }
    if grant.scopes.contains(&Scope::Admin) && !caller.is_admin() {
        return Err(Problem::forbidden("only an admin makes tokens with the scope `admin`"));
    }
    Ok(())
}
