use std::sync::Arc;
use std::task::Wake;

use super::*;

const PIECE: usize = 1000;
const MOST: usize = 10 * PIECE;

fn room() -> Room {
    Room::new(Advice { unsent: PIECE, frame: PIECE, queue: MOST })
}

/// Notes that it was woken.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A guest that waits, and whether it has been woken.
fn waiting(room: &Room, guest: &mut Guest) -> impl Fn() -> bool + use<> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    assert!(room.poll(guest, &mut Context::from_waker(&waker)).is_pending());
    move || bell.0.load(Ordering::Relaxed)
}

fn enter(room: &Room, guest: &mut Guest, bytes: usize) {
    room.next_piece(guest, PIECE);
    room.sends(guest, bytes);
    room.enter(bytes);
}

fn may_send(room: &Room, guest: &mut Guest) -> bool {
    room.poll(guest, &mut Context::from_waker(Waker::noop())).is_ready()
}

/// An upload whose last piece is somewhere in the queue.
fn upload(room: &Room) -> Guest {
    let mut guest = Guest::default();
    enter(room, &mut guest, PIECE);
    guest
}

/// As many guests as that have filled a room.
fn full_room() -> (Room, Vec<Guest>) {
    let room = room();
    let guests = (0..MOST / PIECE).map(|_| upload(&room)).collect();
    (room, guests)
}

#[test]
fn uploads_wait_in_line_and_a_small_request_does_not() {
    let (room, mut uploads) = full_room();
    let mut request = Guest::default();
    assert_eq!(room.next_piece(&mut request, PIECE), PIECE.min(SMALL));
    assert!(may_send(&room, &mut request), "it has sent nothing yet");
    enter(&room, &mut request, 100);
    assert!(!may_send(&room, &mut request), "the last one has not left");

    let woken: Vec<_> = uploads[..3].iter_mut().map(|upload| waiting(&room, upload)).collect();
    assert!(!room.admit());
    assert!(woken.iter().all(|woken| !woken()), "no room");
    // For two of them; the request has looked too.
    room.leave(100 + 3 * PIECE);
    assert!(!room.admit());
    assert_eq!(woken.iter().map(|woken| woken()).collect::<Vec<_>>(), [true, true, false]);
    room.leave(7 * PIECE);
    assert!(may_send(&room, &mut request));
}

#[test]
fn whoever_waits_has_one_place_in_line_however_often_it_looks() {
    let (room, mut guests) = full_room();
    let [first, second, ..] = &mut guests[..] else { unreachable!("there are ten") };
    drop(waiting(&room, first));
    let second = waiting(&room, second);
    let first = waiting(&room, first);
    room.leave(PIECE);
    assert!(!room.admit());
    assert_eq!((first(), second()), (true, false));
}

#[test]
fn whoever_is_called_may_send_one_piece_whoever_is_faster() {
    let (room, mut guests) = full_room();
    let [called, next, others @ ..] = &mut guests[..] else { unreachable!("there are ten") };
    let woken = [waiting(&room, called), waiting(&room, next)];
    room.leave(PIECE);
    // There is room now, but others have waited for it.
    assert!(!room.is_open_to(&others[0]) && !may_send(&room, &mut others[0]));
    assert!(!room.admit());
    assert_eq!(woken.each_ref().map(|woken| woken()), [true, false]);
    // The room is kept, also at the next turn.
    assert!(!room.admit());
    assert!(!woken[1](), "there is room for one");
    assert!(!may_send(&room, &mut others[1]));
    // A small request takes it.
    enter(&room, &mut Guest::default(), PIECE);
    assert!(may_send(&room, called));
    enter(&room, called, PIECE);
    assert!(!may_send(&room, called), "one piece");
}

#[test]
fn a_piece_is_large_by_what_it_might_have_been() {
    let (room, guests) = full_room();
    let mut guest = Guest::default();
    // Less than the line would like, but all there is room for in a record.
    let limit = room.next_piece(&mut guest, PIECE - 4);
    room.sends(&mut guest, limit);
    room.enter(limit);
    assert!(guest.full);
    drop(guests);
}

#[test]
fn a_small_request_goes_on_when_its_last_piece_has_left_whoever_waits_before_it() {
    let room = room();
    enter(&room, &mut Guest::default(), PIECE);
    let mut request = Guest::default();
    enter(&room, &mut request, 100);
    let mut upload = Guest::default();
    enter(&room, &mut upload, 2 * MOST);
    let upload = waiting(&room, &mut upload);
    let woken = waiting(&room, &mut request);
    room.leave(PIECE);
    assert!(!room.admit());
    assert!(!woken());
    room.leave(100);
    assert!(!room.admit());
    assert_eq!((woken(), upload()), (true, false));
    assert!(may_send(&room, &mut request));
}

#[test]
fn whoever_goes_away_takes_no_room_along() {
    let (room, mut guests) = full_room();
    let (mut waits, mut called) = (upload(&room), upload(&room));
    drop(waiting(&room, &mut called));
    drop(waiting(&room, &mut waits));
    let woken = waiting(&room, &mut guests[0]);
    room.leave(3 * PIECE);
    assert!(!room.admit());
    assert!(!woken(), "room for one, and two are before it");
    room.forget(&mut waits);
    assert!(!woken(), "one is before it");
    room.forget(&mut called);
    assert!(woken());
}

#[test]
fn nobody_is_forgotten_behind_those_who_have_nothing_to_send_any_more() {
    let (room, mut guests) = full_room();
    let mut idle: Vec<_> = (0..100).map(|_| upload(&room)).collect();
    idle.iter_mut().for_each(|idle| drop(waiting(&room, idle)));
    let woken = waiting(&room, &mut guests[0]);
    room.leave(11 * MOST);
    while room.admit() {
        assert!(!woken(), "others are before it");
    }
    assert!(woken());
}

#[test]
fn not_even_small_pieces_pile_up_without_end() {
    let room = room();
    enter(&room, &mut Guest::default(), MOST_QUEUED as usize + 1);
    assert!(room.is_full());
    let mut request = Guest::default();
    let woken = waiting(&room, &mut request);
    assert!(!room.admit());
    assert!(!woken(), "it would not get in");
    room.leave(1);
    assert!(!room.admit());
    assert!(woken() && may_send(&room, &mut request));
}

#[test]
fn whoever_waits_learns_of_the_end_of_the_session() {
    let (room, mut guests) = full_room();
    let woken = waiting(&room, &mut guests[0]);
    room.close();
    assert!(woken() && may_send(&room, &mut guests[0]));
    // So does whoever comes later.
    assert!(may_send(&room, &mut guests[1]));
}
