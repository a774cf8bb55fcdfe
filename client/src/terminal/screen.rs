//! A terminal at whose foot some lines stay, whoever writes to it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use shared::kit::output::write_whole;

use super::lines::Size;
use super::tty;

/// Erases the foot: everything from the cursor, which is at its beginning, to the end.
const ERASE: &str = "\r\x1b[J";

/// A terminal that is stdout. Cheap to clone.
///
/// Its lock is held while something is written, and so for as long as the terminal takes nothing.
/// It is for threads that do nothing but write.
#[derive(Clone, Debug)]
pub struct Screen(Arc<Terminal>);

#[derive(Debug)]
struct Terminal {
    tty: File,
    shown: Mutex<Shown>,
}

/// What is to be seen at the foot.
#[derive(Debug, Default)]
struct Shown {
    /// What draws it and puts the cursor at its beginning. Empty if there is to be none.
    drawing: String,
    /// It is there.
    is_drawn: bool,
    /// A line above it has begun and not ended.
    amid_line: bool,
    /// There will be none any more.
    is_over: bool,
}

/// Writes lines above the foot.
#[derive(Debug)]
pub struct Above<W> {
    screen: Screen,
    out: W,
}

impl Screen {
    /// Stdout, if it is a terminal on which lines can be redrawn, and one where that is welcome.
    pub fn of_stdout() -> Option<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        if !is_welcome(
            variable("TERM").is_none_or(|term| term == "dumb"),
            variable("NO_COLOR").is_some(),
        ) {
            return None;
        }
        Some(Self::on(tty::stdout()?))
    }

    fn on(tty: File) -> Self {
        Self(Arc::new(Terminal { tty, shown: Mutex::default() }))
    }

    /// Whether stderr is the same terminal.
    pub fn has_stderr(&self) -> bool {
        tty::is_stderr(&self.0.tty)
    }

    /// Writes to `out`, which has to be the same terminal.
    pub fn above<W: Write>(&self, out: W) -> Above<W> {
        Above { screen: self.clone(), out }
    }

    pub(super) fn size(&self) -> Size {
        tty::size(&self.0.tty)
    }

    /// Whether the terminal is this program's to draw on, and not that of one which runs in front.
    pub(super) fn is_in_front(&self) -> bool {
        tty::is_in_front(&self.0.tty)
    }

    /// The foot is `lines` from now on. They are drawn again only if they are others, or `anew`: what
    /// somebody has marked with the mouse stays marked.
    pub(super) fn draw(&self, lines: &[String], anew: bool) {
        let mut shown = self.0.shown.lock();
        let drawing = drawing(lines);
        if shown.is_over || shown.is_drawn && shown.drawing == drawing && !anew {
            return;
        }
        shown.drawing = drawing;
        if shown.amid_line {
            return;
        }
        shown.is_drawn = true;
        let text = if anew { format!("{ERASE}{}", shown.drawing) } else { shown.drawing.clone() };
        shown.write(&self.0.tty, text.as_bytes());
    }

    /// There is no foot until it is drawn again.
    pub(super) fn erase(&self) {
        let mut shown = self.0.shown.lock();
        shown.drawing.clear();
        if std::mem::take(&mut shown.is_drawn) {
            shown.write(&self.0.tty, ERASE.as_bytes());
        }
    }

    /// The same, where what has been drawn is in other hands now.
    pub(super) fn leave(&self) {
        let mut shown = self.0.shown.lock();
        shown.drawing.clear();
        shown.is_drawn = false;
    }

    /// There is no foot any more. `last` is a line in its place.
    pub(super) fn end(&self, last: Option<&str>) {
        let mut shown = self.0.shown.lock();
        if std::mem::take(&mut shown.is_drawn) {
            let last = last.map(|line| format!("{line}\r\n")).unwrap_or_default();
            shown.write(&self.0.tty, format!("{ERASE}{last}").as_bytes());
        }
        shown.is_over = true;
    }
}

impl Shown {
    /// A terminal that is gone has no foot any more.
    fn write(&mut self, mut out: impl Write, text: &[u8]) {
        if write_whole(&mut out, text).is_err() {
            *self = Self::gone();
        }
    }

    fn gone() -> Self {
        Self { is_over: true, ..Self::default() }
    }
}

