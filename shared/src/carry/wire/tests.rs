use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::frame::{ACK, FIN, HEADER, RST, SYN};
use super::*;

const DATA: u8 = 0;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;

/// A frame's header as bytes.
fn header(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

fn data(stream: u32, body: &[u8]) -> Vec<u8> {
    [&header(DATA, 0, stream, body.len() as u32), body].concat()
}

/// A wire and the view of it.
fn new(near: DuplexStream, role: Role) -> (Wire<DuplexStream>, Arc<Link>) {
    let link = Arc::new(Link::new(role));
    (Wire::new(near, role, &link), link)
}

/// A wire, the view of it, and the far end of its socket.
fn wire(buffer: usize) -> (Wire<DuplexStream>, Arc<Link>, DuplexStream) {
    let (near, far) = tokio::io::duplex(buffer);
    let (wire, link) = new(near, Role::Client);
    // Leaked: these stay in use.
    (0..64).for_each(|stream| std::mem::forget(Held::new(&link, stream)));
    (wire, link, far)
}

/// Writes one whole frame as yamux does: the header, then the body.
fn write_frame(wire: &mut Wire<DuplexStream>, frame: &[u8]) -> Poll<io::Result<()>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut pieces = [&frame[..HEADER], &frame[HEADER..]].into_iter().filter(|p| !p.is_empty());
    pieces
        .try_for_each(|mut piece| {
            while !piece.is_empty() {
                let n = match Pin::new(&mut *wire).poll_write(&mut cx, piece) {
                    Poll::Ready(result) => result.map_err(Some)?,
                    Poll::Pending => return Err(None),
                };
                piece = &piece[n..];
            }
            Ok(())
        })
        .map_or_else(
            |stop| stop.map_or(Poll::Pending, |err| Poll::Ready(Err(err))),
            |()| Poll::Ready(Ok(())),
        )
}

/// Reads once, which sends what has been collected, and finds nothing.
fn read_nothing(wire: &mut Wire<DuplexStream>) {
    let mut cx = Context::from_waker(Waker::noop());
    let read = Pin::new(wire).poll_read(&mut cx, &mut [0; HEADER]);
    assert!(read.is_pending(), "{read:?}");
}

async fn breach_of(bytes: &[u8]) -> Option<Breach> {
    let (mut wire, link, mut far) = wire(1 << 20);
    far.write_all(bytes).await.unwrap();
    far.shutdown().await.unwrap();
    let mut read = Vec::new();
    let result = wire.read_to_end(&mut read).await;
    assert_eq!(result.is_err(), link.breach().is_some());
    link.breach()
}

#[tokio::test]
async fn frames_written_between_two_reads_leave_together() {
    let (mut wire, _, mut far) = wire(1 << 20);
    for stream in 1..=3 {
        assert!(write_frame(&mut wire, &data(stream, b"hello")).is_ready());
        wire.flush().await.unwrap();
    }
    let mut got = vec![0; 1024];
    let mut cx = Context::from_waker(Waker::noop());
    let mut read = Box::pin(far.read(&mut got));
    assert!(Future::poll(read.as_mut(), &mut cx).is_pending(), "nothing yet");
    drop(read);

    read_nothing(&mut wire);
    let n = far.read(&mut got).await.unwrap();
    assert_eq!(got[..n], [data(1, b"hello"), data(2, b"hello"), data(3, b"hello")].concat());
}

#[tokio::test]
async fn a_ping_is_answered_and_yamux_never_sees_it() {
    let (mut wire, _, mut far) = wire(1 << 20);
    far.write_all(&header(PING, 1, 0, 0xabcd)).await.unwrap();
    far.write_all(&data(1, b"after")).await.unwrap();
    let mut frame = vec![0; HEADER + 5];
    wire.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame, data(1, b"after"));

    read_nothing(&mut wire);
    let mut pong = vec![0; HEADER];
    far.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, header(PING, 2, 0, 0xabcd));
}

