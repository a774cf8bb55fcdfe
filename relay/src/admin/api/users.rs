//! `/users`: who may have tokens.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::page::{Page, PageQuery, Paging};
use super::problem::{Problem, Problems};
use super::{Api, Content};
use crate::store::{Name, Store, User};

/// A user that is to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    #[schema(value_type = String, pattern = "^[a-z0-9._-]{1,63}$", example = "ann")]
    name: Name,
}

/// What becomes of a user.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserChange {
    /// Whether none of the user's tokens is good.
    disabled: bool,
}

async fn find(store: &Store, name: &Name) -> Result<User, Problem> {
    let users = store.users().await?;
    users.into_iter().find(|user| user.name == *name).ok_or_else(|| Problem::not_found("user"))
}

/// All users.
#[utoipa::path(
    get, path = "/users", tag = "users", operation_id = "list_users", params(PageQuery),
    responses((status = 200, body = Page<User>), Problems)
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Page<User>>, Problem> {
    caller.must_be_admin()?;
    let users = api.store()?.users().await?;
    Ok(Json(paging.of(users, |user| user.name.to_string())))
}

/// One user.
#[utoipa::path(
    get, path = "/users/{user}", tag = "users", operation_id = "get_user",
    params(("user" = String, Path, description = "The name.")),
    responses((status = 200, body = User), Problems)
)]
pub(super) async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<User>, Problem> {
    if !caller.may_see(&name) {
        return Err(Problem::not_found("user"));
    }
    Ok(Json(find(api.store()?, &known(&name)?).await?))
}

/// Makes a user.
#[utoipa::path(
    post, path = "/users", tag = "users", operation_id = "create_user", request_body = NewUser,
    responses((status = 201, body = User), Problems)
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Content(new): Content<NewUser>,
) -> Result<(StatusCode, Json<User>), Problem> {
    caller.must_be_admin()?;
    let store = api.store()?;
    store.create_user(&new.name).await?;
    Ok((StatusCode::CREATED, Json(find(store, &new.name).await?)))
}

/// Disables a user, or enables one again.
#[utoipa::path(
    patch, path = "/users/{user}", tag = "users", operation_id = "change_user",
    params(("user" = String, Path, description = "The name.")), request_body = UserChange,
    responses((status = 200, body = User), Problems)
)]
pub(super) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
    Content(change): Content<UserChange>,
) -> Result<Json<User>, Problem> {
    caller.must_be_admin()?;
    let (store, name) = (api.store()?, known(&name)?);
    store.disable_user(&name, change.disabled).await?;
    Ok(Json(find(store, &name).await?))
}

/// Deletes a user with all that is the user's, and ends the sessions that there are.
#[utoipa::path(
    delete, path = "/users/{user}", tag = "users", operation_id = "delete_user",
    params(("user" = String, Path, description = "The name.")),
    responses((status = 204), Problems)
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.must_be_admin()?;
    api.store()?.delete_user(&known(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What can be no name is none that there is.
pub(super) fn known(name: &str) -> Result<Name, Problem> {
    name.parse().map_err(|_| Problem::not_found("user"))
}
