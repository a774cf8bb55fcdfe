//! The end of a process that is no longer needed.

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::process::Child;

/// Kills `child` unless it has ended, and waits until it is gone: it could still be writing into its
/// folder, which is removed next.
pub(crate) fn kill(child: &mut Child) {
    // There is none any more once its status has been taken.
    let Some(id) = child.id() else { return };
    let pid = Pid::from_raw(id.cast_signed()).expect("a process");
    // It may have ended by itself.
    child.start_kill().ok();
    // The status itself is left to the runtime, which takes it when the child is dropped.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok();
}
