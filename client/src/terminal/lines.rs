//! What the foot says, as lines that fit a terminal. All of it is ASCII but the sign of a cut, so
//! columns are characters.

use std::fmt;
use std::time::Duration;

use super::rates::Rate;
use crate::tally::Counts;

/// What is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) state: State,
    pub(super) all: Figures,
    /// The tunnels in the order in which they are configured, if there are several.
    pub(super) tunnels: Vec<(String, Figures)>,
    pub(super) round_trip: Option<Duration>,
}

/// What the client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    /// Connecting again after this delay.
    Waiting(Duration),
    Connected,
    /// Open visits may finish.
    Draining,
}

/// The figures of a tunnel, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) counts: Counts,
    pub(super) rate: Rate,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// What is drawn when a terminal does not say how large it is.
const USUAL: Size = Size { width: 80, height: 24 };

/// In front of the line of the client: as much as a terminal shows of a Ctrl-C.
const INDENT: &str = "  ";

/// Bytes, with three digits at most. Rounded down, so that nothing seems to be complete before it is.
struct Amount(u64);

/// The units of an amount, the largest first.
const UNITS: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

impl Look {
    /// The lines, each shorter than the terminal is wide, and no more of them than half its height:
    /// the rest is for the log.
    pub(super) fn lines(&self, size: Size) -> Vec<String> {
        let width = size.width - 1;
        let mut lines = vec![self.first(width)];
        let room = (size.height / 2).saturating_sub(1);
        if self.tunnels.len() < 2 || room == 0 {
            return lines;
        }
        let is_all = self.tunnels.len() <= room;
        let shown = if is_all { self.tunnels.len() } else { room - 1 };
        lines.extend(table(&self.tunnels[..shown]).map(|line| cut(line, width)));
        if !is_all {
            let more = format!("{INDENT}{INDENT}and {} more", self.tunnels.len() - shown);
            lines.push(cut(more, width));
        }
        lines
    }

    /// The line of the client, without what there is no room for.
    fn first(&self, width: usize) -> String {
        let round_trip = self.round_trip.filter(|_| self.state.is_connected()).map(in_short);
        let line = |figures: [String; 3]| {
            let parts =
                [self.state.to_string()].into_iter().chain(figures).chain(round_trip.clone());
            format!("{INDENT}{}", parts.collect::<Vec<_>>().join("  "))
        };
        let whole = line(self.all.in_full());
        cut(if whole.len() <= width { whole } else { line(self.all.in_short()) }, width)
    }

    /// What is left when the client has ended, if anybody came.
    pub(super) fn last(&self) -> Option<String> {
        let Counts { visits, bytes_in, bytes_out, .. } = self.all.counts;
        let what = self.all.kind(visits);
        let (came, went) = (Amount(bytes_in), Amount(bytes_out));
        (visits > 0).then(|| format!("{visits} {what} in all, {came} in, {went} out"))
    }
}

impl State {
    fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Draining)
    }
}

impl Figures {
    /// Visits and bytes now, with those since the start in brackets.
    fn in_full(&self) -> [String; 3] {
        let Counts { visits, bytes_in, bytes_out, .. } = self.counts;
        let [open, came, went] = self.in_short();
        [
            format!("{open} ({visits})"),
            format!("{came} ({})", Amount(bytes_in)),
            format!("{went} ({})", Amount(bytes_out)),
        ]
    }

    fn in_short(&self) -> [String; 3] {
        let open = self.counts.open;
        [
            format!("{open} {}", self.kind(open)),
            format!("in {}/s", Amount(self.rate.bytes_in)),
            format!("out {}/s", Amount(self.rate.bytes_out)),
        ]
    }

    /// What so many are: of requests only the connections are seen here, each of which carries many.
    fn kind(&self, count: u64) -> &'static str {
        match (self.counts.carries_requests, count) {
            (false, 1) => "visit",
            (false, _) => "visits",
            (true, 1) => "connection",
            (true, _) => "connections",
        }
    }
}

impl Size {
    /// A terminal of so many columns and rows, of which it may not know.
    pub(super) fn new(columns: u16, rows: u16) -> Self {
        let or = |size: u16, usual| if size == 0 { usual } else { usize::from(size) };
        Self { width: or(columns, USUAL.width), height: or(rows, USUAL.height) }
    }
}

