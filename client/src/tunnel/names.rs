//! Names for tunnels that nobody has named: two words that can be read out, `bakodu-mirefa`.

use std::sync::LazyLock;

use shared::control::protocol::TunnelName;

/// What syllables begin with.
const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";

/// What they end with.
const VOWELS: &[u8; 5] = b"aeiou";

/// So many syllables, half of them in each word, make 80⁶ names, which is more than 2³²: nobody finds
/// a tunnel by guessing its name, and no two clients draw the same.
const SYLLABLES: usize = 6;

/// A name that is drawn once in the life of the process: the tunnel stays the same when the
/// configuration is read again.
pub(crate) fn random_name() -> TunnelName {
    static NAME: LazyLock<TunnelName> = LazyLock::new(|| {
        let bits = getrandom::u64().expect("the system gives random bytes");
        name(bits).parse().expect("letters and a dash make a name")
    });
    NAME.clone()
}

fn name(mut bits: u64) -> String {
    let mut draw = |letters: &[u8]| {
        let many = letters.len() as u64;
        let letter = letters[(bits % many) as usize];
        bits /= many;
        char::from(letter)
    };
    let mut name = String::new();
    for syllable in 0..SYLLABLES {
        if syllable == SYLLABLES / 2 {
            name.push('-');
        }
        name.extend([draw(CONSONANTS), draw(VOWELS)]);
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_can_be_read_out_and_differ() {
        let step = u64::MAX / 1000;
        let names: HashSet<String> = (0..1000).map(|n| name(n * step)).collect();
        assert_eq!(names.len(), 1000);
        for name in names {
            let words: Vec<_> = name.split('-').collect();
            assert!(words.len() == 2 && words.iter().all(|word| word.len() == 6), "{name}");
            assert!(name.parse::<TunnelName>().is_ok());
        }
        assert_eq!(random_name(), random_name());
    }
}
