//! Messages of a WebSocket (RFC 6455), read from the frames that pass both ways.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Speaker;
use super::body::LeftOut;
use super::cost;
use super::inflate::Inflate;
use super::names::Names;
use super::scrub::Scrub;

/// The longest payload of a frame that says something of the connection (section 5.5).
const LONGEST_CONTROL: u64 = 125;

/// The longest head of a frame: two bytes, a length of eight, a key of four.
const LONGEST_HEAD: usize = 14;

/// The messages of a WebSocket, the last ones of those that passed.
#[derive(Debug)]
pub(crate) struct Messages {
    /// Those that are kept, in the order in which they ended.
    pub(crate) list: VecDeque<Message>,
    /// How many there were.
    pub(crate) whole: u64,
    /// Not all of them are kept, or not whole.
    pub(crate) is_cut: bool,
    names: Arc<Names>,
    /// So many bytes are kept of all of them.
    most: usize,
    /// What those that are kept take up.
    taken: usize,
    inward: Frames,
    outward: Frames,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A message, or a frame that says something of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// How long after the beginning of the exchange it ended.
    pub(crate) at: Duration,
    pub(crate) from: Speaker,
    pub(crate) kind: MessageKind,
    /// Inflated, and without secrets.
    pub(crate) data: Vec<u8>,
    /// Its payload on the way, in bytes.
    pub(crate) whole: u64,
    pub(crate) is_compressed: bool,
    pub(crate) is_cut: bool,
    pub(crate) left_out: Option<LeftOut>,
}

/// One direction.
#[derive(Debug)]
struct Frames {
    from: Speaker,
    head: Vec<u8>,
    /// The frame that is being read, and how much of it is missing.
    frame: Option<(Frame, u64)>,
    /// The message that is being read, which may come in several frames.
    message: Option<Reading>,
    /// The frame that says something of the connection and is being read, between those of a message.
    control: Option<Message>,
    /// What those that are compressed have in common. `None`: they are not inflated.
    inflate: Option<Inflate>,
    /// It cannot be read any more.
    is_lost: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    is_last: bool,
    is_compressed: bool,
    key: [u8; 4],
    length: u64,
}

/// A message that is not over.
#[derive(Debug)]
struct Reading {
    message: Message,
    scrub: Scrub,
    /// What has come compressed.
    encoded: Vec<u8>,
}

impl Messages {
    /// Those of a connection that has just begun, `is_deflated` if its ends have agreed on
    /// `permessage-deflate` (RFC 7692).
    pub(super) fn new(names: &Arc<Names>, most: usize, is_deflated: bool) -> Self {
        let frames = |from| Frames {
            from,
            head: Vec::new(),
            frame: None,
            message: None,
            control: None,
            inflate: is_deflated.then(Inflate::new),
            is_lost: false,
        };
        Self {
            list: VecDeque::new(),
            whole: 0,
            is_cut: false,
            names: Arc::clone(names),
            most,
            taken: 0,
            inward: frames(Speaker::Visitor),
            outward: frames(Speaker::Service),
        }
    }

    /// Goes on by what one end has said.
    pub(super) fn push(&mut self, from: Speaker, data: &[u8], at: Duration) {
        let frames = match from {
            Speaker::Visitor => &mut self.inward,
            Speaker::Service => &mut self.outward,
        };
        let mut over = Vec::new();
        frames.pass(data, (&self.names, self.most / 2), at, &mut over);
        self.is_cut |= frames.is_lost;
        for message in over {
            self.add(message);
        }
    }

    fn add(&mut self, mut message: Message) {
        message.data.shrink_to_fit();
        self.whole += 1;
        self.taken += message.cost();
        self.is_cut |= message.is_cut;
        self.list.push_back(message);
        while self.taken > self.most
            && let Some(first) = self.list.pop_front()
        {
            self.taken -= first.cost();
            self.is_cut = true;
        }
    }

    pub(super) fn cost(&self) -> usize {
        let spare = (self.list.capacity() - self.list.len()) * size_of::<Message>();
        self.taken + spare + self.inward.cost() + self.outward.cost()
    }
}

impl Message {
    fn cost(&self) -> usize {
        size_of::<Self>() + cost::of(self.data.capacity())
    }
}

