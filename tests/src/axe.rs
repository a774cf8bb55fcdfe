//! axe-core, which looks at a page as somebody who does not see it.

use std::fs;

use serde_json::{Value, json};

use crate::browser::Page;

/// Where tests/programs puts it.
const FILE: &str = "/usr/local/share/axe-core/axe-4.10.3.min.js";

/// What it calls impacts that keep somebody from what is there.
const SERIOUS: [&str; 2] = ["serious", "critical"];

/// Looks at what a page shows.
///
/// # Panics
///
/// It finds something serious, or is not installed (see tests/programs).
pub async fn examine(page: &mut Page, what: &str) {
    if page.value("typeof window.axe").await == "undefined" {
        let script =
            fs::read_to_string(FILE).expect("axe-core, which `make test-programs` installs");
        page.value(&format!("{script};0")).await;
    }
    let run = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => \
        violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, \
        nodes: nodes.slice(0, 5).map(({ html, failureSummary }) => [html, failureSummary]) })))";
    let found = page.value(run).await;
    let found = found.as_array().expect("a list").iter();
    let serious: Vec<&Value> =
        found.filter(|one| SERIOUS.iter().any(|impact| one["impact"] == *impact)).collect();
    assert!(serious.is_empty(), "{what}: {:#}", json!(serious));
}
