//! How the process deals with its memory: what it has freed, and what is secret in it.

/// What the process keeps of freed memory, at the end of the heap: twice this many bytes.
const KEPT: usize = 4 * 1024 * 1024;

/// Lets the process keep a few megabytes that it has freed, for the next frames.
///
/// yamux allocates every frame. glibc's allocator gives whatever is free at the end of the heap
/// back to the kernel as soon as that is 128 KiB, which under bulk is after every other frame, and
/// each page costs a fault when it is needed again: a quarter of all the processor time. Its
/// threshold grows when a large block is freed (`M_TRIM_THRESHOLD` in mallopt(3)), so one is, once.
/// It is never touched and so costs nothing. Other allocators have no such threshold.
pub fn keep_freed() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT)));
}

/// Keeps the process from leaving a core dump behind: it would have tokens and keys in it. A limit
/// that cannot be set stays as it is, and the service's own (`LimitCORE`) has to do.
pub fn keep_secret() {
    #[cfg(unix)]
    drop(rlimit::setrlimit(rlimit::Resource::CORE, 0, 0));
}
