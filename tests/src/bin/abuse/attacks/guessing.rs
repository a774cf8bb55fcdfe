//! Somebody tries tokens, and looks how long a refusal takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use shared::token::Token;
use tests::Tasks;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::Outcome;
use crate::samples::Figures;
use crate::stage::Stage;
use crate::stranger::{Answer, address, ask, knock, shake_hands};

/// Attempts that are under way at a time.
const AT_ONCE: usize = 256;

/// Attempts of each kind whose time is compared.
const COMPARED: usize = 200;

/// Pairs that are compared at a time: more would wait for each other.
const LANES: usize = 4;

/// What became of attempts.
#[derive(Debug, Default)]
struct Tally {
    tried: AtomicUsize,
    refused: AtomicUsize,
    silent: AtomicUsize,
    unconnected: AtomicUsize,
    let_in: AtomicUsize,
}

/// Guesses for `time` from so many addresses.
pub(super) async fn from(stage: Arc<Stage>, time: Duration, addresses: usize) -> Outcome {
    let tally = Arc::new(Tally::default());
    let mut guessers = Tasks::new();
    for _ in 0..AT_ONCE {
        let (stage, tally) = (Arc::clone(&stage), Arc::clone(&tally));
        guessers.spawn(async move {
            loop {
                let number = tally.tried.fetch_add(1, Ordering::Relaxed);
                let guess = Token::random();
                // Every other one knows the id of a real token, which is no secret.
                let shown = if number.is_multiple_of(2) { &guess } else { &stage.token };
                let ip = address(1, number % addresses);
                let counter = match knock(&stage, ip, shown, &guess).await {
                    Answer::LetIn => &tally.let_in,
                    Answer::Refused(_) => &tally.refused,
                    Answer::Silence => &tally.silent,
                    Answer::Nothing => &tally.unconnected,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                // So that one who fails without waiting for anything does not keep out the rest.
                yield_now().await;
            }
        });
    }
    let start = Instant::now();
    // They never end by themselves.
    drop(timeout(time, guessers.join()).await);
    let seconds = start.elapsed().as_secs_f64();
    let rate = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as f64 / seconds;
    let let_in = tally.let_in.load(Ordering::Relaxed);
    let told = format!(
        "{:.1} attempts/s get an answer, {:.0}/s none, {:.0}/s no connection; {let_in} let in",
        rate(&tally.refused),
        rate(&tally.silent),
        rate(&tally.unconnected),
    );
    Outcome::told(told).never(let_in, "guessers were let in")
}

/// Times of the two kinds of refusals.
#[derive(Debug, Default)]
struct Compared {
    unknown: Mutex<Vec<Duration>>,
    known: Mutex<Vec<Duration>>,
    words: Mutex<Vec<String>>,
    let_in: AtomicUsize,
    lost: AtomicUsize,
}

/// Compares how long it takes to be refused with a token that nobody has, and with one that the
/// relay knows and a wrong proof.
pub(super) async fn compare(stage: Arc<Stage>) -> Outcome {
    let compared = Arc::new(Compared::default());
    let mut lanes = Tasks::new();
    for lane in 0..LANES {
        let (stage, compared) = (Arc::clone(&stage), Arc::clone(&compared));
        lanes.spawn(async move {
            for pair in (lane..COMPARED).step_by(LANES) {
                // From an address that has not failed yet, so that nobody has to wait.
                let ip = address(2, pair);
                let guess = Token::random();
                // In turns, so that neither kind is always the first.
                let mut both = [(&guess, &compared.unknown), (&stage.token, &compared.known)];
                both.rotate_left(pair % 2);
                for (shown, times) in both {
                    compared.one(&stage, ip, shown, &guess, times).await;
                }
            }
        });
    }
    lanes.join().await;
    let mut words = std::mem::take(&mut *compared.words.lock());
    words.sort_unstable();
    words.dedup();
    let mut outcome = Outcome::told(format!(
        "refused in ms: unknown {}; known {}; {} different texts, {} without an answer",
        spread(&compared.unknown),
        spread(&compared.known),
        words.len(),
        compared.lost.load(Ordering::Relaxed),
    ));
    if words.len() > 1 {
        outcome.fault(format!("the text of a refusal tells which tokens there are: {words:?}"));
    }
    outcome.never(compared.let_in.load(Ordering::Relaxed), "guessers were let in")
}

impl Compared {
    async fn one(
        &self,
        stage: &Stage,
        ip: [u8; 4],
        shown: &Token,
        guess: &Token,
        times: &Mutex<Vec<Duration>>,
    ) {
        let Ok(tls) = shake_hands(ip, stage.relay.control, &stage.trust).await else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let start = Instant::now();
        match ask(tls, shown, guess).await {
            Answer::Refused(words) => {
                times.lock().push(start.elapsed());
                self.words.lock().push(words);
            }
            Answer::LetIn => drop(self.let_in.fetch_add(1, Ordering::Relaxed)),
            Answer::Silence | Answer::Nothing => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// The median, and where the middle half and nearly all of them lie.
fn spread(times: &Mutex<Vec<Duration>>) -> String {
    let times: Figures = times.lock().iter().copied().collect();
    let [low, quarter, middle, three, high] =
        [0.05, 0.25, 0.5, 0.75, 0.95].map(|share| times.exactly(share));
    format!("median {middle:.2}, half in {quarter:.2}..{three:.2}, 90 % in {low:.2}..{high:.2}")
}
