//! Output that holds nobody up: whoever has a line queues it, and a thread of its own writes it.
//!
//! A pipe that nobody reads fills up, and whoever writes to it then waits. That must not be the
//! thread that moves visitors' bytes. When the queue is full lines are dropped and counted, and
//! those who ask learn how many as soon as something can be written again.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Bytes that wait to be written at most; as many may be on the way to the reader. A burst of some
/// thousand lines fits. Lines lie there one behind the other and cost nothing beside their bytes,
/// so the bytes bound their number too.
const MOST_BYTES: usize = 1024 * 1024;

/// An empty queue keeps so much memory for the next lines. A burst does not hold its own for ever.
const KEPT_BYTES: usize = 64 * 1024;

/// The writer waits so long for more before it writes: under load most lines wake nobody and share
/// a system call.
const GATHER: Duration = Duration::from_millis(2);

/// How long the writer waits before it tries again when the output takes nothing but would not
/// wait either.
const RETRY: Duration = Duration::from_millis(10);

/// How long whoever reads may take in the end for what is queued. A reader that is there needs
/// less; one that is not holds up nobody's exit for longer.
const PARTING: Duration = Duration::from_millis(500);

/// An output with a thread that writes to it. Dropped, it waits until what is queued has been
/// written, for half a second at most.
#[derive(Debug)]
pub struct Output(Arc<Queue>);

/// Where lines wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes whoever waits for the writer's end.
    ended: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    lines: u64,
    /// The writer sleeps until it is woken.
    asleep: bool,
    /// The writer is to say how far it is.
    nudged: bool,
    closing: bool,
    ended: bool,
}

/// What the writer says each time it has written, and when it was asked to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Lines that were dropped since it last said so.
    pub dropped: u64,
    /// This is the end: what else is to be written is queued now or never.
    pub closing: bool,
}

impl Output {
    /// Starts a thread called `name` that writes to `out`. On that thread it calls `progress`,
    /// which may queue more lines, and may ask to be called again at a certain time.
    ///
    /// # Errors
    ///
    /// The system has no thread to give.
    pub fn start(
        name: &str,
        out: impl Write + Send + 'static,
        progress: impl FnMut(Progress) -> Option<Instant> + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let writer =
            Writer { queue: Arc::clone(&queue), out, progress, batch: Vec::new(), said: 0 };
        thread::Builder::new().name(name.to_owned()).spawn(move || writer.run())?;
        Ok(Self(queue))
    }

    /// Queues a line, which ends with a line feed; drops and counts it if there is no room.
    pub fn push(&self, line: &[u8]) {
        self.0.push(line);
    }

    /// Has the writer call `progress` soon, although there may be nothing to write.
    pub fn nudge(&self) {
        let mut waiting = self.0.waiting.lock();
        waiting.nudged = true;
        if waiting.asleep {
            waiting.asleep = false;
            self.0.work.notify_one();
        }
    }

    /// What the lines are queued in, for whoever outlives the output.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.0
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let deadline = Instant::now() + PARTING;
        let mut waiting = self.0.waiting.lock();
        waiting.closing = true;
        self.0.work.notify_one();
        while !waiting.ended {
            if self.0.ended.wait_until(&mut waiting, deadline).timed_out() {
                break;
            }
        }
    }
}

impl Queue {
    /// See [`Output::push`].
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.ended || waiting.bytes.len() + line.len() > MOST_BYTES {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.bytes.extend_from_slice(line);
        waiting.lines += 1;
        if waiting.asleep {
            waiting.asleep = false;
            self.work.notify_one();
        }
    }

    /// How many lines were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits for lines, for a nudge, for the end, or until `due`, and moves what there is to `batch`. Returns
    /// how many lines these are, and whether this is the end.
    fn take(&self, batch: &mut Vec<u8>, due: Option<Instant>) -> (u64, bool) {
        let mut waiting = self.waiting.lock();
        while waiting.bytes.is_empty() && !waiting.closing && !waiting.nudged {
            waiting.asleep = true;
            let Some(due) = due else {
                self.work.wait(&mut waiting);
                continue;
            };
            if self.work.wait_until(&mut waiting, due).timed_out() {
                break;
            }
        }
        waiting.asleep = false;
        waiting.nudged = false;
        let gathered = Instant::now() + GATHER;
        while !waiting.bytes.is_empty()
            && !waiting.closing
            && !self.work.wait_until(&mut waiting, gathered).timed_out()
        {}
        std::mem::swap(batch, &mut waiting.bytes);
        (std::mem::take(&mut waiting.lines), waiting.closing)
    }

    /// Ends, unless more lines have come. Returns whether it did.
    fn end(&self) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.ended = waiting.bytes.is_empty();
        self.ended.notify_all();
        waiting.ended
    }
}

