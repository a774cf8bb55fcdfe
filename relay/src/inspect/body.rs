//! A body as it is kept: a copy of what passes, decoded and without secrets, up to a bound.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::cost;
use super::decode::Coding;
use super::events::Events;
use super::names::Names;
use super::scrub::{Scrub, Unsure};

/// A body, as far as it has come.
#[derive(Debug)]
pub(crate) struct Body {
    /// What is kept of it.
    pub(crate) kept: Vec<u8>,
    /// The events in it, of which nothing else is kept.
    pub(crate) events: Option<Events>,
    /// How many bytes have passed.
    pub(crate) whole: u64,
    /// It was longer than what is kept.
    pub(crate) is_cut: bool,
    /// Why something of it is not kept.
    pub(crate) left_out: Option<LeftOut>,
    /// How it was compressed on its way.
    pub(crate) coding: Option<Coding>,
    /// So much of it is kept at most, in bytes.
    most: usize,
    scrub: Scrub,
    /// What has come compressed, until all of it is here.
    encoded: Vec<u8>,
}

/// Why something of a body is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// Nobody asked for it.
    NotWanted,
    /// It is not known what in it is a secret.
    Unsure(Unsure),
    /// It is compressed in a way that is not known, or broken.
    Undecodable,
    /// It went on in another protocol.
    Changed,
}

impl LeftOut {
    /// For people.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::NotWanted => "the inspection is without bodies",
            Self::Unsure(unsure) => unsure.says(),
            Self::Undecodable => "it is compressed and cannot be decoded",
            Self::Changed => "another protocol follows",
        }
    }
}

impl Body {
    /// One with such a head, of which `most` bytes are kept. `None`: nothing is.
    pub(super) fn of(headers: &HeaderMap, names: &Arc<Names>, most: Option<usize>) -> Self {
        let coding = Coding::of(headers);
        let left_out = match (most, coding) {
            (None, _) => Some(LeftOut::NotWanted),
            (_, Err(())) => Some(LeftOut::Undecodable),
            _ => None,
        };
        let is_stream = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.to_str().unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/event-stream")
        });
        let most = most.unwrap_or_default();
        Self {
            kept: Vec::new(),
            events: is_stream.then(|| Events::new(names, most)),
            whole: 0,
            is_cut: false,
            left_out,
            coding: coding.unwrap_or_default(),
            most,
            scrub: Scrub::of(headers, names),
            encoded: Vec::new(),
        }
    }

    /// Goes on by `data`, so long after the beginning.
    pub(super) fn push(&mut self, data: &[u8], at: Duration) {
        self.whole += data.len() as u64;
        if self.left_out.is_some() {
            return;
        }
        if self.coding.is_none() {
            return self.take(data, at);
        }
        let room = self.most - self.encoded.len();
        self.is_cut |= data.len() > room;
        let data = &data[..data.len().min(room)];
        cost::room(&mut self.encoded, data.len(), self.most);
        self.encoded.extend_from_slice(data);
    }

    /// No more comes.
    pub(super) fn end(&mut self, at: Duration) {
        if let Some(coding) = self.coding.filter(|_| !self.encoded.is_empty()) {
            let encoded = std::mem::take(&mut self.encoded);
            let (decoded, is_whole) = coding.decode(&encoded, self.most);
            if decoded.is_empty() && !is_whole {
                self.left_out = Some(LeftOut::Undecodable);
            }
            self.is_cut |= !is_whole;
            self.take(&decoded, at);
        }
        if let Some(events) = &mut self.events {
            events.end();
        }
        self.kept.shrink_to_fit();
    }

    /// Another protocol follows.
    pub(super) fn changes(&mut self) {
        self.left_out = Some(LeftOut::Changed);
    }

    fn take(&mut self, data: &[u8], at: Duration) {
        if let Some(events) = &mut self.events {
            events.push(data, at);
            self.is_cut |= events.is_cut;
            return;
        }
        let room = self.most.saturating_sub(self.kept.len());
        self.is_cut |= data.len() > room;
        let data = &data[..data.len().min(room)];
        if data.is_empty() {
            return;
        }
        cost::room(&mut self.kept, data.len(), self.most);
        if let Err(unsure) = self.scrub.push(data, &mut self.kept) {
            self.left_out = Some(LeftOut::Unsure(unsure));
        }
    }

    pub(super) fn cost(&self) -> usize {
        cost::of(self.kept.capacity())
            + cost::of(self.encoded.capacity())
            + self.scrub.cost()
            + self.events.as_ref().map_or(0, Events::cost)
    }
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::write::GzipEncoder;
    use hyper::header::{CONTENT_ENCODING, HeaderName, HeaderValue};
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn body(fields: &[(HeaderName, &'static str)], most: usize) -> Body {
        let fields =
            fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        Body::of(&fields.collect(), &Arc::default(), Some(most))
    }

    #[test]
    fn what_is_longer_is_cut_and_counted() {
        let mut body = body(&[(CONTENT_TYPE, "text/html")], 10);
        for _ in 0..7 {
            body.push(b"abc", Duration::ZERO);
        }
        body.end(Duration::ZERO);
        assert_eq!((&*body.kept, body.whole, body.is_cut), (&b"abcabcabca"[..], 21, true));
        assert!(body.kept.capacity() <= 10);
    }

    #[tokio::test]
    async fn what_is_compressed_is_kept_decoded_and_without_secrets() {
        let mut encoder = GzipEncoder::new(Vec::new());
        encoder.write_all(br#"{"password":"hush","a":1}"#).await.unwrap();
        encoder.shutdown().await.unwrap();
        let encoded = encoder.into_inner();
        let fields = [(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")];
        let mut whole = body(&fields, 1000);
        encoded.chunks(3).for_each(|piece| whole.push(piece, Duration::ZERO));
        assert!(whole.kept.is_empty());
        whole.end(Duration::ZERO);
        assert_eq!(whole.kept, br#"{"password":"***","a":1}"#);
        assert_eq!((whole.whole, whole.is_cut), (encoded.len() as u64, false));

        let mut broken = body(&fields, 1000);
        broken.push(b"no gzip", Duration::ZERO);
        broken.end(Duration::ZERO);
        assert_eq!((broken.left_out, broken.kept.len()), (Some(LeftOut::Undecodable), 0));
        let mut unknown = body(&[(CONTENT_ENCODING, "compress")], 1000);
        unknown.push(b"hush", Duration::ZERO);
        unknown.end(Duration::ZERO);
        assert_eq!((unknown.left_out, unknown.kept.len()), (Some(LeftOut::Undecodable), 0));
    }

    #[test]
    fn a_body_that_turns_out_to_be_none_that_can_be_masked_is_kept_no_further() {
        let mut body = body(&[(CONTENT_TYPE, "application/json")], 1000);
        body.push(br#"{"a":1,password:"hush"}"#, Duration::ZERO);
        body.push(b"hush", Duration::ZERO);
        body.end(Duration::ZERO);
        assert_eq!(body.kept, br#"{"a":1,"#);
        assert_eq!(body.left_out, Some(LeftOut::Unsure(Unsure::NoJson)));
        assert_eq!(body.whole, 27);
    }
}
