//! Server-sent events in a body (HTML, section 9.2), one by one.

use std::sync::Arc;
use std::time::Duration;

use super::cost;
use super::names::Names;
use super::scrub::Scrub;

/// The longest line in bytes of which more than the beginning is looked at.
const LONGEST_LINE: usize = 64 * 1024;

/// The events of a stream.
#[derive(Debug)]
pub(crate) struct Events {
    /// Those that are kept, in their order.
    pub(crate) list: Vec<Event>,
    /// How many there were.
    pub(crate) whole: u64,
    /// Not all of them are kept, or not whole.
    pub(crate) is_cut: bool,
    names: Arc<Names>,
    /// So many bytes are kept of all of them.
    most: usize,
    /// What those that are kept take up.
    taken: usize,
    /// The line that is being read.
    line: Vec<u8>,
    /// The last byte was the first half of an end of line.
    is_halfway: bool,
    /// The event that is being read.
    next: Event,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// How long after the beginning of the exchange it came.
    pub(crate) at: Duration,
    pub(crate) kind: String,
    pub(crate) id: String,
    /// Without secrets.
    pub(crate) data: String,
}

impl Events {
    pub(super) fn new(names: &Arc<Names>, most: usize) -> Self {
        Self {
            list: Vec::new(),
            whole: 0,
            is_cut: false,
            names: Arc::clone(names),
            most,
            taken: 0,
            line: Vec::new(),
            is_halfway: false,
            next: Event::default(),
        }
    }

    /// Goes on by `data`.
    pub(super) fn push(&mut self, data: &[u8], at: Duration) {
        for &byte in data {
            let is_halfway = std::mem::replace(&mut self.is_halfway, byte == b'\r');
            match byte {
                b'\n' if is_halfway => (),
                b'\n' | b'\r' => self.line_ends(at),
                byte if self.line.len() < LONGEST_LINE.min(self.most) => self.line.push(byte),
                _ => self.is_cut = true,
            }
        }
    }

    /// No more comes. An event that is not over is none.
    pub(super) fn end(&mut self) {
        (self.line, self.next) = (Vec::new(), Event::default());
        self.list.shrink_to_fit();
    }

    fn line_ends(&mut self, at: Duration) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        if text.is_empty() {
            return self.event_ends(at);
        }
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let room = self.most.saturating_sub(self.next.data.len());
        match field {
            "event" => self.next.kind = value.to_owned(),
            "id" => self.next.id = value.to_owned(),
            "data" if value.len() < room => {
                // Each line but the last one ends.
                self.next.data += value;
                self.next.data.push('\n');
            }
            "data" => self.is_cut = true,
            _ => (),
        }
    }

    fn event_ends(&mut self, at: Duration) {
        let Event { kind, id, mut data, .. } = std::mem::take(&mut self.next);
        if data.pop().is_none() {
            return;
        }
        self.whole += 1;
        let mut kept = Vec::new();
        if Scrub::of_text(&self.names).push(data.as_bytes(), &mut kept).is_err() {
            self.is_cut = true;
        }
        let data = String::from_utf8_lossy(&kept).into_owned();
        let event = Event { at, kind, id, data };
        let cost = event.cost();
        if self.taken + cost > self.most {
            self.is_cut = true;
            return;
        }
        self.taken += cost;
        self.list.push(event);
    }

    pub(super) fn cost(&self) -> usize {
        let spare = (self.list.capacity() - self.list.len()) * size_of::<Event>();
        self.taken + spare + cost::of(self.line.capacity()) + self.next.cost()
    }
}

impl Event {
    fn cost(&self) -> usize {
        let texts = [&self.kind, &self.id, &self.data];
        size_of::<Self>() + texts.into_iter().map(|text| cost::of(text.capacity())).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(stream: &str, most: usize) -> Events {
        let mut events = Events::new(&Arc::default(), most);
        for piece in stream.as_bytes().chunks(3) {
            events.push(piece, Duration::ZERO);
        }
        events.end();
        events
    }

    #[test]
    fn events_are_read_as_browsers_do_and_masked() {
        let stream = ": hello\r\n\r\nevent: tick\r\nid: 7\r\ndata: {\"token\":\r\ndata:\"hush\"}\r\n\
                      \r\ndata\n\ndata: plain\n\nevent: none\n\ndata: unfinished";
        let events = events(stream, 10_000);
        let seen: Vec<_> =
            events.list.iter().map(|e| (e.kind.as_str(), e.id.as_str(), e.data.as_str())).collect();
        assert_eq!(seen, [("tick", "7", "{\"token\":\n\"***\"}"), ("", "", ""), ("", "", "plain")]);
        assert_eq!((events.whole, events.is_cut), (3, false));
    }

    #[test]
    fn a_stream_without_end_takes_no_more_than_it_may() {
        let events = events(&"data: something or other\n\n".repeat(1000), 2000);
        assert_eq!((events.whole, events.is_cut), (1000, true));
        assert!(events.cost() < 4000 && !events.list.is_empty());
        let line = self::events(&"data: ".repeat(100_000), 2000);
        assert!(line.is_cut && line.cost() < 5000);
    }
}