/// A log line comes whole, in one call.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the thread owns.
struct Writer<W, P> {
    queue: Arc<Queue>,
    out: W,
    progress: P,
    /// Lines on their way.
    batch: Vec<u8>,
    /// So many dropped lines are known to `progress`.
    said: u64,
}

impl<W: Write, P: FnMut(Progress) -> Option<Instant>> Writer<W, P> {
    fn run(mut self) {
        let mut due = None;
        loop {
            let (lines, closing) = self.queue.take(&mut self.batch, due);
            let written = write_whole(&mut self.out, &self.batch).is_ok();
            if !written {
                self.queue.dropped.fetch_add(lines, Ordering::Relaxed);
            }
            self.batch.clear();
            self.batch.shrink_to(KEPT_BYTES);
            // A line about lines that were dropped would be dropped as well.
            let dropped = if written && lines > 0 { self.queue.dropped() - self.said } else { 0 };
            self.said += dropped;
            due = (self.progress)(Progress { dropped, closing });
            if closing && self.queue.end() {
                return;
            }
        }
    }
}

/// Writes all of `bytes`, waiting for a reader as long as it takes.
///
/// # Errors
///
/// They cannot be written; some of them may have been.
pub fn write_whole(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(err) => wait_or_fail(err)?,
        }
    }
    loop {
        match out.flush() {
            Ok(()) => return Ok(()),
            Err(err) => wait_or_fail(err)?,
        }
    }
}

/// Another program may have made the pipe or terminal that we share with it one that does not
/// wait.
fn wait_or_fail(err: io::Error) -> io::Result<()> {
    match err.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => {
            thread::sleep(RETRY);
            Ok(())
        }
        _ => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader, Read};
    use std::sync::mpsc;

    use super::*;

    /// Lines of 100 bytes, more of them than a pipe and both halves of the queue hold.
    const FLOOD: u64 = 40_000;

    /// An output into a pipe, and what its writer says of dropped lines.
    fn piped() -> (Output, PipeReader, mpsc::Receiver<u64>) {
        let (reader, pipe) = io::pipe().unwrap();
        let (sender, dropped) = mpsc::channel();
        let say = move |progress: Progress| {
            if progress.dropped > 0 {
                sender.send(progress.dropped).ok();
            }
            None
        };
        (Output::start("test", pipe, say).unwrap(), reader, dropped)
    }

    fn flood(output: &Output) {
        for number in 0..FLOOD {
            output.push(format!("{number:99}\n").as_bytes());
        }
    }

    #[test]
    fn lines_come_in_order_and_all_of_them_before_the_end() {
        let (output, mut reader, _) = piped();
        for number in 0..100 {
            output.push(format!("{number}\n").as_bytes());
        }
        drop(output);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.lines().map(str::to_owned).eq((0..100).map(|number: u32| number.to_string())));
    }

    #[test]
    fn a_writer_that_is_nudged_says_how_far_it_is_although_there_is_nothing_to_write() {
        let (sender, said) = mpsc::channel();
        let say = move |progress: Progress| {
            sender.send(progress.closing).ok();
            None
        };
        let output = Output::start("test", io::sink(), say).unwrap();
        for _ in 0..3 {
            output.nudge();
            assert_eq!(said.recv(), Ok(false));
        }
        drop(output);
        assert_eq!(said.recv(), Ok(true));
    }

    #[test]
    fn an_output_that_nobody_reads_drops_lines_and_says_how_many_when_it_is_read_again() {
        let (output, reader, dropped) = piped();
        flood(&output);
        let missing = output.queue().dropped();
        assert!(missing > FLOOD / 4, "{missing}");
        let mut lines = BufReader::new(reader).lines();
        let last = lines.by_ref().take((FLOOD - missing) as usize).last().unwrap().unwrap();
        assert!(last.trim().parse::<u64>().unwrap() < FLOOD);
        assert_eq!(dropped.recv().unwrap(), missing);
        output.push(b"again\n");
        assert_eq!(lines.next().unwrap().unwrap(), "again");
    }

    #[test]
    fn an_output_that_nobody_reads_holds_nobody_up_in_the_end() {
        let (output, _reader, _) = piped();
        flood(&output);
        drop(output);
    }

    #[test]
    fn an_output_that_was_closed_drops_what_it_gets_and_ends() {
        let (output, reader, dropped) = piped();
        drop(reader);
        output.push(b"nobody hears this\n");
        let queue = Arc::clone(output.queue());
        drop(output);
        assert_eq!(queue.dropped(), 1);
        assert!(dropped.recv().is_err(), "there is nobody to tell");
    }
}