#[tokio::test]
async fn a_ping_is_read_past_while_writing_is_blocked_and_answered_between_two_frames() {
    let (mut wire, _, mut far) = wire(4096);
    let bulk = data(1, &vec![7; 60_000]);
    assert!(write_frame(&mut wire, &bulk).is_pending(), "the socket is full");
    far.write_all(&header(PING, 1, 0, 1)).await.unwrap();
    far.write_all(&data(1, b"x")).await.unwrap();
    let mut frame = vec![0; HEADER + 1];
    wire.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame, data(1, b"x"), "reading goes on");

    // The far end takes everything: the rest of the body comes first, then the pong.
    let mut got = Vec::new();
    let mut sent = HEADER;
    while got.len() < bulk.len() + HEADER {
        let mut piece = vec![0; 4096];
        let n = far.read(&mut piece).await.unwrap();
        got.extend_from_slice(&piece[..n]);
        let mut cx = Context::from_waker(Waker::noop());
        sent = sent.max(got.len());
        if let Some(rest) = bulk.get(sent..).filter(|rest| !rest.is_empty())
            && let Poll::Ready(n) = Pin::new(&mut wire).poll_write(&mut cx, rest)
        {
            sent += n.unwrap();
        }
        read_nothing(&mut wire);
    }
    assert_eq!(got[..bulk.len()], bulk);
    assert_eq!(got[bulk.len()..], header(PING, 2, 0, 1));
}

#[tokio::test]
async fn the_first_go_away_ends_the_session_and_its_code_is_known() {
    let received = breach_of(&header(GO_AWAY, 0, 0, 1)).await;
    assert_eq!(received, Some(Breach::GoAwayReceived(1)));

    let (mut wire, link, mut far) = wire(1 << 20);
    far.write_all(&data(8, b"refused")).await.unwrap();
    wire.read_exact(&mut [0; HEADER + 7]).await.unwrap();
    assert!(write_frame(&mut wire, &header(GO_AWAY, 0, 0, 1)).is_ready());
    far.write_all(&data(8, b"a hole before this")).await.unwrap();
    assert!(wire.read_exact(&mut [0; HEADER]).await.is_err());
    let Some(Breach::GoAwaySent(1, frame)) = link.breach() else { panic!("{:?}", link.breach()) };
    assert!(frame.contains("stream: 8"), "{frame}");
    let mut go_away = vec![0; HEADER];
    far.read_exact(&mut go_away).await.unwrap();
    assert_eq!(go_away, header(GO_AWAY, 0, 0, 1));
}

#[tokio::test]
async fn an_ordinary_close_is_no_breach() {
    let (mut wire, link, _far) = wire(1 << 20);
    assert!(write_frame(&mut wire, &header(GO_AWAY, 0, 0, 0)).is_ready());
    read_nothing(&mut wire);
    assert_eq!(link.breach(), None);
    assert_eq!(breach_of(&header(GO_AWAY, 0, 0, 0)).await, Some(Breach::GoAwayReceived(0)));
}

#[tokio::test]
async fn what_no_honest_peer_sends_is_a_breach() {
    assert_eq!(breach_of(b"GET / HTTP/1.1\r\n\r\n").await, Some(Breach::NotYamux(b'G')));
    assert_eq!(breach_of(&[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await, Some(Breach::NotYamux(9)));
    let large = header(DATA, 0, 1, 300_000);
    assert_eq!(breach_of(&large).await, Some(Breach::FrameTooLarge(300_000, 256 * 1024)));
    assert_eq!(breach_of(&data(1, b"x").repeat(2000)).await, Some(Breach::TinyFrames));
    assert_eq!(breach_of(&data(1, b"four").repeat(2000)).await, None);
    assert_eq!(breach_of(&header(PING, 1, 0, 1).repeat(5000)).await, Some(Breach::PingFlood));
}

#[tokio::test]
async fn pings_whose_answers_nobody_reads_are_a_breach() {
    let (mut wire, link, mut far) = wire(1200);
    for _ in 0..100 {
        far.write_all(&header(PING, 1, 0, 1).repeat(100)).await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        if Pin::new(&mut wire).poll_read(&mut cx, &mut [0; HEADER]).is_ready() {
            break;
        }
    }
    assert_eq!(link.breach(), Some(Breach::PingFlood));
}

#[tokio::test]
async fn a_stranger_may_send_small_frames_only() {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let (mut wire, link) = new(near, Role::Relay);
    far.write_all(&header(DATA, 0, 1, 20_000)).await.unwrap();
    assert!(wire.read_exact(&mut [0; HEADER]).await.is_err());
    assert_eq!(link.breach(), Some(Breach::FrameTooLarge(20_000, 16 * 1024)));
}

#[tokio::test]
async fn a_stranger_opens_one_stream_and_says_no_more_than_a_handshake_needs() {
    for (frames, breach) in [
        ([header(DATA, 1, 1, 0), header(DATA, 1, 3, 0)].concat(), Breach::StreamNotAllowed),
        ([header(DATA, 1, 1, 0), data(1, &[7; 16_000]).repeat(3)].concat(), Breach::TooMuch),
    ] {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut wire, link) = new(near, Role::Relay);
        far.write_all(&frames).await.unwrap();
        assert!(wire.read_to_end(&mut Vec::new()).await.is_err());
        assert_eq!(link.breach(), Some(breach));
    }
}

#[tokio::test]
async fn frames_for_nobody_do_not_get_through() {
    let (mut wire, link, mut far) = wire(1 << 20);
    drop(Held::new(&link, 100));
    far.write_all(&data(100, &[7; 10_000])).await.unwrap();
    far.write_all(&data(2, b"after")).await.unwrap();
    let mut frame = vec![0; HEADER + 5];
    wire.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame, data(2, b"after"));
}

