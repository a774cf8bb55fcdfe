//! What an operator sees at `/metrics`.

use std::io::Write;
use std::process::{Command, Stdio};

use tests::world::SHORT_HEARTBEAT;
use tests::{Peer, RunningClient, Secured, World, local, scrape};

#[tokio::test]
async fn bytes_are_counted_to_the_byte_and_grow_during_a_transfer() {
    let service = local::played().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;
    let mut visitor = Peer::connect(public).await;
    let mut local = service.accept().await;

    visitor.send_pattern(1, 12_345).await;
    local.expect_pattern(1, 12_345).await;
    local.send_pattern(2, 67_890).await;
    visitor.expect_pattern(2, 67_890).await;
    let running = world.metrics().await;
    assert_eq!(running.value("relay_visitors{tunnel=\"default\"}"), Some(1.0));
    assert_eq!(running.bytes("default", "in"), 12_345.0);
    assert_eq!(running.bytes("default", "out"), 67_890.0);

    visitor.send_pattern(3, 5).await;
    visitor.half_close().await;
    local.expect_pattern(3, 5).await;
    local.half_close().await;
    visitor.expect_end().await;
    world.counts("completed", 1).await;
    let after = world.metrics().await;
    assert_eq!(after.bytes("default", "in"), 12_350.0);
    assert_eq!(after.bytes("default", "out"), 67_890.0);
    world.stop().await;
}

