//! What strangers can write is text wherever it is shown.

use relay::Anonymous;
use serde_json::json;
use shared::control::protocol::Hello;
use tests::rogue::{RogueClient, hello};
use tests::{Browser, World};

use super::{PAGES, Place};

/// What would run if it were read as something else than text. Each sets `window.ran`.
const PAYLOADS: [&str; 12] = [
    "<script>window.ran=1</script>",
    "<img src=x onerror=window.ran=1>",
    "\"><svg onload=window.ran=1>",
    "'><iframe srcdoc=\"<script>parent.ran=1</script>\">",
    "javascript:window.ran=1",
    "JaVaScRiPt:window.ran=1//",
    "data:text/html,<script>opener.ran=1</script>",
    "</textarea><script>window.ran=1</script>",
    "{{constructor.constructor('window.ran=1')()}}",
    "${window.ran=1}",
    "\u{202e}<a href=javascript:window.ran=1>click</a>",
    "<style>@import 'javascript:window.ran=1'</style><math><mi//xlink:href=\"data:x,<script>window.ran=1</script>\">",
];

/// Clicks whatever is a link to somewhere else, since no test waits for somebody who does.
const CLICK: &str = "document.querySelectorAll('main a').forEach((link) => \
    { if (!link.hash || link.protocol !== location.protocol) \
    { link.removeAttribute('target'); link.addEventListener('click', (event) => \
    event.defaultPrevented || link.protocol.startsWith('http') && event.preventDefault()); link.click() } })";

#[tokio::test]
async fn the_agent_of_a_client_is_text() {
    let world =
        World::start_with(|settings| settings.access.anonymous = Some(Anonymous::Any)).await;
    let mut rogues = Vec::new();
    for payload in PAYLOADS {
        let greeting = Hello { agent: payload.into(), ..hello(&["default"]) };
        let mut rogue = RogueClient::connect(world.addrs.control, greeting).await;
        rogue.receive().await;
        rogues.push(rogue);
    }
    let (_browser, mut page) = Browser::driven().await;
    page.resize(1440, 2000).await;
    for at in ["#/clients", "#/tunnels/(anybody).default", "#/"] {
        page.go(&format!("http://{}/{at}", world.addrs.admin)).await;
        let text = if at == "#/" { "Overview" } else { PAYLOADS[0] };
        let there = format!("document.querySelector('main').innerText.includes({})", json!(text));
        page.shows(at, &there).await;
        page.value(CLICK).await;
    }
    assert_eq!(page.value("typeof window.ran").await, "undefined");
    let complaints = page.complaints().await;
    assert!(complaints.is_empty(), "{complaints:#?}");
    for rogue in rogues {
        rogue.close().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn whatever_the_relay_tells_is_text() {
    for (number, payload) in PAYLOADS.into_iter().enumerate() {
        // A browser for a few of them is enough: all that differs is the text.
        if number % 4 != 0 {
            continue;
        }
        let mut place = Place::new().await;
        let _client = place.client(&["shop"]).await;
        let all =
            json!(PAYLOADS.iter().skip(number).take(4).copied().collect::<Vec<_>>().join(" "));
        let script = include_str!("hostile.js");
        let script =
            script.replace("ALL", &all.to_string()).replace("ONE", &json!(payload).to_string());
        place.page.before_each(&script).await;
        place.enter().await;
        for at in PAGES {
            place.at(at).await;
            place.page.value(CLICK).await;
        }
        place.at("#/tunnels").await;
        let row = "document.querySelector('.rows a.row-name')";
        place.page.shows("a row", row).await;
        place.page.value(&format!("{row}.click()")).await;
        place.page.shows("the tunnel", "document.querySelector('.figures')").await;
        place.page.value(CLICK).await;
        let inner = place
            .page
            .value("document.querySelectorAll('main iframe, main img, main script').length")
            .await;
        assert_eq!(inner, 0);
        assert_eq!(place.page.value("typeof window.ran").await, "undefined", "{payload}");
        place.expect_no_complaints().await;
    }
}
