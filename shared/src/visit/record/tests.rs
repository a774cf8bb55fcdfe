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

fn any_record() -> impl Strategy<Value = Record> {
    let name = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|name| name.parse().unwrap());
    prop_oneof![
        (any::<u64>(), name, any::<SocketAddr>()).prop_map(|(visit, tunnel, mut visitor)| {
            if let SocketAddr::V6(v6) = &mut visitor {
                v6.set_flowinfo(0);
                v6.set_scope_id(0);
            }
            Record::Open(Open { visit, tunnel, visitor })
        }),
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
        ([OPEN, 0, 2, 1], BadRecord::Length(OPEN, 513)),
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
