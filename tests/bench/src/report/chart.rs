//! A metric as a bar chart: one bar for each contender, with a whisker from lowest to highest.

use super::Row;
use super::table::number;
use crate::contenders::Contender;

/// The chart as an SVG file that needs nothing else. It reads on a light and a dark page.
pub(super) fn svg(row: &Row) -> String {
    let height = TOP + row.values.len() * STEP + MARGIN;
    let highest = row.values.values().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let better = if row.metric.more_is_better { "more is better" } else { "less is better" };
    let bars = row.values.keys().enumerate();
    let bars: String =
        bars.map(|(place, contender)| bar(row, *contender, place, highest)).collect();
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13" fill="#777">
<text x="{MARGIN}" y="24" font-size="15" font-weight="bold">{title}</text>
<text x="{MARGIN}" y="42">{unit}, {better}</text>
{bars}</svg>
"##,
        title = row.metric.title,
        unit = row.metric.unit,
    )
}

fn bar(row: &Row, contender: Contender, place: usize, highest: f64) -> String {
    let Some(summary) = row.summary(contender) else { return String::new() };
    let length = |value: f64| value / highest * LONGEST as f64;
    let top = TOP + place * STEP;
    let middle = top + THICKNESS / 2;
    let end = LEFT as f64 + length(summary.median);
    let (low, high) = (LEFT as f64 + length(summary.min), LEFT as f64 + length(summary.max));
    format!(
        r##"<text x="{name_end}" y="{baseline}" text-anchor="end">{name}</text>
<rect x="{LEFT}" y="{top}" width="{width:.1}" height="{THICKNESS}" fill="{colour}"/>
<line x1="{low:.1}" x2="{high:.1}" y1="{middle}" y2="{middle}" stroke="#777" stroke-width="2"/>
<text x="{value_start:.1}" y="{baseline}">{value}</text>
"##,
        name_end = LEFT - 8,
        name = contender.name(),
        baseline = middle + 5,
        width = end - LEFT as f64,
        colour = colour(contender),
        value_start = end.max(high) + 8.0,
        value = number(summary.median),
    )
}

fn colour(contender: Contender) -> &'static str {
    match contender {
        ours if ours.is_ours() => "#d9622b",
        Contender::Before | Contender::BeforeWeb => "#e8a888",
        Contender::TwoHops | Contender::Direct => "#b8bec6",
        _ => "#5b84b1",
    }
}

// In pixels.
const WIDTH: usize = 640;
const MARGIN: usize = 12;
const TOP: usize = 56;
const STEP: usize = 28;
const THICKNESS: usize = 20;
const LEFT: usize = 90;
const LONGEST: usize = WIDTH - LEFT - 80;
