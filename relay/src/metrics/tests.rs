//! What a tunnel costs, idle and visited, and what becomes of series when tunnels come and go.

use std::mem::size_of;
use std::time::Duration;

use super::list::Visits;
use super::*;

fn metrics() -> Metrics {
    Metrics::new(|| 0).unwrap()
}

fn labels(tunnel: &str) -> Labels {
    Labels { tunnel: tunnel.parse().unwrap(), owner: None }
}

/// The part of a scrape that is about tunnels.
fn text(metrics: &Metrics) -> String {
    metrics.scrape().unwrap().skip(1).collect()
}

/// The lines about tunnels that are no comments.
fn samples(metrics: &Metrics) -> Vec<String> {
    let text = text(metrics);
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// A visit of some substance.
fn visit(tunnel: &TunnelMetrics, outcome: Outcome) {
    let _present = tunnel.visitor();
    tunnel.connected(Duration::from_micros(12_345));
    tunnel.first_byte(Duration::from_micros(23_456));
    tunnel.bytes_in(123_456);
    tunnel.bytes_out(123_456_789);
    tunnel.ended(outcome, Duration::from_micros(123_456_789));
}

#[test]
fn an_idle_tunnel_has_no_text_and_hardly_any_memory() {
    let metrics = metrics();
    let before = text(&metrics);
    let idle = metrics.tunnel(labels("idle"));
    idle.round_trip(Duration::from_millis(3));
    assert_eq!(text(&metrics), before);
    assert!(size_of::<Series>() + size_of::<TunnelMetrics>() <= 112);
}

#[test]
fn a_visited_tunnel_has_at_most_a_page_of_text() {
    let metrics = metrics();
    let heads = text(&metrics).len();
    let tunnel = metrics.tunnel(labels("tunnel-12"));
    tunnel.round_trip(Duration::from_micros(12_345));
    for _ in 0..10_000 {
        visit(&tunnel, Outcome::Completed);
    }
    visit(&tunnel, Outcome::Lost);
    let length = text(&metrics).len() - heads;
    assert!(length <= 1536, "{length} bytes:\n{}", text(&metrics));
    assert!(size_of::<Visits>() + size_of::<moved::Looks>() <= 1024);
}

#[test]
fn a_tunnel_of_http_has_at_most_as_much_text_and_nothing_of_visits() {
    let metrics = metrics();
    let heads = text(&metrics).len();
    let tunnel = metrics.tunnel(labels("tunnel-12"));
    tunnel.round_trip(Duration::from_micros(12_345));
    let over = RequestOver {
        status: 200,
        fault: None,
        aborted: false,
        timed_out: false,
        length: Duration::from_micros(23_456_789),
    };
    let faulty = RequestOver { status: 502, fault: Some(FaultCode::LocalRefused), ..over };
    for over in [over, faulty, RequestOver { aborted: true, timed_out: true, ..over }] {
        for _ in 0..10_000 {
            tunnel.request_begins();
            tunnel.bytes_out(123_456);
            tunnel.request_answered(over.status, Duration::from_micros(12_345));
            tunnel.request_over(&over);
        }
    }
    tunnel.request_begins();
    let length = text(&metrics).len() - heads;
    assert!(length <= 1536, "{length} bytes:\n{}", text(&metrics));
    assert!(size_of::<requests::Requests>() <= 512);
    let lines = samples(&metrics);
    assert!(!lines.iter().any(|line| line.starts_with("relay_vis")), "{lines:?}");
    for line in [
        "relay_requests{tunnel=\"tunnel-12\"} 1",
        "relay_requests_total{status=\"2xx\",tunnel=\"tunnel-12\"} 20000",
        "relay_requests_total{status=\"5xx\",tunnel=\"tunnel-12\"} 10000",
        "relay_request_faults_total{code=\"local_refused\",tunnel=\"tunnel-12\"} 10000",
        "relay_requests_aborted_total{tunnel=\"tunnel-12\"} 10000",
        "relay_requests_timed_out_total{tunnel=\"tunnel-12\"} 10000",
        "relay_request_first_byte_seconds_count{tunnel=\"tunnel-12\"} 30000",
        "relay_request_seconds_count{tunnel=\"tunnel-12\"} 30000",
    ] {
        assert!(lines.iter().any(|there| there == line), "{line}: {lines:?}");
    }
    let requests = tunnel.totals().requests.unwrap();
    assert_eq!((requests.in_flight, requests.last_status), (1, Some(200)));
    assert_eq!(requests.latency, Some(Duration::from_micros(12_345)));
}

#[test]
fn a_tunnel_that_is_opened_again_while_visits_end_goes_on_counting() {
    let metrics = metrics();
    let former = metrics.tunnel(labels("web"));
    let last_visit = former.visitor();
    let again = metrics.tunnel(labels("web"));
    visit(&again, Outcome::Completed);
    former.bytes_in(1);
    drop((last_visit, former));

    let lines = samples(&metrics);
    let count = |line: &str| lines.iter().filter(|there| *there == line).count();
    assert_eq!(count("relay_visitors{tunnel=\"web\"} 0"), 1);
    assert_eq!(count("relay_bytes_total{direction=\"in\",tunnel=\"web\"} 123457"), 1);
    drop(again);
    assert!(samples(&metrics).is_empty(), "gone for good");
    let _third = metrics.tunnel(labels("web"));
    assert!(samples(&metrics).is_empty(), "as if it had never been there");
}

#[test]
fn every_tunnel_is_shown_once_for_each_metric_whatever_comes_and_goes_meanwhile() {
    let metrics = metrics();
    let mut tunnels: Vec<_> =
        (0..1000).map(|i| metrics.tunnel(labels(&format!("t{i:04}")))).collect();
    for tunnel in tunnels.iter().step_by(2) {
        visit(tunnel, Outcome::Completed);
    }
    let mut scrape = metrics.scrape().unwrap().skip(1);
    let mut text = scrape.next().unwrap();
    // One that has been shown already, and one that has not.
    tunnels.truncate(900);
    drop(tunnels.remove(0));
    visit(&metrics.tunnel(labels("new")), Outcome::Completed);
    text.extend(scrape);

    let heads = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(heads, of_tunnels::OF_TUNNELS.len());
    for i in (2..900).step_by(2) {
        for metric in ["relay_visitors", "relay_visit_seconds_count"] {
            let series = format!("{metric}{{tunnel=\"t{i:04}\"}} ");
            let shown = text.lines().filter(|line| line.starts_with(&series)).count();
            assert_eq!(shown, 1, "{series}");
        }
    }
}

#[test]
fn tunnels_of_two_owners_have_series_of_their_own() {
    let metrics = metrics();
    let owned = |owner: &str| Labels { owner: Some(owner.into()), ..labels("web") };
    let tunnels = [labels("web"), owned("ann"), owned("bob")].map(|l| metrics.tunnel(l));
    for (tunnel, visits) in tunnels.iter().zip(1..) {
        (0..visits).for_each(|_| visit(tunnel, Outcome::Completed));
    }
    let text = text(&metrics);
    for (labels, visits) in [("", 1), ("owner=\"ann\",", 2), ("owner=\"bob\",", 3)] {
        let line = format!(
            "relay_visitors_total{{outcome=\"completed\",{labels}tunnel=\"web\"}} {visits}\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
}
