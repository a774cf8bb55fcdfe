//! The heaviest load that an honest peer puts on a session never looks like an attack.

use super::*;

/// A quarter of what a session may have: yamux counts all that are open whenever it opens another.
/// The budgets are tried with all of them in a test of their own.
const STREAMS: usize = 4096;

/// Both ends of a session over TCP.
async fn session() -> [Running; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let start = |socket, role| Running::start(Carrier::tcp(socket), role, STREAMS);
    let (relay, client) = (start(near, Role::Relay), start(far, Role::Client));
    relay.mux.link().admit();
    [relay, client]
}

/// Opens a stream and writes to it what a visitor might, then takes it at the other end, which
/// answers with `answer`.
async fn visit(relay: &Running, client: &mut Running, answer: &[u8]) -> [MuxStream; 2] {
    let mut near = relay.mux.open().await.unwrap();
    near.io.write_all(&[7; 100]).await.unwrap();
    let mut far = client.inbound.next().await.unwrap();
    far.io.write_all(answer).await.unwrap();
    [near, far]
}

/// Whether a session still carries what it should.
async fn carries([relay, client]: &mut [Running; 2]) {
    let [near, far] = visit(relay, client, b"well").await;
    let mut got = [0; 4];
    let mut near = near;
    timeout(GRACE, near.io.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(&got, b"well");
    assert_eq!([relay, client].map(|end| end.mux.link().breach()), [None, None]);
    drop(far);
}

#[tokio::test]
async fn thousands_of_streams_reset_at_once_by_either_end_or_both() {
    let mut ends = session().await;
    for round in 0..3 {
        let [relay, client] = &mut ends;
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for _ in 0..STREAMS {
            let [one, other] = visit(relay, client, &[7; 1000]).await;
            near.push(one);
            far.push(other);
        }
        match round {
            0 => drop(near),
            1 => drop(far),
            _ => drop((near, far)),
        }
        carries(&mut ends).await;
    }
}

#[tokio::test]
async fn visits_given_up_in_the_middle_of_all_that_the_local_service_has_to_say() {
    let mut ends = session().await;
    let [relay, client] = &mut ends;
    for _ in 0..1000 {
        // The first window of it fits, and most of it is on its way when the visitor goes.
        let [near, far] = visit(relay, client, &[7; MUCH]).await;
        drop(near);
        reset(&far).await;
    }
    carries(&mut ends).await;
}