/// Erases, writes and redraws in one piece, so that nothing flickers.
impl<W: Write> Write for Above<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let Some(last) = lines.last() else { return Ok(0) };
        let mut shown = self.screen.0.shown.lock();
        if shown.is_over || shown.drawing.is_empty() {
            return self.out.write(lines);
        }
        let mut text = Vec::new();
        if shown.is_drawn {
            text.extend_from_slice(ERASE.as_bytes());
        }
        text.extend_from_slice(lines);
        shown.amid_line = *last != b'\n';
        shown.is_drawn = !shown.amid_line;
        if shown.is_drawn {
            text.extend_from_slice(shown.drawing.as_bytes());
        }
        let written = write_whole(&mut self.out, &text);
        if written.is_err() {
            *shown = Shown::gone();
        }
        written.map(|()| lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What draws `lines` from the cursor on, over what is there, and brings it back.
fn drawing(lines: &[String]) -> String {
    // The rest of each line is erased, and behind the last one the rest of the screen.
    let text = lines.join("\x1b[K\r\n");
    let up = match lines.len() {
        0 => return String::new(),
        1 => String::new(),
        rows => format!("\x1b[{}A", rows - 1),
    };
    format!("\r{text}\x1b[J{up}\r")
}

/// Who wants no colours wants a quiet terminal as well.
fn is_welcome(is_dumb: bool, no_colour: bool) -> bool {
    !is_dumb && !no_colour
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read};
    use std::os::fd::OwnedFd;

    use super::*;

    /// A screen that writes to a pipe.
    fn piped() -> (Screen, PipeReader) {
        let (reader, pipe) = io::pipe().unwrap();
        (Screen::on(File::from(OwnedFd::from(pipe))), reader)
    }

    fn written(screen: Screen, mut reader: PipeReader) -> String {
        drop(screen);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    fn foot(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_line_gets_above_the_foot_in_one_piece() {
        let (screen, reader) = piped();
        let mut out = screen.above(Vec::new());
        out.write_all(b"before\n").unwrap();
        screen.draw(&foot(&["one", "two"]), false);
        out.write_all(b"line\n").unwrap();
        out.write_all(b"half ").unwrap();
        screen.draw(&foot(&["three"]), false);
        out.write_all(b"a line\n").unwrap();
        let drawn = "\rone\x1b[K\r\ntwo\x1b[J\x1b[1A\r";
        let expected = format!("before\n{ERASE}line\n{drawn}{ERASE}half a line\n\rthree\x1b[J\r");
        assert_eq!(String::from_utf8(std::mem::take(&mut out.out)).unwrap(), expected);
        drop(out);
        assert_eq!(written(screen, reader), drawn, "nothing is drawn amid a line");
    }

    #[test]
    fn what_is_the_same_is_not_drawn_again_unless_it_has_to_be() {
        let (screen, reader) = piped();
        for anew in [false, false, true] {
            screen.draw(&foot(&["one"]), anew);
        }
        let drawn = "\rone\x1b[J\r";
        assert_eq!(written(screen, reader), format!("{drawn}{ERASE}{drawn}"));
    }

    #[test]
    fn after_the_end_lines_are_written_as_they_are() {
        let (screen, reader) = piped();
        screen.draw(&foot(&["one"]), false);
        screen.end(Some("17 visits"));
        screen.draw(&foot(&["two"]), true);
        screen.end(Some("once more"));
        let mut out = screen.above(Vec::new());
        out.write_all(b"the end\n").unwrap();
        assert_eq!(out.out, b"the end\n");
        drop(out);
        assert_eq!(written(screen, reader), format!("\rone\x1b[J\r{ERASE}17 visits\r\n"));
    }

    #[test]
    fn a_terminal_that_is_gone_has_no_foot() {
        let (screen, reader) = piped();
        drop(reader);
        screen.draw(&foot(&["one"]), false);
        let mut out = screen.above(Vec::new());
        out.write_all(b"line\n").unwrap();
        assert_eq!(out.out, b"line\n");
    }

    #[test]
    fn a_dumb_terminal_and_one_without_colour_are_left_alone() {
        assert!(is_welcome(false, false));
        assert!(!is_welcome(true, false) && !is_welcome(false, true));
    }
}
