//! What people do.

use serde_json::json;
use tests::api::Caller;

use super::Place;

#[tokio::test]
async fn a_user_is_made_and_a_token_that_is_shown_once_lets_a_client_in_until_it_is_revoked() {
    let mut place = Place::entered().await;
    place.at("#/users").await;
    place.click("New user").await;
    place.write("name", "bob").await;
    place.click("Make the user").await;
    place.page.shows("the window to be gone", "!document.querySelector('dialog')").await;
    place
        .page
        .shows(
            "bob",
            "[...document.querySelectorAll('li b')].some((one) => one.textContent === 'bob')",
        )
        .await;

    place.at("#/tokens").await;
    place.click("New token").await;
    place.write("owner", "bob").await;
    place.write("name", "ci").await;
    place.write("tunnels", "web-* api").await;
    place.write("max_tunnels", "2").await;
    place.page.value("document.querySelector('dialog [value=own]').click()").await;
    place.click("Make it").await;
    place.page.shows("the token", "document.querySelector('dialog .secret')").await;
    let token = place.texts("dialog .secret").await[0].as_str().expect("a token").to_owned();
    place.click("Close").await;
    place.page.shows("the window to be gone", "!document.querySelector('dialog')").await;
    place.reads("bob/ci").await;
    for limit in ["scopes: own", "tunnels: web-* api", "2 tunnels"] {
        place.reads(limit).await;
    }
    let kept = place.page.value("document.documentElement.outerHTML").await.to_string();
    assert!(!kept.contains(&token), "it is shown once");
    let bob = Caller::holder(place.relay.admin, &token);
    assert_eq!(bob.get("/me").await.is(200).json["name"], "bob");

    place.click("Revoke bob/ci").await;
    // Whoever is in a hurry cancels.
    assert_eq!(place.page.value("document.activeElement.textContent").await, "Cancel");
    place.click("Revoke it").await;
    place.page.shows("the token to be gone", "!document.body.innerText.includes('bob/ci')").await;
    tests::eventually("the token to be good for nothing", async || {
        bob.get("/me").await.status == 401
    })
    .await;
    place.expect_no_complaints().await;
}

#[tokio::test]
async fn what_the_relay_cannot_do_has_no_button_and_what_it_can_is_asked_for_as_its_document_says()
{
    let mut place = Place::new().await;
    place.page.before_each(include_str!("later.js")).await;
    let _client = place.client(&["shop"]).await;
    place.enter().await;
    place.at("#/clients").await;
    place.reads("sallyport-client/").await;
    let end = "document.querySelector('.rows .session-acts button').click()";
    place.page.value(end).await;
    place.click("End it").await;
    place.page.shows("the call", "window.called?.length === 1").await;
    place.at("#/tunnels/ann.shop").await;
    place.click("Pause").await;
    place.page.shows("the call", "window.called.length === 2").await;
    place.click("Delete …").await;
    place.click("Delete it").await;
    place.page.shows("the call", "window.called.length === 3").await;
    let called = place.page.value("window.called").await;
    assert!(called[0].as_str().is_some_and(|one| one.starts_with("DELETE /api/v1/sessions/")));
    assert_eq!(called[1], "POST /api/v1/tunnels/ann.shop/pause");
    assert_eq!(called[2], json!("DELETE /api/v1/tunnels/ann.shop"));
    place.expect_no_complaints().await;
}

#[tokio::test]
async fn whoever_may_see_their_own_is_offered_nothing_else() {
    let mut place = Place::new().await;
    let (own, _) = place.kept.token("ann", "board", &["--scope", "own"]).await;
    place.admin = own;
    place.enter().await;
    let offered = place.texts("#nav a").await;
    assert_eq!(offered, json!(["Overview", "Tunnels", "Clients", "Tokens", "Names"]));
    place.at("#/tokens").await;
    place.click("New token").await;
    place.write("name", "phone").await;
    let fields = place
        .page
        .value("document.querySelectorAll('dialog [name=owner], dialog [value=admin]').length")
        .await;
    assert_eq!(fields, 0);
    place.click("Make it").await;
    place.page.shows("the token", "document.querySelector('dialog .secret')").await;
    place.expect_no_complaints().await;
}
