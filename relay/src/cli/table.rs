//! Lists as people read them.

use std::time::SystemTime;

/// The largest unit in which a time is shown, and how many seconds it has.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Rows below their heads, each column as wide as it has to be.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heads.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths);
        let line: String = cells.map(|(cell, width)| format!("{cell:width$}  ")).collect();
        format!("{}\n", line.trim_end())
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|i| row[i].as_str())));
    std::iter::once(line(heads)).chain(rows).collect()
}

/// How long ago it was.
pub(super) fn ago(time: Option<SystemTime>, now: SystemTime) -> String {
    match time {
        Some(time) => format!("{} ago", rough(now.duration_since(time).unwrap_or_default())),
        None => "never".into(),
    }
}

/// How long it lasts from now.
pub(super) fn left(end: Option<SystemTime>, now: SystemTime) -> String {
    match end.map(|end| end.duration_since(now)) {
        None => "never".into(),
        Some(Ok(left)) => format!("in {}", rough(left)),
        Some(Err(_)) => "expired".into(),
    }
}

fn rough(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let unit = UNITS.into_iter().find(|(_, unit)| seconds >= *unit);
    let (name, unit) = unit.unwrap_or(("s", 1));
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let rows =
            [["ann".to_owned(), "never".to_owned()], ["bob-the-builder".into(), "1d".into()]];
        let text = table(["NAME", "USED"], &rows);
        assert_eq!(text, "NAME             USED\nann              never\nbob-the-builder  1d\n");
    }

    #[test]
    fn times_are_rough() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let before = |seconds| Some(now - Duration::from_secs(seconds));
        assert_eq!(ago(before(200_000), now), "2d ago");
        assert_eq!(ago(before(0), now), "0s ago");
        assert_eq!(ago(None, now), "never");
        assert_eq!(left(Some(now + Duration::from_secs(90)), now), "in 1m");
        assert_eq!((left(before(1), now).as_str(), left(None, now).as_str()), ("expired", "never"));
    }
}
