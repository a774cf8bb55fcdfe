use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;

/// Everything that a decoder finds in `input` when it arrives in pieces that end at `cuts`.
fn decode(input: &[u8], cuts: &[usize]) -> Result<(Vec<Record>, Vec<u8>), BadRecord> {
    let mut decoder = Decoder::default();
    let (mut records, mut payload) = (Vec::new(), Vec::new());
    let mut start = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        let piece = &input[start..end];
        start = end;
        let mut at = 0;
        while let Some(item) = decoder.next(piece, &mut at)? {
            match item {
                Item::Record(record) => records.push(record),
                Item::Data(range) => payload.extend_from_slice(&piece[range]),
            }
        }
        assert_eq!(at, piece.len(), "a piece is used up");
    }
    Ok((records, payload))
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn any_open() -> impl Strategy<Value = Open> {
    let visit = ("[0-9a-f]{16}", any::<u64>())
        .prop_map(|(run, count)| format!("{run}-{count}").parse().unwrap());
    let tunnel = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|name| name.parse().unwrap());
    let destination = prop::option::of(any_address());
    let server_name = prop::option::of("[a-z0-9_-]{1,63}(\\.[a-z0-9_-]{1,63}){0,2}");
    (visit, tunnel, any_address(), destination, server_name, any::<bool>()).prop_map(
        |(visit, tunnel, visitor, destination, server_name, pooled)| Open {
            visit,
            tunnel,
            visitor,
            destination,
            server_name: server_name.map(|name| name.parse().unwrap()),
            pooled,
        },
    )
}

fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        any_open().prop_map(Record::Open),
        Just(Record::Seen),
        Just(Record::Connected),
        (1..=4u8, "\\PC{0,60}").prop_map(|(code, explanation)| {
            Record::Failed(Failure { reason: FailureReason::decode(code).unwrap(), explanation })
        }),
        Just(Record::End),
        (1..=3u8).prop_map(|code| Record::Abort(Abort::decode(code).unwrap())),
    ]
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_decodes_alike(
        parts in prop::collection::vec(
            prop_oneof![
                any_record().prop_map(Ok),
                prop::collection::vec(any::<u8>(), 1..300).prop_map(Err),
            ],
            0..8,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (mut bytes, mut records, mut payload) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            match part {
                Ok(record) => {
                    bytes.extend_from_slice(&record.encode());
                    records.push(record);
                }
                Err(data) => {
                    bytes.extend_from_slice(&data_header(data.len()));
                    bytes.extend_from_slice(&data);
                    payload.extend_from_slice(&data);
                }
            }
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode(&bytes, &cuts), Ok((records, payload)));
    }

    #[test]
    fn noise_decodes_alike_however_it_is_split(
        bytes in prop::collection::vec(prop_oneof![0..9u8, any::<u8>()], 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = decode(&bytes, &[]);
        prop_assert_eq!(decode(&bytes, &[cut.index(bytes.len() + 1)]), whole.clone());
        let every: Vec<_> = (0..bytes.len()).collect();
        prop_assert_eq!(decode(&bytes, &every), whole);
    }
}

#[test]
fn lengths_that_do_not_fit_the_kind_are_refused_at_the_header() {
    let refused = [
        ([OPEN, 0, 0, 0], BadRecord::Length(OPEN, 0)),
        ([OPEN, 0, 4, 1], BadRecord::Length(OPEN, 1025)),
        ([SEEN, 0, 0, 1], BadRecord::Length(SEEN, 1)),
        ([DATA, 0, 0, 0], BadRecord::Length(DATA, 0)),
        ([ABORT, 0, 0, 2], BadRecord::Length(ABORT, 2)),
        ([0, 0, 0, 0], BadRecord::Kind(0)),
        ([8, 0, 0, 0], BadRecord::Kind(8)),
    ];
    for (header, error) in refused {
        assert_eq!(decode(&header, &[]), Err(error));
    }
}

#[test]
fn an_explanation_is_cut_between_characters() {
    let explanation = "ä".repeat(200);
    let failure = Failure { reason: FailureReason::Refused, explanation };
    let (records, _) = decode(&Record::Failed(failure).encode(), &[]).unwrap();
    let [Record::Failed(failure)] = &records[..] else { panic!("{records:?}") };
    assert_eq!(failure.explanation, "ä".repeat(128));
}

#[test]
fn the_longest_open_record_fits() {
    let longest = Open {
        visit: "ffffffffffffffff-18446744073709551615".parse().unwrap(),
        tunnel: "t".repeat(63).parse().unwrap(),
        visitor: "[ffff::1]:65535".parse().unwrap(),
        destination: Some("[ffff::2]:65535".parse().unwrap()),
        server_name: Some(["n".repeat(63).as_str(); 4].join(".")[..253].parse().unwrap()),
        pooled: true,
    };
    let bytes = Record::Open(longest.clone()).encode();
    assert_eq!(bytes.len() - HEADER, 380);
    assert_eq!(decode(&bytes, &[]), Ok((vec![Record::Open(longest)], Vec::new())));
}

#[test]
fn a_failure_cannot_forge_lines_of_the_log() {
    let explanation = "no\nINFO yes \u{202e}\u{feff}".to_owned();
    let failure = Failure { reason: FailureReason::Refused, explanation };
    let shown = "the local service cannot be reached: no\\nINFO yes \\u{202e}\\u{feff}";
    assert_eq!(failure.to_string(), shown);
}
