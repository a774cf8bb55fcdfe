//! Records: any bytes, in any pieces, decode alike, and what decodes encodes to what it came from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::visit::record::{BadRecord, Decoder, Item, Record};

fuzz_target!(|input: (usize, Vec<u8>)| {
    let (piece, bytes) = input;
    let whole = decode(&bytes, bytes.len().max(1));
    let pieces = decode(&bytes, piece % 64 + 1);
    assert_eq!(whole, pieces);
    if let Ok((records, _)) = whole {
        for record in records {
            let again = decode(&record.encode(), usize::MAX).expect("our own encoding");
            assert_eq!(again, (vec![record], Vec::new()));
        }
    }
});

fn decode(bytes: &[u8], piece: usize) -> Result<(Vec<Record>, Vec<u8>), BadRecord> {
    let mut decoder = Decoder::default();
    let (mut records, mut payload) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        let mut at = 0;
        while let Some(item) = decoder.next(piece, &mut at)? {
            match item {
                Item::Record(record) => records.push(record),
                Item::Data(range) => payload.extend_from_slice(&piece[range]),
            }
        }
    }
    Ok((records, payload))
}
