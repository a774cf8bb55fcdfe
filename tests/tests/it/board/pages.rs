//! What people see.

use serde_json::json;

use super::{PAGES, Place, WINDOWS};

#[tokio::test]
async fn somebody_logs_in_with_a_token_that_is_forgotten_with_the_tab_and_logs_out() {
    let mut place = Place::new().await;
    place.page.go(&place.address()).await;
    place.page.shows("where to log in", "document.querySelector('.login input')").await;
    let guess = "document.querySelector('.login input').value = 'a guess'; \
        document.querySelector('.login form').requestSubmit()";
    place.page.value(guess).await;
    place.page.shows("what is wrong", "document.querySelector('.complaint').textContent").await;
    place.enter().await;
    place.reads("root").await;
    assert_eq!(place.page.value("localStorage.length + document.cookie.length").await, 0);
    // It is still there after the page is loaded again.
    place.page.value("location.reload()").await;
    place.page.shows("the overview", "document.querySelector('.tiles')").await;
    place.click("Log out").await;
    place.page.shows("where to log in", "document.querySelector('.login input')").await;
    assert_eq!(place.page.value("sessionStorage.length").await, 0);
    place.expect_no_complaints().await;
}

#[tokio::test]
async fn a_tunnel_shows_up_when_its_client_comes_and_can_be_found_and_copied() {
    let mut place = Place::entered().await;
    place.reads("client http 3000 --server").await;
    place.at("#/tunnels").await;
    let client = place.client(&["shop", "search"]).await;
    place.reads("search").await;
    place.page.press("/").await;
    for letter in ["s", "h", "o"] {
        place.page.press(letter).await;
    }
    place.page.shows("one of them", "document.querySelectorAll('.rows .row').length === 1").await;
    assert_eq!(place.texts(".rows .row-name").await, json!(["shop"]));
    assert_eq!(place.texts(".found").await, json!(["1 of 3 tunnels"]));
    place.page.value("document.addEventListener('copy', () => { window.copied = String(getSelection()) || document.activeElement.value })").await;
    place
        .page
        .value("navigator.clipboard.writeText = async (text) => { window.copied = text }")
        .await;
    place.click("Copy the address").await;
    place.page.shows("what is copied", "window.copied?.startsWith('tcp://')").await;
    place.click("Show as a QR code").await;
    place
        .page
        .shows(
            "the code",
            "document.querySelector('dialog .qr-dark').getAttribute('d').length > 500",
        )
        .await;
    place.page.press("Escape").await;
    place.page.value("document.querySelector('dialog')?.close()").await;

    place.at("#/tunnels/ann.shop").await;
    place.reads("sallyport-client/").await;
    drop(client);
    place.reads("No client serves it").await;
    place.expect_no_complaints().await;
}

#[tokio::test]
async fn rows_keep_their_place_while_somebody_points_at_them() {
    let mut place = Place::entered().await;
    let _first = place.client(&["m1", "m2"]).await;
    place.at("#/tunnels").await;
    place.reads("m2").await;
    let at = place
        .page
        .value("(({ x, y }) => [x, y])(document.querySelector('.rows').getBoundingClientRect())")
        .await;
    let [x, y] = [0, 1].map(|n| at[n].as_f64().expect("a number") as u32 + 40);
    place.page.point(x, y).await;
    let _second = place.client(&["a1"]).await;
    place.reads("a1").await;
    assert_eq!(place.texts(".rows .row-name").await, json!(["default", "m1", "m2", "a1"]));
    place.page.point(1, 1).await;
    let sorted = "[...document.querySelectorAll('.rows .row-name')].map((one) => one.textContent).join() === 'default,a1,m1,m2'";
    place.page.shows("them in their order", sorted).await;
}

#[tokio::test]
async fn everything_has_its_place_on_a_phone_and_on_a_wide_screen() {
    let mut place = Place::entered().await;
    let _client =
        place.client(&["a-name-that-is-about-as-long-as-any-of-them-may-ever-be-here"]).await;
    for (width, height) in WINDOWS {
        place.page.resize(width, height).await;
        for at in PAGES
            .into_iter()
            .chain(["#/tunnels/ann.a-name-that-is-about-as-long-as-any-of-them-may-ever-be-here"])
        {
            place.at(at).await;
            let wide = place.page.value("document.documentElement.scrollWidth").await;
            assert!(wide.as_u64() <= Some(width.into()), "{at}: {wide} of {width}");
        }
    }
    place.expect_no_complaints().await;
}

#[tokio::test]
async fn pages_are_reached_with_two_keys_and_a_third_says_which() {
    let mut place = Place::entered().await;
    place.page.press("?").await;
    place.page.shows("the keys", "document.querySelectorAll('dialog kbd').length > 10").await;
    place.page.value("document.querySelector('dialog').close()").await;
    for (key, title) in [("t", "Tunnels"), ("k", "Tokens"), ("b", "Bans"), ("o", "Overview")] {
        place.page.press("g").await;
        place.page.press(key).await;
        let there = format!("document.querySelector('h1').textContent === {}", json!(title));
        place.page.shows(title, &there).await;
        // Whoever does not see the page is where it begins.
        assert_eq!(place.page.value("document.activeElement.tagName").await, "H1");
    }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "the figures that the test is for")]
async fn ten_thousand_tunnels_are_a_few_rows_of_the_page() {
    let mut place = Place::new().await;
    place.page.before_each(include_str!("many.js")).await;
    place.enter().await;
    place.at("#/tunnels").await;
    place.reads("10,000 tunnels").await;
    place.page.shows("rows", "document.querySelectorAll('.rows .row').length > 5").await;
    let seen = place.page.value(include_str!("scroll.js")).await;
    eprintln!("10,000 tunnels: {seen}");
    assert!(seen["rows"].as_u64() < Some(60), "{seen}");
    assert_eq!(seen["last"], "t9999");
    place.expect_no_complaints().await;
}
