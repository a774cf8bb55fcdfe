//! The word that somebody probably meant.

/// How alike two words have to be, from 0 to 1, before one is offered for the other.
const ALIKE: f64 = 0.75;

/// The word of `known` that is most like `word`, if one is like it at all.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// `: did you mean 'port'?`, to be put behind a complaint; empty where there is nothing to offer.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|word| format!(": did you mean '{word}'?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        let known = ["stall-timeout", "connect-timeout", "grace"];
        assert_eq!(nearest("stall-timout", known), Some("stall-timeout"));
        assert_eq!(nearest("stall_timeout", known), Some("stall-timeout"));
        assert_eq!(nearest("gracce", known), Some("grace"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(did_you_mean("colour", known), "");
    }
}