/// A line for each tunnel, one figure below the other.
fn table(tunnels: &[(String, Figures)]) -> impl Iterator<Item = String> {
    let rows: Vec<[String; 4]> = tunnels
        .iter()
        .map(|(name, figures)| {
            let [visits, came, went] = figures.in_full();
            [name.clone(), visits, came, went]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths = [0, 1, 2, 3].map(width);
    rows.into_iter().map(move |row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{INDENT}{INDENT}{}", cells.collect::<Vec<_>>().join("  ").trim_end())
    })
}

/// No more than `width` characters of a line of ASCII.
fn cut(mut line: String, width: usize) -> String {
    if line.len() > width {
        line.truncate(width.saturating_sub(1));
        line.extend((width > 0).then_some('…'));
    }
    line
}

/// A round trip.
fn in_short(time: Duration) -> String {
    match time.as_millis() {
        0 => "<1 ms".to_owned(),
        millis => format!("{millis} ms"),
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            // Never 0 s: it is still to come.
            Self::Waiting(delay) => write!(f, "connecting again in {} s", delay.as_secs() + 1),
            Self::Connected => f.write_str("connected"),
            Self::Draining => f.write_str("draining"),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        match UNITS.iter().find(|(_, size)| bytes >= *size) {
            None => write!(f, "{bytes} B"),
            Some((unit, size)) if bytes < 10 * size => {
                write!(f, "{}.{} {unit}", bytes / size, bytes % size / (size / 10))
            }
            Some((unit, size)) => write!(f, "{} {unit}", bytes / size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(open: u64, visits: u64) -> Figures {
        let (bytes_in, bytes_out) = (38_400_000, 4_190_000);
        let counts = Counts { open, visits, bytes_in, bytes_out, ..Counts::default() };
        Figures { counts, rate: Rate { bytes_in: 1_250_000, bytes_out: 300_000 } }
    }

    fn connected(tunnels: &[&str]) -> Look {
        let tunnels = tunnels.iter().map(|name| ((*name).to_owned(), figures(1, 8))).collect();
        let round_trip = Some(Duration::from_millis(23));
        Look { state: State::Connected, all: figures(2, 17), tunnels, round_trip }
    }

    fn lines(look: &Look, width: usize, height: usize) -> Vec<String> {
        look.lines(Size { width, height })
    }

    #[test]
    fn one_tunnel_is_one_line_that_says_everything_in_eighty_columns() {
        let expected =
            "  connected  2 visits (17)  in 1.2 MB/s (38 MB)  out 300 kB/s (4.1 MB)  23 ms";
        assert_eq!(lines(&connected(&["web"]), 80, 24), [expected]);
    }

    #[test]
    fn several_tunnels_have_a_line_each_with_one_figure_below_the_other() {
        let mut look = connected(&["web", "database"]);
        look.tunnels[1].1 = Figures { rate: Rate::default(), ..figures(0, 123) };
        let expected = [
            "    web       1 visit (8)     in 1.2 MB/s (38 MB)  out 300 kB/s (4.1 MB)",
            "    database  0 visits (123)  in 0 B/s (38 MB)     out 0 B/s (4.1 MB)",
        ];
        assert_eq!(lines(&look, 80, 24)[1..], expected);
    }

    #[test]
    fn a_low_terminal_keeps_half_of_its_rows_for_the_log_and_says_how_many_are_missing() {
        let look = connected(&["a", "b", "c", "d", "e"]);
        let shown = |height| lines(&look, 80, height).len();
        assert_eq!([1, 2, 3, 4, 6, 8, 10, 12, 24].map(shown), [1, 1, 1, 2, 3, 4, 5, 6, 6]);
        let names = |line: &String| line.split_whitespace().next().map(str::to_owned);
        let first: Vec<_> = lines(&look, 80, 8)[1..].iter().filter_map(names).collect();
        assert_eq!(first, ["a", "b", "and"]);
        assert_eq!(lines(&look, 80, 8)[3], "    and 3 more");
        assert_eq!(lines(&look, 80, 4)[1], "    and 5 more");
    }

    #[test]
    fn a_narrow_terminal_loses_what_matters_least_and_then_the_end() {
        let look = connected(&[]);
        let shown = |width| lines(&look, width, 24).remove(0);
        assert_eq!(shown(70), "  connected  2 visits  in 1.2 MB/s  out 300 kB/s  23 ms");
        assert_eq!(shown(30), "  connected  2 visits  in 1.…");
        assert_eq!(shown(2), "…");
        assert_eq!(shown(1), "");
    }

    #[test]
    fn no_line_is_as_wide_as_the_terminal_whatever_it_is() {
        let mut look = connected(&["web", &"x".repeat(63), "c", "d"]);
        for state in [State::Connecting, State::Waiting(Duration::MAX / 2), State::Draining] {
            look.state = state;
            for (width, height) in (1..150).flat_map(|width| (1..12).map(move |h| (width, h))) {
                let lines = lines(&look, width, height);
                assert!(lines.len() <= (height / 2).max(1), "{width}x{height}: {lines:?}");
                assert!(lines.iter().all(|line| line.chars().count() < width), "{lines:?}");
            }
        }
    }

    #[test]
    fn a_client_without_a_session_shows_no_round_trip() {
        let mut look = connected(&[]);
        look.state = State::Waiting(Duration::from_millis(2500));
        let line = lines(&look, 120, 24).remove(0);
        assert!(line.starts_with("  connecting again in 3 s  2 visits (17)"), "{line}");
        assert!(line.ends_with("(4.1 MB)"), "{line}");
    }

    #[test]
    fn connections_for_requests_are_not_called_visits() {
        let mut look = connected(&[]);
        look.all.counts.carries_requests = true;
        assert!(lines(&look, 120, 24)[0].contains("  2 connections (17)  "));
        assert_eq!(look.last().unwrap(), "17 connections in all, 38 MB in, 4.1 MB out");
        look.all.counts.visits = 0;
        assert_eq!(look.last(), None);
    }

    #[test]
    fn amounts_have_three_digits_at_most_and_are_rounded_down() {
        let shown = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_999, "9.9 kB"),
            (10_000, "10 kB"),
            (999_999, "999 kB"),
            (1_250_000, "1.2 MB"),
            (5_000_000_000_000, "5.0 TB"),
        ];
        for (bytes, text) in shown {
            assert_eq!(Amount(bytes).to_string(), text);
        }
    }

    #[test]
    fn a_terminal_that_does_not_know_its_size_is_taken_for_a_usual_one() {
        assert_eq!(Size::new(0, 0), USUAL);
        assert_eq!(Size::new(100, 0), Size { width: 100, height: 24 });
    }
}
