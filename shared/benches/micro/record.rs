//! The record codec, without I/O.

use std::net::{Ipv4Addr, SocketAddr};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use shared::visit::id::VisitIds;
use shared::visit::open::Open;
use shared::visit::record::{CHUNK, Decoder, Failure, FailureReason, HEADER, Record, data_header};

#[divan::bench(args = KINDS)]
fn encode(bencher: Bencher<'_, '_>, kind: &str) {
    let record = record(kind);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| black_box(&record).encode());
}

#[divan::bench(args = KINDS)]
fn decode(bencher: Bencher<'_, '_>, kind: &str) {
    let bytes = record(kind).encode();
    let mut decoder = Decoder::default();
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| decoder.next(black_box(&bytes), &mut 0).expect("a record"));
}

/// Finds the payload in a packet as large as the largest that is sent, cut into `DATA` records of
/// `payload` bytes.
#[divan::bench(args = [16, 256, 4096, CHUNK])]
fn decode_data(bencher: Bencher<'_, '_>, payload: usize) {
    let record = [&data_header(payload)[..], &vec![b'd'; payload]].concat();
    let records = (HEADER + CHUNK) / record.len();
    let packet = record.repeat(records);
    let mut decoder = Decoder::default();
    bencher.counter(ItemsCount::new(records)).bench_local(|| {
        let mut at = 0;
        while let Some(item) = decoder.next(black_box(&packet), &mut at).expect("records") {
            black_box(item);
        }
    });
}

fn record(kind: &str) -> Record {
    match kind {
        "OPEN" => Record::Open(Open::new(
            VisitIds::new().next(),
            "default".parse().expect("a name"),
            SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)),
        )),
        "FAILED" => Record::Failed(Failure {
            reason: FailureReason::Refused,
            explanation: "connection refused (os error 111)".to_owned(),
        }),
        "END" => Record::End,
        other => unreachable!("{other} is not among the kinds"),
    }
}

/// A record with names and numbers, one with a text, one without a body.
const KINDS: [&str; 3] = ["OPEN", "FAILED", "END"];
