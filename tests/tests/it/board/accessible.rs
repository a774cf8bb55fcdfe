//! Whether the board is for those who do not see it, or do not see all of it.

use tests::axe;

use super::{PAGES, Place, WINDOWS};

#[tokio::test]
async fn axe_finds_nothing_serious_on_any_page() {
    let mut place = Place::new().await;
    place.page.go(&place.address()).await;
    place.page.shows("where to log in", "document.querySelector('.login input')").await;
    axe::examine(&mut place.page, "log in").await;
    place.enter().await;
    let _client = place.client(&["shop", "search"]).await;
    place.at("#/tunnels").await;
    place.reads("search").await;
    for scheme in ["light", "dark"] {
        place.page.colours(scheme).await;
        for (width, height) in WINDOWS {
            place.page.resize(width, height).await;
            for at in PAGES.into_iter().chain(["#/tunnels/ann.shop"]) {
                place.at(at).await;
                axe::examine(&mut place.page, &format!("{at} {scheme} {width}")).await;
            }
        }
        place.at("#/tokens").await;
        place.click("New token").await;
        axe::examine(&mut place.page, &format!("a window {scheme}")).await;
        place.click("Cancel").await;
    }
}
