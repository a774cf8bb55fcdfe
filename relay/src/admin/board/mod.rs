//! The board: the pages on which people see and steer what the API tells and does.
//!
//! Its files are part of the program ([`files`]). The page itself is asked for anew each time, and
//! names a folder that has the version of all other files in its name: these never change, and are kept
//! by browsers for good. The pages hold nothing that is anybody's; whoever they are shown to says who
//! they are to the API.

mod files;

use std::sync::Arc;

use async_compression::Level;
use async_compression::tokio::write::GzipEncoder;
use aws_lc_rs::digest::{Context, SHA256};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::BASE64URL_NOPAD;
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

use self::files::{FILES, PAGE};
use super::routes::HINT;
use crate::web::weights::weighted;

/// So much of a hash tells one version from another.
const LENGTH: usize = 12;

/// What the page may do: run and show what comes from here, ask whatever is here, and be in nobody's
/// frame. Nothing in it is read as HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// What is sent with every file.
const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// The board. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<Pages>);

#[derive(Debug)]
struct Pages {
    version: String,
    page: File,
    /// In the order of [`FILES`].
    files: Vec<File>,
}

/// A file, as it is and compressed.
#[derive(Debug)]
struct File {
    name: &'static str,
    content: Bytes,
    tag: String,
    /// Made when it is first wanted, and kept.
    small: OnceCell<Bytes>,
}

impl Board {
    pub(super) fn new() -> Self {
        let files = FILES.map(|(name, text)| File::new(name, Bytes::from_static(text.as_bytes())));
        let mut all = Context::new(&SHA256);
        for file in &files {
            all.update(file.tag.as_bytes());
        }
        let version = shortened(all);
        // All modules are asked for at once, and not when the one before has named them.
        let modules = FILES.iter().map(|(name, _)| *name).filter(|name| is_module(name));
        let link = |name| format!("<link rel=\"modulepreload\" href=\"/board/VERSION/{name}\">\n");
        let page = PAGE.replace("MODULES\n", &modules.map(link).collect::<String>());
        let page = File::new("index.html", page.replace("VERSION", &version).into());
        Self(Arc::new(Pages { version, page, files: files.into() }))
    }

    /// The page, and whatever belongs to it.
    pub(super) fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        Router::new()
            .route("/", get(front))
            .route("/login", get(page))
            .route("/board/{version}/{name}", get(file))
            .with_state(self)
    }
}

/// Whether a script is loaded by another one, and not by the page.
fn is_module(name: &str) -> bool {
    name.ends_with(".js") && !["app.js", "theme.js"].contains(&name)
}

/// People get the page, and programs, which would not know what to do with it, are told where to ask.
async fn front(board: State<Board>, headers: HeaderMap) -> Response {
    let mut answer = match wants(&headers, ACCEPT, "text/html") {
        true => page(board, headers).await,
        false => (StatusCode::NOT_FOUND, HINT).into_response(),
    };
    answer.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    answer
}

async fn page(State(Board(pages)): State<Board>, headers: HeaderMap) -> Response {
    pages.page.answer(&headers, "no-cache").await
}

async fn file(
    State(Board(pages)): State<Board>,
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let found = pages.files.iter().find(|file| file.name == name && pages.version == version);
    match found {
        Some(file) => file.answer(&headers, "public, max-age=31536000, immutable").await,
        // It may be there in a while, with the next version of the relay.
        None => (StatusCode::NOT_FOUND, [(CACHE_CONTROL, "no-store")], HINT).into_response(),
    }
}

impl File {
    fn new(name: &'static str, content: Bytes) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(&content);
        Self { name, content, tag: shortened(hash), small: OnceCell::new() }
    }

    async fn answer(&self, headers: &HeaderMap, cache: &'static str) -> Response {
        let small = match wants(headers, ACCEPT_ENCODING, "gzip") {
            true => self.small.get_or_try_init(|| compressed(&self.content)).await.ok(),
            false => None,
        };
        // The two are not the same bytes.
        let tag = format!("\"{}{}\"", self.tag, if small.is_some() { "-gzip" } else { "" });
        let is_seen = weighted(headers, IF_NONE_MATCH)
            .any(|seen| seen.name == "*" || seen.name.trim_start_matches("W/") == tag);
        let fixed = [(CACHE_CONTROL, cache), (VARY, "accept-encoding")];
        let head = (HEADERS, fixed, [(ETAG, tag)]);
        if is_seen {
            return (StatusCode::NOT_MODIFIED, head, Body::empty()).into_response();
        }
        let kind = [(CONTENT_TYPE, kind(self.name))];
        match small {
            Some(small) => {
                (head, kind, [(CONTENT_ENCODING, "gzip")], small.clone()).into_response()
            }
            None => (head, kind, self.content.clone()).into_response(),
        }
    }
}

/// Whether somebody takes something that they name.
fn wants(headers: &HeaderMap, list: HeaderName, name: &str) -> bool {
    weighted(headers, list).any(|one| one.name.eq_ignore_ascii_case(name) && one.weight != Some(0))
}

/// What a file is, by its name.
fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}

async fn compressed(content: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzipEncoder::with_quality(Vec::new(), Level::Best);
    encoder.write_all(content).await?;
    encoder.shutdown().await?;
    Ok(encoder.into_inner().into())
}

fn shortened(hash: Context) -> String {
    BASE64URL_NOPAD.encode(&hash.finish().as_ref()[..LENGTH])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_and_named_where_it_is_used() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/board");
        let there = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut there: Vec<_> = there.map(|name| name.into_string().unwrap()).collect();
        there.retain(|name| name != "index.html");
        there.sort();
        let names: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, there, "in this order");
        let all: String = FILES.iter().map(|(_, text)| *text).chain([PAGE]).collect();
        for name in names {
            let is_used = [format!("\"./{name}\""), format!("/board/VERSION/{name}\"")];
            assert!(is_used.iter().any(|used| all.contains(used)), "{name}");
        }
    }

    #[test]
    fn nothing_is_read_as_html_and_nothing_comes_from_elsewhere() {
        for (name, text) in FILES {
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "DOMParser",
                "createContextualFragment",
                "setHTML",
                "eval(",
                "new Function",
                "@import",
                "//cdn",
            ] {
                assert!(!text.contains(banned), "{banned} in {name}");
            }
            let others = text
                .split("http")
                .skip(1)
                .filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
            // The name of the vocabulary of SVG, which leads nowhere.
            let others = others.filter(|rest| !rest.starts_with("://www.w3.org/2000/svg"));
            assert_eq!(others.count(), 0, "{name}");
        }
        assert!(!PAGE.contains(" style=") && !PAGE.contains(" on") && !PAGE.contains("<style"));
    }
}
