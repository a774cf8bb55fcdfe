//! Requests that could be read in two ways: a local service never sees more than one of each, nor one
//! that it could read otherwise.

use tests::http::{Line, Recorder};

use super::{APP, app, world_of};

/// What is tried: a row each.
const CASES: &str = include_str!("smuggling.txt");

/// The visitor says nothing more.
const END: &str = "{end}";

/// The names of cases and their bytes.
fn cases() -> impl Iterator<Item = (&'static str, String)> {
    let rows = CASES.lines().filter(|row| !row.is_empty() && !row.starts_with('#'));
    rows.map(|row| {
        let (name, bytes) = row.split_once(" | ").expect("a name and bytes");
        let bytes = match bytes.strip_prefix("+ ") {
            Some(rest) => format!("POST /case HTTP/1.1\r\nHost: {APP}\r\n{}", plain(rest)),
            None => plain(bytes),
        };
        (name, bytes)
    })
}

/// What stands for what cannot be written.
pub(super) fn plain(text: &str) -> String {
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {APP}\r\n\r\n");
    let signs = [
        ("\\r", "\r"),
        ("\\n", "\n"),
        ("\\t", "\t"),
        ("\\v", "\x0b"),
        ("\\0", "\0"),
        ("\\s", " "),
        ("{smuggled}", &smuggled),
    ];
    signs.iter().fold(text.to_owned(), |text, (sign, is)| text.replace(sign, is))
}

#[tokio::test]
async fn no_local_service_sees_a_request_that_could_be_two() {
    let service = Recorder::start().await;
    let (world, client, http) = world_of(&app(service.addr())).await;
    let marker = format!("GET /marker HTTP/1.1\r\nHost: {APP}\r\nConnection: close\r\n\r\n");
    let (mut all, mut passed_on) = (0, 0);
    for (name, request) in cases() {
        let mut line = Line::connect(http).await;
        line.send(request.trim_end_matches(END)).await;
        line.send(&marker).await;
        if request.ends_with(END) {
            // It waits for more, and what it took of the marker is no request.
            line.half_close().await;
        }
        let mut statuses = Vec::new();
        while let Ok(Some(answer)) = line.try_answer().await {
            statuses.push(answer.status);
        }
        // Whoever comes next on the connection to the local service gets the own answer.
        let mut next = Line::connect(http).await;
        assert_eq!(next.ask(APP, "/next").await.text(), "/next", "{name}");

        assert_eq!(service.ill_formed(), Vec::<String>::new(), "{name}");
        let targets: Vec<String> = service.seen().into_iter().map(|seen| seen.target).collect();
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        let is_case = |target: &str| target.starts_with("/case") || target == "*";
        let is_good = match targets.as_slice() {
            // Refused, and what came behind it was not looked at, or was another request.
            ["/next"] => statuses.iter().all(|status| *status >= 400),
            ["/marker", "/next"] => statuses[0] >= 400 && statuses[1..] == [200],
            [case, "/next"] | [case, "/marker", "/next"] => is_case(case),
            _ => false,
        };
        assert!(is_good, "{name}: {statuses:?}, seen {targets:?}");
        (all, passed_on) = (all + 1, passed_on + targets.iter().filter(|at| is_case(at)).count());
    }
    assert!(all >= 60 && passed_on < all / 2, "{passed_on} of {all} cases were passed on");
    client.finish().await;
    world.stop().await;
}