impl Frames {
    fn pass(
        &mut self,
        mut data: &[u8],
        bounds: (&Arc<Names>, usize),
        at: Duration,
        over: &mut Vec<Message>,
    ) {
        while !self.is_lost && (!data.is_empty() || self.is_complete()) {
            let Some((frame, left)) = &mut self.frame else {
                self.head.push(data[0]);
                data = &data[1..];
                match Frame::read(&self.head) {
                    Ok(None) => (),
                    Ok(Some(frame)) => {
                        self.head.clear();
                        self.frame = Some((frame, frame.length));
                        self.is_lost = !self.begin(frame, bounds.0);
                    }
                    Err(()) => self.is_lost = true,
                }
                continue;
            };
            let taken = data.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            let (piece, rest) = data.split_at(taken);
            let (frame, offset) = (*frame, frame.length - *left);
            *left -= taken as u64;
            data = rest;
            self.payload(frame, offset, piece, bounds.1);
            if self.is_complete() {
                self.frame = None;
                if frame.is_control() {
                    over.extend(self.control.take().map(|message| Message { at, ..message }));
                } else if frame.is_last
                    && let Some(reading) = self.message.take()
                {
                    over.push(reading.ends(&mut self.inflate, bounds.1, at));
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        matches!(self.frame, Some((_, 0)))
    }

    /// Whether a frame has its place there.
    fn begin(&mut self, frame: Frame, names: &Arc<Names>) -> bool {
        let kind = match frame.opcode {
            0 => return self.message.is_some(),
            1 => MessageKind::Text,
            2 => MessageKind::Binary,
            8..=10 => return frame.is_last && frame.length <= LONGEST_CONTROL,
            _ => return false,
        };
        let is_first = self.message.is_none();
        let message = Message::new(self.from, kind, frame.is_compressed);
        let (scrub, encoded) = (Scrub::of_text(names), Vec::new());
        self.message = Some(Reading { message, scrub, encoded });
        is_first
    }

    fn payload(&mut self, frame: Frame, offset: u64, piece: &[u8], most: usize) {
        let plain = piece.iter().zip(offset..);
        let plain = plain.map(|(byte, n)| byte ^ frame.key[(n % 4) as usize]);
        if frame.is_control() {
            let kind = match frame.opcode {
                8 => MessageKind::Close,
                9 => MessageKind::Ping,
                _ => MessageKind::Pong,
            };
            let new = || Message::new(self.from, kind, false);
            let message = self.control.get_or_insert_with(new);
            message.whole += piece.len() as u64;
            message.data.extend(plain);
            return;
        }
        let Some(Reading { message, scrub, encoded }) = &mut self.message else { return };
        message.whole += piece.len() as u64;
        let target = if message.is_compressed { &mut *encoded } else { &mut message.data };
        let room = most.saturating_sub(target.len());
        message.is_cut |= piece.len() > room;
        let plain: Vec<u8> = plain.take(room).collect();
        cost::room(target, plain.len(), most);
        if message.is_compressed {
            encoded.extend(plain);
        } else if message.left_out.is_none()
            && let Err(unsure) = scrub.push(&plain, &mut message.data)
        {
            message.left_out = Some(LeftOut::Unsure(unsure));
        }
    }

    fn cost(&self) -> usize {
        let reading = self.message.as_ref().map_or(0, |reading| {
            reading.message.cost() + cost::of(reading.encoded.capacity()) + reading.scrub.cost()
        });
        reading + self.inflate.as_ref().map_or(0, Inflate::cost) + cost::of(LONGEST_HEAD)
    }
}

impl Frame {
    /// The frame that begins so. `None`: there has to be more of it.
    fn read(head: &[u8]) -> Result<Option<Self>, ()> {
        let &[first, second, ..] = head else { return Ok(None) };
        let is_masked = second & 0x80 != 0;
        let (length_bytes, short) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            short => (0, u64::from(short)),
        };
        let key_at = 2 + length_bytes;
        if head.len() < key_at + if is_masked { 4 } else { 0 } {
            return Ok(None);
        }
        let long = head[2..key_at].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        let length = if length_bytes == 0 { short } else { long };
        if first & 0x30 != 0 || length >> 63 != 0 {
            return Err(());
        }
        let mut key = [0; 4];
        if is_masked {
            key.copy_from_slice(&head[key_at..]);
        }
        Ok(Some(Self {
            opcode: first & 0x0f,
            is_last: first & 0x80 != 0,
            is_compressed: first & 0x40 != 0,
            key,
            length,
        }))
    }

    fn is_control(self) -> bool {
        self.opcode >= 8
    }
}

impl Message {
    fn new(from: Speaker, kind: MessageKind, is_compressed: bool) -> Self {
        Self {
            at: Duration::ZERO,
            from,
            kind,
            data: Vec::new(),
            whole: 0,
            is_compressed,
            is_cut: false,
            left_out: None,
        }
    }
}

impl Reading {
    fn ends(self, inflate: &mut Option<Inflate>, most: usize, at: Duration) -> Message {
        let Self { mut message, mut scrub, encoded } = self;
        message.at = at;
        if !message.is_compressed {
            return message;
        }
        // What is missing is missing to all that follow as well.
        if message.is_cut {
            *inflate = None;
        }
        match inflate.as_mut().and_then(|inflate| inflate.message(&encoded, most)) {
            Some((plain, is_whole)) => {
                message.is_cut |= !is_whole;
                if let Err(unsure) = scrub.push(&plain, &mut message.data) {
                    message.left_out = Some(LeftOut::Unsure(unsure));
                }
            }
            None => {
                *inflate = None;
                message.left_out = Some(LeftOut::Undecodable);
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with this payload, `flags` being the first byte.
    fn frame(flags: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![flags];
        let mask = if key.is_some() { 0x80 } else { 0 };
        match payload.len() {
            short @ 0..126 => frame.push(mask | short as u8),
            long => {
                frame.push(mask | 126);
                frame.extend((long as u16).to_be_bytes());
            }
        }
        frame.extend(key.iter().flatten());
        let key = key.unwrap_or_default();
        frame.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ key[n % 4]));
        frame
    }

    fn read(bytes: &[u8], piece: usize, is_deflated: bool) -> Messages {
        let mut messages = Messages::new(&Arc::default(), 10_000, is_deflated);
        for piece in bytes.chunks(piece) {
            messages.push(Speaker::Visitor, piece, Duration::ZERO);
        }
        messages
    }

    #[test]
    fn messages_are_put_together_from_their_frames_however_they_come() {
        let key = Some([1, 2, 3, 4]);
        let long = "x".repeat(300);
        let bytes = [
            frame(0x81, key, b"hello"),
            frame(0x01, key, br#"{"pass"#),
            frame(0x89, key, b"ping"),
            frame(0x00, key, br#"word":"hu"#),
            frame(0x80, key, br#"sh"}"#),
            frame(0x82, key, &[0, 159, 146]),
            frame(0x81, key, b""),
            frame(0x81, key, long.as_bytes()),
            frame(0x88, key, &[3, 232]),
        ]
        .concat();
        for piece in [1, 2, 5, 10_000] {
            let messages = read(&bytes, piece, false);
            let seen: Vec<_> =
                messages.list.iter().map(|message| (message.kind, &*message.data)).collect();
            use MessageKind::{Binary, Close, Ping, Text};
            assert_eq!(
                seen,
                [
                    (Text, &b"hello"[..]),
                    (Ping, b"ping"),
                    (Text, br#"{"password":"***"}"#),
                    (Binary, &[0, 159, 146]),
                    (Text, b""),
                    (Text, long.as_bytes()),
                    (Close, &[3, 232]),
                ],
                "in pieces of {piece}"
            );
            assert!(!messages.is_cut);
        }
    }

    #[test]
    fn compressed_messages_are_inflated_with_what_came_before() {
        // As RFC 7692 has it, section 7.2.3.2: the second one refers to the first.
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let bytes = [frame(0xc1, None, &first), frame(0xc1, None, &second)].concat();
        let messages = read(&bytes, 3, true);
        assert!(messages.list.iter().all(|message| message.data == b"Hello"), "{messages:?}");
        assert_eq!((messages.list.len(), messages.is_cut), (2, false));
        let unread = read(&bytes, 3, false);
        assert!(unread.list.iter().all(|one| one.left_out == Some(LeftOut::Undecodable)));
    }

    #[test]
    fn what_is_no_frame_ends_the_list_and_many_messages_push_out_the_first() {
        for bad in [
            frame(0x83, None, b"?"),
            frame(0xa1, None, b"?"),
            frame(0x80, None, b"?"),
            frame(0x09, None, b"?"),
        ] {
            let bytes = [frame(0x81, None, b"good"), bad, frame(0x81, None, b"hush")].concat();
            let messages = read(&bytes, 1000, false);
            assert_eq!((messages.list.len(), messages.is_cut), (1, true));
        }
        let mut messages = Messages::new(&Arc::default(), 10_000, false);
        for n in 0..1000 {
            let text = format!("message {n}");
            messages.push(Speaker::Service, &frame(0x81, None, text.as_bytes()), Duration::ZERO);
        }
        assert_eq!((messages.whole, messages.is_cut), (1000, true));
        assert!(messages.taken <= 10_000);
        assert_eq!(messages.list.back().unwrap().data, b"message 999");
        let endless = frame(0x01, None, &[b'x'; 60_000]);
        messages.push(Speaker::Service, &endless, Duration::ZERO);
        assert!(messages.cost() < 40_000);
    }
}
