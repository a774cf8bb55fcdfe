//! What others say, as it may stand in a log.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// So many characters of what others say are shown.
const LONGEST: usize = 200;

/// Text from the other end of a connection, or an error that may quote it: whatever is displayed
/// comes out as one harmless piece. Control characters, and others that a reader does not see or
/// that change the order of what it sees, are escaped; the rest after 200 characters is cut off.
#[derive(Clone, Copy, Debug)]
pub struct Foreign<T>(pub T);

impl<T: Display> Display for Foreign<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut harmless = Harmless { to: f, room: LONGEST };
        match write!(harmless, "{}", self.0) {
            // No room for more is no failure.
            Err(_) if harmless.room == 0 => f.write_char('…'),
            result => result,
        }
    }
}

/// The same of `text`, of which as many as `most` characters are shown.
pub fn harmless(text: &str, most: usize) -> Cow<'_, str> {
    // Nearly everything is.
    if text.len() <= most && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    let mut harmless = Harmless { to: &mut shown, room: most };
    // It fails when there is no room for more, and for no other reason.
    if harmless.write_str(text).is_err() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// Passes on characters as long as there is room.
struct Harmless<'a, W> {
    to: &'a mut W,
    room: usize,
}

impl<W: Write> Write for Harmless<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.room = self.room.checked_sub(1).ok_or(fmt::Error)?;
            if misleads(c) {
                write!(self.to, "{}", c.escape_default())?;
            } else {
                self.to.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Whether a character does something else to a line than to appear in it: controls, ends of lines
/// and paragraphs, the direction of writing, and what takes no room at all.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_cannot_look_like_a_line_of_the_log() {
        let forged = "x\n2026-01-01 INFO relay: \u{1b}[31mforged";
        assert_eq!(Foreign(forged).to_string(), "x\\n2026-01-01 INFO relay: \\u{1b}[31mforged");
    }

    #[test]
    fn what_others_say_is_read_in_the_order_in_which_it_was_said_and_hides_nothing() {
        for hidden in ['\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}', '\u{2028}', '\u{200b}'] {
            let shown = Foreign(format!("a{hidden}b")).to_string();
            assert_eq!(shown, format!("a\\u{{{:x}}}b", u32::from(hidden)));
        }
        let harmless = "déjà vu – 日本語 עברית 🦀";
        assert_eq!(Foreign(harmless).to_string(), harmless);
    }

    #[test]
    fn what_others_say_is_short() {
        let exactly = "ä".repeat(200);
        assert_eq!(Foreign(&exactly).to_string(), exactly);
        assert_eq!(Foreign("ä".repeat(201)).to_string(), format!("{exactly}…"));
        assert_eq!(Foreign(format_args!("{exactly}{exactly}")).to_string(), format!("{exactly}…"));
        assert_eq!(harmless("four", 4), "four");
        assert_eq!(harmless("five!", 4), "five…");
        assert_eq!(harmless("\u{1b}a", 2), "\\u{1b}a");
    }
}
