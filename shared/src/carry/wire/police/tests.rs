//! Each budget at its edge, and what no honest peer comes near.

use super::super::frame::ACK;
use super::*;

/// Streams that a session has open at a time.
const OPEN: u32 = 16_384;

const WINDOW: u32 = DEFAULT_CREDIT;

fn police(role: Role) -> (Police, Link, Instant) {
    let (link, now) = (Link::new(role), Instant::now());
    link.admit();
    (Police::new(role, now), link, now)
}

fn frame(kind: Kind, flags: u16, stream: u32, length: u32) -> Header {
    Header { kind, flags, stream, length }
}

fn data(stream: u32, length: u32) -> Header {
    frame(Kind::Data, 0, stream, length)
}

/// How many times the answer is that all is well, and what it is then.
fn until_breach(mut one: impl FnMut() -> Result<(), Breach>) -> (u64, Breach) {
    (0..).find_map(|count| one().err().map(|breach| (count, breach))).expect("a breach")
}

#[test]
fn pings_are_forgiven_by_time() {
    let (mut police, _, now) = police(Role::Relay);
    assert_eq!(until_breach(|| police.ping(now)), (u64::from(PINGS), Breach::PingFlood));
    let (mut police, _, mut now) = self::police(Role::Relay);
    for _ in 0..PINGS {
        assert_eq!(police.ping(now), Ok(()));
    }
    for _ in 0..100 {
        now += PING_EACH;
        assert_eq!(police.ping(now), Ok(()));
    }
    assert_eq!(police.ping(now), Err(Breach::PingFlood));
}

#[test]
fn a_client_opens_its_control_stream_and_no_other() {
    let (mut police, link, now) = police(Role::Relay);
    let mut open = |id| police.frame(frame(Kind::Data, SYN, id, 0), &link, Sent::default(), now);
    assert_eq!(open(1), Ok(()));
    assert_eq!(open(3), Err(Breach::StreamNotAllowed));
    let (mut police, link, now) = self::police(Role::Relay);
    let update = frame(Kind::WindowUpdate, SYN, 2, 0);
    let sent = Sent::default();
    assert_eq!(police.frame(update, &link, sent, now), Err(Breach::StreamNotAllowed));
}

#[test]
fn the_streams_that_a_relay_opens_are_forgiven_by_time() {
    let (mut police, link, mut now) = police(Role::Client);
    let mut open = |now| police.frame(frame(Kind::Data, SYN, 2, 0), &link, Sent::default(), now);
    assert_eq!(until_breach(|| open(now)), (u64::from(STREAMS), Breach::StreamFlood));
    now += STREAM_EACH * 1000;
    assert_eq!(until_breach(|| open(now)), (999, Breach::StreamFlood));
}

#[test]
fn tiny_frames_are_forgiven_for_what_is_received() {
    for tiny in [data(1, 0), data(1, 1), data(1, 3), frame(Kind::Data, ACK, 1, 0)] {
        let (mut police, link, now) = police(Role::Relay);
        let mut take = |header| police.frame(header, &link, Sent::default(), now);
        for _ in 0..64 {
            assert_eq!(take(data(1, WINDOW)), Ok(()));
        }
        let forgiven = TINY_BURST + 64 * u64::from(WINDOW) / BYTES_PER_TINY;
        assert_eq!(until_breach(|| take(tiny)), (forgiven, Breach::TinyFrames), "{tiny:?}");
    }
}

#[test]
fn window_updates_are_forgiven_for_what_is_sent() {
    for (flags, credit) in [(0, 0), (0, 1), (ACK, 0), (0, u32::MAX)] {
        let (mut police, link, now) = police(Role::Relay);
        let sent = Sent { opened: 0, frames: 10, bytes: 100 * BYTES_PER_GRANT };
        let update = frame(Kind::WindowUpdate, flags, 2, credit);
        let ended = until_breach(|| police.frame(update, &link, sent, now));
        assert_eq!(ended, (GRANTS + 110, Breach::WindowUpdates));
    }
}

#[test]
fn frames_for_nobody_are_forgiven_for_the_streams_that_there_were_and_what_came_on_them() {
    let (mut police, _, _) = police(Role::Relay);
    for _ in 0..1000 {
        police.wanted(data(2, 1000 - HEADER as u32));
    }
    let sent = Sent { opened: 3, ..Sent::default() };
    let forgiven = STRAYS + 3 * u64::from(WINDOW) + 2 * 1_000_000;
    let reset = frame(Kind::Data, RST, 4, 0);
    let (count, breach) = until_breach(|| police.stray(reset, sent));
    assert_eq!((count, breach), (forgiven / HEADER as u64, Breach::StrayFrames));
}

#[test]
fn the_resets_of_all_streams_at_once_with_their_windows_on_the_way_are_honest() {
    let (mut police, link, now) = police(Role::Relay);
    let mut sent = Sent::default();
    for _ in 0..100 {
        for stream in 1..=OPEN {
            sent.count(frame(Kind::Data, SYN, 2 * stream, 31));
        }
        for stream in 1..=OPEN {
            let frames = [data(2 * stream, WINDOW), frame(Kind::WindowUpdate, 0, 2 * stream, 1)];
            for header in frames.into_iter().chain([frame(Kind::Data, RST, 2 * stream, 0)]) {
                assert_eq!(police.frame(header, &link, sent, now), Ok(()));
            }
            // Its headers fit what is always forgiven, the first time; then what came before does.
            assert_eq!(police.stray(data(2 * stream, WINDOW - 64), sent), Ok(()));
            assert_eq!(police.stray(frame(Kind::Data, RST, 2 * stream, 0), sent), Ok(()));
        }
    }
}

#[test]
fn a_relay_may_have_thousands_of_visitors_a_second_for_as_long_as_it_likes() {
    let (mut police, link, mut now) = police(Role::Client);
    // All that may be open come at once; then twenty thousand a second for a minute.
    for stream in 1..=OPEN {
        let open = frame(Kind::Data, SYN, 2 * stream, 31);
        assert_eq!(police.frame(open, &link, Sent::default(), now), Ok(()));
    }
    for stream in 1..60 * 20_000 {
        now += Duration::from_micros(50);
        let open = frame(Kind::Data, SYN, 2 * (OPEN + stream), 31);
        assert_eq!(police.frame(open, &link, Sent::default(), now), Ok(()));
    }
}
