//! What `deploy/` has for whoever watches a relay: a dashboard for Grafana, and alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::{Folder, Secured, World};

/// Shown only where there are certificates for visitors; other tests see it then.
const OF_CERTIFICATES: &str = "relay_certificate_expiry_timestamp_seconds";

/// The columns of a dashboard.
const COLUMNS: u64 = 24;

/// The panels that are known to every Grafana of these years.
const KINDS: [&str; 3] = ["row", "stat", "timeseries"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/sallyport.json")).expect("JSON")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).expect("an array")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}"))
}

/// All expressions of the dashboard, with the panel that each is of.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let of_panel = |panel: &Value| -> Vec<_> {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let of =
            |target: &Value| (text(&panel["title"]).to_owned(), text(&target["expr"]).to_owned());
        targets.iter().map(of).collect()
    };
    array(&dashboard["panels"]).iter().flat_map(of_panel).collect()
}

/// The words of an expression, or of whatever holds some.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// The names of metrics among them.
fn metrics(text: &str) -> BTreeSet<&str> {
    words(text).filter(|word| word.starts_with("relay_") || word.starts_with("process_")).collect()
}

/// The variables, `$tunnel` and the like, in a text.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).filter_map(|rest| words(rest.trim_start_matches('{')).next())
}

#[tokio::test]
async fn whatever_the_dashboard_and_the_alerts_look_at_is_there() {
    let secured = Secured::new();
    let world = World::start_with(|settings| settings.tls = secured.relay_tls()).await;
    let scrape = world.metrics().await.text;
    world.stop().await;
    // Those of tunnels have their heads before there is a tunnel.
    let heads = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let kinds: BTreeMap<&str, &str> = heads.chain([(OF_CERTIFICATES, "gauge")]).collect();
    let documented = read("docs/operating.md");

    let (dashboard, alerts) = (dashboard().to_string(), read("deploy/prometheus/alerts.yml"));
    let used = &metrics(&dashboard) | &metrics(&alerts);
    assert!(used.len() > 30, "{used:?}");
    for name in used {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s));
        let (base, is_histogram) = match of_histogram {
            Some(base) if kinds.contains_key(base) => (base, true),
            _ => (name, false),
        };
        let kind = kinds.get(base).unwrap_or_else(|| panic!("there is no metric {name}"));
        assert_eq!(*kind == "histogram", is_histogram, "{name} is a {kind}");
        assert!(documented.contains(&format!("`{base}`")), "{base} is not documented");
    }
    // And the other way: what a relay shows is looked at by somebody, but for what a process has
    // beside the rest.
    let looked_at: BTreeSet<&str> = words(&dashboard).chain(words(&alerts)).collect();
    let ignored = kinds.iter().filter(|(name, kind)| {
        let count = format!("{name}_count");
        let seen = if **kind == "histogram" { count.as_str() } else { name };
        name.starts_with("relay_") && !looked_at.contains(seen)
    });
    let ignored: Vec<_> = ignored.collect();
    assert!(ignored.is_empty(), "nobody looks at {ignored:?}");
}

#[test]
fn the_dashboard_is_one_that_grafana_takes_and_shows_as_it_is_meant() {
    let dashboard = dashboard();
    assert!(dashboard.get("__inputs").is_none(), "it could not be provisioned");
    assert!(dashboard["id"].is_null(), "it would be the dashboard of another Grafana");
    assert_eq!(dashboard["schemaVersion"], 39);
    assert!((1..=40).contains(&text(&dashboard["uid"]).len()));
    let variable = |variable: &Value| text(&variable["name"]).to_owned();
    let known: BTreeSet<String> =
        array(&dashboard["templating"]["list"]).iter().map(variable).collect();

    let (mut ids, mut taken) = (BTreeSet::new(), BTreeMap::new());
    for panel in array(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}");
        assert!(KINDS.contains(&text(&panel["type"])), "{title}");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a place"));
        assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{title}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let before = taken.insert(place, title);
            assert_eq!(before, None, "below {title}");
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = array(&panel["targets"]);
        let letters: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
        assert_eq!(letters.len(), targets.len(), "{title}");
        for from in targets.iter().chain([panel]) {
            assert_eq!(from["datasource"]["type"], "prometheus", "{title}");
            assert_eq!(from["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    for name in variables(&dashboard.to_string()) {
        let is_ours = known.contains(name);
        assert!(is_ours || ["__rate_interval", "__all"].contains(&name), "${name} is not known");
    }
    let all = dashboard.to_string();
    let unused = known.iter().find(|name| !variables(&all).any(|used| used == name.as_str()));
    assert_eq!(unused, None, "a choice without effect");
}

#[test]
fn every_expression_of_the_dashboard_can_be_read_by_prometheus() {
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    let expressions = expressions(&dashboard());
    assert!(expressions.len() > 30);
    for (number, (panel, expression)) in expressions.iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m");
        let outside: String = expression.split('"').step_by(2).collect();
        assert!(!outside.contains('$'), "{panel}: a variable outside a string: {expression}");
        let expression = serde_json::to_string(&expression).expect("a string");
        rules.push_str(&format!("      - record: panel:{number}\n        expr: {expression}\n"));
    }
    let folder = Folder::new();
    let file = folder.write("dashboard.yml", &rules);
    let checked = Command::new("promtool").args(["check", "rules"]).arg(file).output();
    let checked = checked.expect("promtool is needed: see tests/programs");
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn every_alert_says_what_to_do() {
    let (alerts, documented) = (read("deploy/prometheus/alerts.yml"), read("docs/operating.md"));
    let names: Vec<_> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in &names {
        assert!(documented.contains(&format!("\n| `{name}` | ")), "{name} has no row");
    }
    let (_, section) = documented.split_once("\n### Alerts\n").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, names.len(), "a row without its alert");
}
