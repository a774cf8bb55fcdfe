//! What things cost in memory.

/// What an allocator takes beside what it gives, in bytes: a header, and what it rounds up.
const OVERHEAD: usize = 24;

/// What an allocation of so many bytes takes. Nothing takes none.
pub(super) fn of(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + OVERHEAD }
}

/// Makes room for so many more bytes in a buffer that is not to have more than `most`: it grows as
/// others do, up to there, so that what it takes is what it says.
pub(super) fn room(buffer: &mut Vec<u8>, more: usize, most: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        let doubled = (2 * buffer.capacity()).min(most).max(needed);
        buffer.reserve_exact(doubled - buffer.len());
    }
}
