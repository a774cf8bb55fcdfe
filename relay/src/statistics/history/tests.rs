//! What is kept of requests and visits, without a store and with one in a file.

use hyper::Request;
use hyper::header::{HOST, HeaderValue};

use super::*;
use crate::data::DataFolder;
use crate::metrics::FaultCode;
use crate::scratch::Scratch;
use crate::store::{Place, from_millis};
use crate::web::{AccessLog, Outcome};

const LONG: Duration = Duration::from_secs(3600);

fn settings() -> StatisticsSettings {
    StatisticsSettings::default()
}

fn metrics() -> Metrics {
    Metrics::new(|| 0).unwrap()
}

fn in_memory(metrics: &Metrics) -> History {
    History::new(None, metrics.clone(), &settings())
}

async fn store(scratch: &Scratch) -> Store {
    let folder = DataFolder::open(&scratch.file("data")).unwrap();
    Store::open(&Place::Folder(folder)).await.unwrap()
}

fn tunnel(metrics: &Metrics, owner: &str, name: &str) -> TunnelMetrics {
    metrics.tunnel(Labels { tunnel: name.parse().unwrap(), owner: Some(owner.into()) })
}

fn visit(history: &History, tunnel: &TunnelMetrics, id: &str) {
    history.visit(tunnel, || VisitOver {
        id: id.to_owned(),
        visitor: [192, 0, 2, 7].into(),
        outcome: "completed",
        bytes_in: 3,
        bytes_out: 4,
        length: Duration::from_micros(5),
        first_byte: None,
    });
}

fn ask(history: &History, tunnel: &TunnelMetrics, method: &str, target: &str, status: u16) {
    let settings = crate::config::WebSettings::default();
    let log = AccessLog::new(&settings).unwrap();
    let request = Request::builder().method(method).uri(target).header(HOST, "app.example");
    let id = HeaderValue::from_static("1-2");
    let asked = log.note(&request.body(()).unwrap(), [192, 0, 2, 7].into(), &id, true).unwrap();
    let became = Became {
        tunnel: Some(("app", Some("ann"))),
        status,
        fault: (status == 502).then_some(FaultCode::LocalRefused),
        served: status == 200,
        outcome: Outcome::Complete,
        bytes_in: 3,
        bytes_out: 14,
        length: Duration::from_millis(250),
        first_byte: Some(Duration::from_micros(125)),
    };
    history.request(tunnel, &asked, &became);
}

async fn all(history: &History, filter: &HistoryFilter) -> Vec<Arc<HistoryEntry>> {
    history.page(filter, None, LONGEST_PAGE).await.unwrap().entries
}

async fn ids(history: &History, filter: &HistoryFilter) -> Vec<String> {
    all(history, filter).await.iter().map(|entry| entry.id.clone()).collect()
}

/// The same for a history in memory, for one whose entries wait for their store, and for one whose
/// entries are there.
async fn everywhere(check: impl AsyncFn(&Metrics, &History, &dyn Fn() -> bool)) {
    let metrics = metrics();
    check(&metrics, &in_memory(&metrics), &|| false).await;
    for is_written in [false, true] {
        let scratch = Scratch::new();
        let history = History::new(Some(store(&scratch).await), metrics.clone(), &settings());
        check(&metrics, &history, &|| is_written).await;
    }
}

#[tokio::test]
async fn a_request_is_kept_without_its_secrets_and_without_who_came() {
    everywhere(async |metrics, history, is_written| {
        let web = tunnel(metrics, "ann", "web");
        ask(history, &web, "GET", "/Über?token=hush&a=b", 200);
        ask(history, &web, "POST", "/form", 502);
        if is_written() {
            history.write_all().await;
            assert!(history.0.waiting.lock().is_empty());
        }
        let entries = all(history, &HistoryFilter::default()).await;
        let [second, first] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(first.visitor, None);
        assert_eq!((&*first.owner, &*first.tunnel, first.kind), ("ann", "web", HistoryKind::Http));
        assert_eq!((&*first.id, first.method.as_deref()), ("1-2", Some("GET")));
        let path = first.path.as_deref().unwrap();
        assert!(path.ends_with("?token=***&a=b"), "{path}");
        assert_eq!(first.host.as_deref(), Some("app.example"));
        assert_eq!((first.status, first.bytes_in, first.bytes_out), (Some(200), 3, 14));
        assert_eq!(first.length, Duration::from_millis(250));
        assert_eq!(first.first_byte, Some(Duration::from_micros(125)));
        assert_eq!((first.fault.as_deref(), first.outcome.as_deref()), (None, Some("complete")));
        assert_eq!((second.status, second.fault.as_deref()), (Some(502), Some("local_refused")));
    })
    .await;
}