#[tokio::test]
async fn of_frames_for_nobody_that_carry_flags_only_the_flags_get_through() {
    for flags in [ACK, FIN, RST, ACK | FIN] {
        let (mut wire, link, mut far) = wire(1 << 20);
        drop(Held::new(&link, 100));
        far.write_all(&header(DATA, flags, 100, 10_000)).await.unwrap();
        // The body may come later.
        let mut frame = vec![0; HEADER];
        wire.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame, header(DATA, flags, 100, 0));
        read_nothing(&mut wire);
        far.write_all(&[7; 10_000]).await.unwrap();
        far.write_all(&data(2, b"after")).await.unwrap();
        let mut frame = vec![0; HEADER + 5];
        wire.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame, data(2, b"after"));
    }
}

#[tokio::test]
async fn a_stream_that_is_opened_and_reset_at_once_leaves_nothing_behind() {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let (mut wire, _) = new(near, Role::Client);
    let streams = (1..1000).flat_map(|id| header(DATA, SYN | RST, 2 * id, 0));
    far.write_all(&streams.collect::<Vec<u8>>()).await.unwrap();
    wire.read_exact(&mut [0; 999 * HEADER]).await.unwrap();
    assert_eq!(wire.streams.len(), 0);
}

#[tokio::test]
async fn any_byte_is_a_sign_of_life() {
    let (mut wire, link, mut far) = wire(1 << 20);
    while link.silence() < std::time::Duration::from_millis(3) {
        tokio::task::yield_now().await;
    }
    far.write_all(&[0]).await.unwrap();
    read_nothing(&mut wire);
    assert!(link.silence() < std::time::Duration::from_millis(3));
}

#[tokio::test]
async fn a_connection_cut_within_a_frame_is_an_error_and_between_frames_an_end() {
    let whole = data(1, b"hello");
    for cut in 0..=whole.len() {
        let (mut wire, _, mut far) = wire(1 << 20);
        far.write_all(&whole[..cut]).await.unwrap();
        drop(far);
        let result = wire.read_to_end(&mut Vec::new()).await;
        assert_eq!(result.is_ok(), cut == 0 || cut == whole.len(), "cut after {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_pass_unchanged_however_they_are_split(
        bodies in prop::collection::vec(prop_oneof![4..100usize, 4..70_000usize], 1..6),
        pieces in prop::collection::vec(1..20_000usize, 1..20),
        reads in prop::collection::vec(1..70_000usize, 1..10),
    ) {
        let mut stream = 0;
        let frames: Vec<u8> = bodies.iter().flat_map(|length| {
            stream += 2;
            // No two places look alike for a while, so that bytes out of order are noticed.
            data(stream, &(0..*length).map(|at| (at % 251) as u8).collect::<Vec<_>>())
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let got = runtime.block_on(async {
            let (mut wire, _, mut far) = wire(32 * 1024);
            let send = async {
                let mut rest = &frames[..];
                for piece in pieces.iter().cycle() {
                    if rest.is_empty() {
                        break;
                    }
                    let (now, later) = rest.split_at((*piece).min(rest.len()));
                    far.write_all(now).await.unwrap();
                    rest = later;
                }
                far.shutdown().await.unwrap();
            };
            let receive = async {
                let mut got = Vec::new();
                for size in reads.iter().cycle() {
                    let mut buf = vec![0; *size];
                    match wire.read(&mut buf).await.unwrap() {
                        0 => break,
                        n => got.extend_from_slice(&buf[..n]),
                    }
                }
                got
            };
            tokio::join!(send, receive).1
        });
        prop_assert!(got == frames);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_holds_little_of_a_line_of_which_nothing_is_known() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let wire = Wire::new(socket, Role::Client, &Arc::new(Link::new(Role::Client)));
    let unsent = socket2::SockRef::from(&wire.socket.io).tcp_notsent_lowat().unwrap();
    assert!((10_000..40_000).contains(&unsent), "{unsent}");
}