#[tokio::test]
async fn gauges_return_to_zero() {
    let service = local::echo().await;
    let world = World::start().await;
    let tunnels = [format!("default={}", service.addr()), format!("web={}", service.addr())];
    let client = world.client_for(&tunnels).await;
    let mut visitors = Vec::new();
    for i in 0..4 {
        let mut visitor = Peer::connect(client.public(i % 2)).await;
        visitor.expect_echo(b"here").await;
        visitors.push(visitor);
    }
    let gauges = [
        ("relay_sessions", 1.0),
        ("relay_tunnels", 2.0),
        ("relay_visitors{tunnel=\"default\"}", 2.0),
        ("relay_visitors{tunnel=\"web\"}", 2.0),
    ];
    let metrics = world.metrics().await;
    for (gauge, value) in gauges {
        assert_eq!(metrics.value(gauge), Some(value), "{gauge}");
    }

    client.vanish().await;
    for visitor in &mut visitors {
        visitor.expect_reset().await;
    }
    for (gauge, _) in gauges {
        world.shows(gauge, |metrics| metrics.value(gauge) == Some(0.0)).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn every_documented_metric_is_there() {
    let service = local::echo().await;
    let secured = Secured::new();
    let mut world = World::start_with(|config| {
        config.heartbeat = SHORT_HEARTBEAT;
        config.tls = secured.relay_tls();
    })
    .await;
    let public = world.expose(service.addr()).await;
    let mut visitor = Peer::connect(public).await;
    visitor.expect_echo(b"the first of the tunnel").await;
    visitor.half_close().await;
    visitor.expect_end().await;
    let rtt = "relay_session_rtt_seconds{tunnel=\"default\"}";
    world.shows("a round trip", |metrics| metrics.value(rtt).is_some()).await;
    world.counts("completed", 1).await;

    let metrics = world.metrics().await;
    let mut series = vec![
        "relay_sessions".to_owned(),
        "relay_tunnels".into(),
        "relay_tls_certificate_expiry_timestamp_seconds".into(),
        "relay_log_lines_dropped_total".into(),
        "relay_bans".into(),
        "relay_inspected".into(),
        "relay_inspected_bytes".into(),
        "relay_inspected_pushed_out_total".into(),
        "relay_banned_connections_total".into(),
        "relay_visitors{tunnel=\"default\"}".into(),
        "relay_visitors_total{outcome=\"completed\",tunnel=\"default\"}".into(),
        rtt.into(),
        "relay_tunnel_healthy{tunnel=\"default\"}".into(),
        "process_open_fds".into(),
        "process_resident_memory_bytes".into(),
        "process_cpu_seconds_total".into(),
    ];
    for direction in ["in", "out"] {
        series.push(format!("relay_bytes_total{{direction=\"{direction}\",tunnel=\"default\"}}"));
    }
    for outcome in ["accepted", "refused", "invalid", "lost", "timeout", "evicted", "penalised"] {
        series.push(format!("relay_handshakes_total{{outcome=\"{outcome}\"}}"));
    }
    for kind in [
        "go_away",
        "bad_frame",
        "not_yamux",
        "frame_too_large",
        "tiny_frames",
        "stream_not_allowed",
        "too_much",
        "ping_flood",
        "stream_flood",
        "window_updates",
        "stray_frames",
        "message_flood",
        "tls_flood",
    ] {
        series.push(format!("relay_breaches_total{{kind=\"{kind}\"}}"));
    }
    for outcome in ["full", "resumed", "failed", "given_up"] {
        series.push(format!("relay_tls_handshakes_total{{outcome=\"{outcome}\"}}"));
    }
    for outcome in ["issued", "failed", "not_reached", "not_placed", "put_off"] {
        series.push(format!("relay_certificate_orders_total{{outcome=\"{outcome}\"}}"));
    }
    for outcome in ["written", "dropped"] {
        series.push(format!("relay_statistics_rows_total{{outcome=\"{outcome}\"}}"));
    }
    for outcome in ["written", "dropped", "left_out"] {
        series.push(format!("relay_history_entries_total{{outcome=\"{outcome}\"}}"));
    }
    for of in ["statistics", "history"] {
        series.push(format!("relay_failed_writes_total{{of=\"{of}\"}}"));
    }
    for version in ["1", "2"] {
        series.push(format!("relay_http_connections{{version=\"{version}\"}}"));
    }
    for code in [
        "bad_request",
        "misdirected",
        "unknown_tunnel",
        "denied",
        "token_needed",
        "login_needed",
        "jwt_needed",
        "unsigned",
        "method_not_allowed",
        "header_too_large",
        "body_too_large",
        "too_many_requests",
        "too_many_guesses",
        "over_limit",
        "request_timeout",
        "no_client",
        "client_busy",
        "local_refused",
        "local_broken",
        "local_timeout",
        "stopping",
    ] {
        series.push(format!("relay_unrouted_requests_total{{code=\"{code}\"}}"));
    }
    for limit in [
        "visitors",
        "visitors_per_tunnel",
        "visitors_per_source",
        "visitors_per_owner",
        "visitors_per_token",
        "tunnel_share_per_source",
        "client_share_per_source",
        "new_visitors_per_source",
        "new_visitors_per_tunnel",
        "requests_per_source",
        "logins_per_source",
        "signed_bodies",
        "request_heads",
        "windows",
        "quota",
        "quotas_per_token",
        "sessions",
        "sessions_per_owner",
        "tunnels_per_session",
        "tunnels_per_token",
        "handshakes",
        "held_ports",
        "rate_per_tunnel",
        "rate_per_owner",
        "rate_per_token",
    ] {
        series.push(format!("relay_limits_total{{limit=\"{limit}\"}}"));
    }
    for outcome in ["applied", "refused"] {
        series.push(format!("relay_config_reloads_total{{outcome=\"{outcome}\"}}"));
    }
    for reason in ["kept_back", "own", "taken", "not_proven", "no_user", "lookalike", "too_many"] {
        series.push(format!("relay_hosts_refused_total{{reason=\"{reason}\"}}"));
    }
    for outcome in ["found", "missing", "unknown"] {
        series.push(format!("relay_host_proofs_total{{outcome=\"{outcome}\"}}"));
    }
    for outcome in ["done", "failed"] {
        series.push(format!("relay_dns_updates_total{{outcome=\"{outcome}\"}}"));
    }
    for histogram in ["relay_connect_seconds", "relay_first_byte_seconds", "relay_visit_seconds"] {
        series.push(format!("{histogram}_count{{tunnel=\"default\"}}"));
        series.push(format!("{histogram}_sum{{tunnel=\"default\"}}"));
        series.push(format!("{histogram}_bucket{{le=\"+Inf\",tunnel=\"default\"}}"));
    }
    for series in &series {
        assert!(metrics.value(series).is_some(), "{series} is missing in\n{}", metrics.text);
    }
    let ours = metrics.text.lines().filter(|line| line.starts_with("relay_"));
    let ours = ours.filter(|line| !line.contains("_bucket{")).count();
    let expected = series.iter().filter(|s| s.starts_with("relay_") && !s.contains("_bucket{"));
    assert_eq!(ours, expected.count(), "undocumented series in\n{}", metrics.text);
    world.stop().await;
}

#[tokio::test]
async fn tunnels_that_nobody_visits_have_no_series() {
    let service = local::echo().await;
    let world = World::start_with(|config| config.heartbeat = SHORT_HEARTBEAT).await;
    let tunnels: Vec<_> = (0..20).map(|i| format!("idle-{i}={}", service.addr())).collect();
    let client = world.client_for(&tunnels).await;
    let mut visitor = Peer::connect(client.public(7)).await;
    visitor.expect_echo(b"the only one").await;
    let visited = "relay_session_rtt_seconds{tunnel=\"idle-7\"}";
    world.shows("heartbeats", |metrics| metrics.value(visited).is_some()).await;

    let text = world.metrics().await.text;
    let of = |tunnel: &str| text.lines().filter(|line| line.contains(tunnel)).count();
    assert_eq!(of("tunnel=\"idle-"), of("tunnel=\"idle-7\""), "{text}");
    client.finish().await;
    world.stop().await;
}

#[tokio::test]
async fn latencies_are_measured() {
    let service = local::echo().await;
    let mut world = World::start_with(|config| config.heartbeat = SHORT_HEARTBEAT).await;
    let public = world.expose(service.addr()).await;
    for _ in 0..3 {
        let mut visitor = Peer::connect(public).await;
        visitor.expect_echo(b"how long").await;
        visitor.half_close().await;
        visitor.expect_end().await;
    }
    world.counts("completed", 3).await;
    let metrics = world.metrics().await;
    for histogram in ["relay_connect_seconds", "relay_first_byte_seconds", "relay_visit_seconds"] {
        let count = metrics.value(&format!("{histogram}_count{{tunnel=\"default\"}}"));
        assert_eq!(count, Some(3.0), "{histogram}");
        let sum = metrics.value(&format!("{histogram}_sum{{tunnel=\"default\"}}")).unwrap();
        assert!(sum > 0.0, "{histogram}");
    }
    let rtt = "relay_session_rtt_seconds{tunnel=\"default\"}";
    world.shows("a round trip", |m| m.value(rtt).is_some_and(|rtt| rtt > 0.0)).await;
    world.stop().await;
}

#[tokio::test]
async fn visitors_cannot_make_label_values() {
    let service = local::echo().await;
    let secured = Secured::new();
    let mut world = World::start_secured(&secured).await;
    let public = world.expose(service.addr()).await;
    Peer::connect(public).await.expect_echo(b"the first of the tunnel").await;
    world.shows("it to be over", |metrics| metrics.visitors("default") == 0.0).await;
    let before = labels(&world.metrics().await.text);

    for host in ["evil-1.example", "evil-2.example"] {
        let mut visitor = Peer::connect(public).await;
        let request = format!("GET /{host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        visitor.expect_echo(request.as_bytes()).await;
    }
    let (status, _) = scrape::get(world.addrs.admin, "/metrics?tunnel=evil-3").await;
    assert_eq!(status, 200);
    let (status, _) = scrape::get(world.addrs.admin, "/evil-4").await;
    assert_eq!(status, 404);

    let after = world.metrics().await.text;
    assert_eq!(labels(&after), before);
    assert!(!after.contains("evil"));
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_is_refused_leaves_no_series() {
    let world = World::start().await;
    let before = labels(&world.metrics().await.text);
    let tunnels = ["never=1".to_owned(), "nowhere=1?port=1".to_owned()];
    let refused = RunningClient::start(world.config(&tunnels)).ended().await;
    assert!(refused.is_err());
    assert_eq!(labels(&world.metrics().await.text), before);
    world.stop().await;
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    let service = local::echo().await;
    let mut world = World::start().await;
    let public = world.expose(service.addr()).await;
    Peer::connect(public).await.expect_echo(b"something to count").await;
    promtool_finds_nothing_wrong_with(&world.metrics().await.text);
    world.stop().await;
}

pub(super) fn promtool_finds_nothing_wrong_with(metrics: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed: apt-get install --no-install-recommends prometheus");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(metrics.as_bytes()).expect("a reader");
    drop(input);
    let checked = promtool.wait_with_output().expect("an end");
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn an_alert_rings_for_the_first_visits_that_are_lost() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus/alerts_test.yml");
    let tested = Command::new("promtool").args(["test", "rules", rules]).output();
    let tested = tested.expect("promtool is needed: see tests/programs");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
}

/// All label sets of the relay's own metrics, those excepted that tell how visits ended.
fn labels(text: &str) -> std::collections::BTreeSet<String> {
    let lines = text.lines().filter(|line| line.starts_with("relay_"));
    let lines = lines.filter(|line| !line.starts_with("relay_visitors_total"));
    lines.filter_map(|line| Some(line.split_once('{')?.1.split_once('}')?.0.to_owned())).collect()
}