#[tokio::test]
async fn who_came_is_kept_if_that_is_wanted() {
    everywhere(async |metrics, history, is_written| {
        let raw = tunnel(metrics, "ann", "raw");
        visit(history, &raw, "1-1");
        history.set(&StatisticsSettings { history_addresses: true, ..settings() });
        visit(history, &raw, "1-2");
        if is_written() {
            history.write_all().await;
        }
        let entries = all(history, &HistoryFilter::default()).await;
        let visitors: Vec<_> = entries.iter().map(|entry| (&*entry.id, entry.visitor)).collect();
        assert_eq!(visitors, [("1-2", Some([192, 0, 2, 7].into())), ("1-1", None)]);
        let kind = (entries[0].kind, entries[0].outcome.as_deref(), entries[0].status);
        assert_eq!(kind, (HistoryKind::Tcp, Some("completed"), None));
    })
    .await;
}

#[tokio::test]
async fn only_what_is_asked_for_is_told() {
    everywhere(async |metrics, history, is_written| {
        let [web, api, other] = [("ann", "web"), ("ann", "api"), ("bob", "web")]
            .map(|(owner, name)| tunnel(metrics, owner, name));
        ask(history, &web, "GET", "/a_b", 200);
        ask(history, &web, "POST", "/a%25b", 500);
        ask(history, &api, "GET", "/axb", 404);
        ask(history, &other, "GET", "/", 200);
        visit(history, &web, "9-9");
        if is_written() {
            history.write_all().await;
        }
        let some = |text: &str| Some(text.to_owned());
        let none = HistoryFilter::default();
        let now = SystemTime::now();
        for (filter, expected) in [
            (none.clone(), 5),
            (HistoryFilter { owner: some("ann"), ..none.clone() }, 4),
            (HistoryFilter { tunnel: some("web"), ..none.clone() }, 4),
            (HistoryFilter { owner: some("ann"), tunnel: some("web"), ..none.clone() }, 3),
            (HistoryFilter { owner: some("eve"), ..none.clone() }, 0),
            (HistoryFilter { owner: some(""), ..none.clone() }, 0),
            (HistoryFilter { method: some("POST"), ..none.clone() }, 1),
            (HistoryFilter { class: Some(4), ..none.clone() }, 1),
            (HistoryFilter { class: Some(2), ..none.clone() }, 2),
            (HistoryFilter { text: some("A_b"), ..none.clone() }, 1),
            (HistoryFilter { text: some("%"), ..none.clone() }, 1),
            (HistoryFilter { text: some("!"), ..none.clone() }, 0),
            (HistoryFilter { text: some("'; --"), ..none.clone() }, 0),
            (HistoryFilter { from: Some(now - LONG), to: Some(now + LONG), ..none.clone() }, 5),
            (HistoryFilter { from: Some(now + LONG), ..none.clone() }, 0),
            (HistoryFilter { to: Some(now - LONG), ..none.clone() }, 0),
        ] {
            assert_eq!(all(history, &filter).await.len(), expected, "{filter:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_have_everything_once_whatever_comes_meanwhile() {
    everywhere(async |metrics, history, is_written| {
        let raw = tunnel(metrics, "ann", "raw");
        for n in 0..25 {
            visit(history, &raw, &n.to_string());
            // Some wait, and some are written.
            if is_written() && n % 10 == 9 {
                history.write_all().await;
            }
        }
        let (mut seen, mut from) = (Vec::new(), None);
        for n in 0.. {
            let page = history.page(&HistoryFilter::default(), from, 10).await.unwrap();
            seen.extend(page.entries.iter().map(|entry| entry.id.clone()));
            visit(history, &raw, "new");
            if is_written() {
                history.write_all().await;
            }
            let Some(next) = page.next else {
                assert_eq!(n, 2);
                break;
            };
            from = Some(next.to_string().parse().unwrap());
        }
        let mut sorted: Vec<usize> = seen.iter().map(|id| id.parse().unwrap()).collect();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..25).collect::<Vec<_>>());
    })
    .await;
}

#[test]
fn what_no_page_has_said_is_no_cursor() {
    let good = Cursor(HistoryPlace { millis: 1_795_797_720_574, number: 77 });
    assert_eq!(good.to_string().parse(), Ok(good));
    for bad in ["", "-", "1", "1-", "-1", "+1-1", "1-g", "1--1", "1-ffffffffffffffff"] {
        assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
    }
}

#[tokio::test]
async fn too_many_of_one_tunnel_are_counted_and_not_kept() {
    let metrics = metrics();
    let history = in_memory(&metrics);
    let [busy, calm] = ["busy", "calm"].map(|name| tunnel(&metrics, "ann", name));
    for _ in 0..MOST_IN_INTERVAL + 7 {
        visit(&history, &busy, "1-1");
    }
    visit(&history, &calm, "2-2");
    let now = SystemTime::now();
    let look = || metrics.look(|labels, moved| history.left_out(labels, moved.noted, now));
    assert_eq!(look(), 0);
    visit(&history, &busy, "3-3");
    assert_eq!(look(), 0);
    let entries = all(&history, &HistoryFilter::default()).await;
    let left_out: Vec<_> =
        entries.iter().filter(|entry| entry.kind == HistoryKind::LeftOut).collect();
    assert_eq!(left_out.len(), 1);
    assert_eq!((left_out[0].count, &*left_out[0].tunnel), (7, "busy"));
    assert_eq!(entries.len(), MOST_IN_INTERVAL as usize + 1 + 1 + 1);
}

#[tokio::test]
async fn what_finds_no_room_is_dropped_and_without_a_store_what_is_oldest() {
    let scratch = Scratch::new();
    let metrics = metrics();
    for store in [None, Some(store(&scratch).await)] {
        let has_store = store.is_some();
        let history = History::new(store, metrics.clone(), &settings());
        for n in 0..MOST_WAITING + 1 {
            // Of so many tunnels that none has too many.
            let tunnel = tunnel(&metrics, "ann", &format!("t{}", n / 100));
            visit(&history, &tunnel, &n.to_string());
        }
        let waiting = history.0.waiting.lock();
        let [first, last] =
            [waiting.front(), waiting.back()].map(|entry| entry.unwrap().id.clone());
        assert_eq!(waiting.len(), MOST_WAITING);
        let most = MOST_WAITING.to_string();
        if has_store {
            assert_eq!((&*first, last), ("0", (MOST_WAITING - 1).to_string()));
        } else {
            assert_eq!((&*first, last), ("1", most));
        }
    }
}

#[tokio::test]
async fn a_tunnel_has_so_many_entries_and_the_newest_ones() {
    let scratch = Scratch::new();
    let store = store(&scratch).await;
    let metrics = metrics();
    let history = History::new(Some(store.clone()), metrics.clone(), &settings());
    let [web, api] = ["web", "api"].map(|name| tunnel(&metrics, "ann", name));
    for n in 0..20 {
        visit(&history, &web, &n.to_string());
        visit(&history, &api, &n.to_string());
    }
    history.write_all().await;
    store.limit_history(("ann", "web"), 5).await.unwrap();
    store.limit_history(("eve", "web"), 5).await.unwrap();
    let of = |name: &str| HistoryFilter { tunnel: Some(name.into()), ..HistoryFilter::default() };
    let newest: Vec<_> = ids(&history, &of("web")).await;
    assert_eq!(newest.len(), 5);
    assert!(newest.iter().all(|id| id.parse::<u32>().unwrap() >= 15), "{newest:?}");
    assert_eq!(ids(&history, &of("api")).await.len(), 20);
}

#[tokio::test]
async fn nothing_is_kept_that_is_switched_off() {
    everywhere(async |metrics, history, is_written| {
        let web = tunnel(metrics, "ann", "web");
        visit(history, &web, "1-1");
        let off = StatisticsSettings { history: Duration::ZERO, ..settings() };
        history.set(&off);
        assert!(!history.is_on());
        visit(history, &web, "1-2");
        history.look(SystemTime::now(), off.history);
        if is_written() {
            history.write_all().await;
        }
        assert_eq!(ids(history, &HistoryFilter::default()).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn what_is_written_again_is_there_once() {
    let scratch = Scratch::new();
    let store = store(&scratch).await;
    let metrics = metrics();
    let history = History::new(Some(store.clone()), metrics.clone(), &settings());
    visit(&history, &tunnel(&metrics, "ann", "web"), "1-1");
    let batch: Vec<_> = history.0.waiting.lock().iter().cloned().collect();
    // As when nobody heard the end of it.
    store.add_history(&batch).await.unwrap();
    assert_eq!(ids(&history, &HistoryFilter::default()).await, ["1-1"]);
    history.write_all().await;
    assert_eq!(ids(&history, &HistoryFilter::default()).await, ["1-1"]);
    let time = from_millis(batch[0].place().millis);
    assert_eq!(all(&history, &HistoryFilter::default()).await[0].time, time);
}
