//! Errors of the system that the standard library has no kind for.

use std::io;

/// Whether a process, or the whole system, has no room for one more open file.
pub fn is_out_of_files(err: &io::Error) -> bool {
    err.raw_os_error().is_some_and(|code| OUT_OF_FILES.contains(&code))
}

/// Whether the system has no such addresses: a kernel without IPv6.
pub(super) fn is_family_missing(err: &io::Error) -> bool {
    err.raw_os_error() == Some(FAMILY_MISSING)
}

/// `EMFILE` and `ENFILE`, the same on all Unix systems.
#[cfg(not(windows))]
const OUT_OF_FILES: [i32; 2] = [24, 23];

/// `WSAEMFILE` and `ERROR_TOO_MANY_OPEN_FILES`.
#[cfg(windows)]
const OUT_OF_FILES: [i32; 2] = [10024, 4];

/// `EAFNOSUPPORT`.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FAMILY_MISSING: i32 = 97;

/// `EAFNOSUPPORT` of macOS and the BSDs.
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
const FAMILY_MISSING: i32 = 47;

/// `WSAEAFNOSUPPORT`.
#[cfg(windows)]
const FAMILY_MISSING: i32 = 10047;
