//! Long lists, page by page.

use axum::extract::FromRequestParts;
use axum::extract::Query;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

/// So many are on a page unless the caller says otherwise, and so many at most.
const USUAL: u16 = 100;
const MOST: u16 = 1000;

/// The longest cursor in characters: it is the key of an entry, which is a name or two.
const LONGEST: usize = 512;

/// Which page of a list somebody wants.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// The most entries of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// Where the page begins: `next` of the page before.
    #[param(max_length = 512)]
    cursor: Option<String>,
}

/// The same, made sense of.
#[derive(Clone, Debug)]
pub(super) struct Paging {
    limit: usize,
    /// The key of the last entry of the page before.
    after: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// What is on it.
    items: Vec<T>,
    /// The `cursor` of the next page. Missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn new(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next }
    }
}

impl Paging {
    /// The page of a list whose entries come in the order of these keys.
    pub(super) fn of<T>(
        &self,
        entries: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Page<T> {
        let is_left = |entry: &T| self.after.as_ref().is_none_or(|after| key(entry) > *after);
        let mut rest = entries.into_iter().filter(is_left);
        let items: Vec<T> = rest.by_ref().take(self.limit).collect();
        let next = rest.next().and_then(|_| items.last());
        Page { next: next.map(key), items }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<PageQuery>::from_request_parts(parts, state).await;
        let Query(PageQuery { limit, cursor }) =
            query.map_err(|err| Problem::invalid(err.body_text()))?;
        let limit = limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::invalid(format!("`limit` is from 1 to {MOST}")));
        }
        if cursor.as_ref().is_some_and(|cursor| cursor.chars().count() > LONGEST) {
            return Err(Problem::invalid("`cursor` is not the `next` of a page"));
        }
        Ok(Self { limit: limit.into(), after: cursor })
    }
}

/// Numbers as keys: in the order of their values.
pub(super) fn number(n: u64) -> String {
    format!("{n:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_although_entries_come_and_go() {
        let mut names: Vec<String> = (0..5).map(|n| format!("n{n}")).collect();
        let page = |names: &[String], after: Option<String>| {
            let paging = Paging { limit: 2, after };
            paging.of(names.to_vec(), Clone::clone)
        };
        let first = page(&names, None);
        assert_eq!(first.items, ["n0", "n1"]);
        let after = first.next.expect("more");
        names.retain(|name| name != "n1");
        names.insert(0, "m".into());
        let second = page(&names, Some(after));
        assert_eq!(second.items, ["n2", "n3"]);
        let last = page(&names, Some(second.next.expect("more")));
        assert_eq!((last.items, last.next), (vec!["n4".to_owned()], None));
    }

    #[test]
    fn numbers_sort_by_their_value() {
        assert!(number(9) < number(10) && number(10) < number(u64::MAX));
    }
}
