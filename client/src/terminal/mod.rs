//! The foot of the terminal: what a client is doing now, below all that it prints and logs, redrawn
//! in place.
//!
//! Drawing happens on the threads that write stdout and stderr, never on the one that moves visitors'
//! bytes: a terminal that is held by Ctrl-S holds up nothing but itself. What is drawn is pure and
//! lives in `lines`; `screen` is the one lock under which anything gets to the terminal, `foot` knows
//! when to draw what, and `tty` asks the system.
//!
//! The cursor waits at the beginning of the foot. So all that is to be erased is always behind it,
//! however the terminal has been resized meanwhile, and whatever a shell has written.

mod foot;
mod lines;
mod rates;
mod screen;
#[cfg_attr(not(unix), path = "tty_elsewhere.rs")]
mod tty;

pub(crate) use self::foot::Attendant;
pub use self::foot::{Foot, Watched};
pub use self::screen::{Above, Screen};
