//! The board, in a real browser.

mod accessible;
mod files;
mod hostile;
mod pages;
mod steered;

use serde_json::{Value, json};
use tests::kept::{Kept, client};
use tests::process::{Client, Relay};
use tests::{Browser, Local, Page, local};

/// A relay with a user, and a browser that shows its board to somebody with a token.
struct Place {
    page: Page,
    relay: Relay,
    /// What ann's clients show.
    token: String,
    /// What the browser shows.
    admin: String,
    service: Local,
    kept: Kept,
    _browser: Browser,
}

/// The windows in which everything has to have its place.
const WINDOWS: [(u32, u32); 2] = [(390, 844), (1440, 900)];

/// The pages that there are.
const PAGES: [&str; 8] =
    ["#/", "#/tunnels", "#/clients", "#/tokens", "#/users", "#/names", "#/certificates", "#/bans"];

impl Place {
    async fn new() -> Self {
        let kept = Kept::in_a_file();
        for user in ["ann", "root"] {
            kept.ask(&["user", "create", user]).await;
        }
        let (token, _) = kept.token("ann", "laptop", &[]).await;
        let (admin, _) = kept.token("root", "board", &["--scope", "admin"]).await;
        let relay = kept.relay().await;
        let (browser, mut page) = Browser::driven().await;
        page.resize(1440, 900).await;
        Self { page, relay, token, admin, service: local::echo().await, kept, _browser: browser }
    }

    /// The same, and somebody has logged in.
    async fn entered() -> Self {
        let mut place = Self::new().await;
        place.enter().await;
        place
    }

    fn address(&self) -> String {
        format!("http://{}/", self.relay.admin)
    }

    /// Logs in with the admin's token.
    async fn enter(&mut self) {
        self.page.go(&self.address()).await;
        self.page.shows("where to log in", "document.querySelector('.login input')").await;
        let token = json!(self.admin);
        let script = format!(
            "document.querySelector('.login input').value = {token}; \
             document.querySelector('.login form').requestSubmit()"
        );
        self.page.value(&script).await;
        self.page.shows("the overview", "document.querySelector('.tiles')").await;
    }

    /// Goes to a page of the board.
    async fn at(&mut self, hash: &str) {
        let hash = json!(hash);
        self.page.value(&format!("location.hash = {hash}")).await;
        let there = format!(
            "document.querySelector('h1') && !document.querySelector('main .skeleton') && \
             decodeURI(location.hash || '#/') === {hash}"
        );
        self.page.shows("the page with all that is on it", &there).await;
    }

    /// A client of ann's with these tunnels to a service that answers.
    async fn client(&self, tunnels: &[&str]) -> Client {
        let named: Vec<_> =
            tunnels.iter().map(|name| format!("{name}={}", self.service.addr())).collect();
        let args: Vec<_> = named.iter().flat_map(|one| ["--tunnel", one]).collect();
        let mut client = client(&self.relay, &self.token, &args);
        for _ in tunnels {
            client.event("live").await;
        }
        client
    }

    /// Waits until the page has this text.
    async fn reads(&mut self, text: &str) {
        let there = format!("document.body.innerText.includes({})", json!(text));
        self.page.shows(text, &there).await;
    }

    /// Clicks a button with this text or label, in the window in front if there is one.
    async fn click(&mut self, name: &str) {
        let find = format!(
            "[...(document.querySelector('dialog[open]') ?? document).querySelectorAll('button, a')]\
             .find((one) => one.offsetParent && \
             (one.getAttribute('aria-label') ?? one.textContent) === {})",
            json!(name)
        );
        self.page.shows(&format!("the button {name}"), &find).await;
        self.page.value(&format!("{find}.click()")).await;
    }

    /// Writes into the field of this name in the window in front.
    async fn write(&mut self, field: &str, text: &str) {
        let script = format!(
            "document.querySelector('dialog[open] [name={field}]').value = {}",
            json!(text)
        );
        self.page.value(&script).await;
    }

    /// What there is, whose text this is.
    async fn texts(&mut self, selector: &str) -> Value {
        let script = format!(
            "[...document.querySelectorAll({})].map((one) => one.textContent)",
            json!(selector)
        );
        self.page.value(&script).await
    }

    async fn expect_no_complaints(&mut self) {
        let complaints = self.page.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}
