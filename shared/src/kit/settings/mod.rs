//! Settings from four places: the command line beats the environment, which beats a file, which
//! beats the defaults.
//!
//! A setting is declared once, as an argument of a [`clap::Command`]. Its key in a file is its flag
//! without the dashes, and what it takes is what the flag takes.
//!
//! - [`File`]: a file, read, with the line of everything in it
//! - [`References`]: `${NAME}` and `file:PATH` within its values
//! - [`Loader`]: from the arguments of a process to its settings, as often as one likes
//! - [`merge`]: a file below the command line and the environment
//! - [`Shown`]: the settings as a file again, with where each comes from

mod file;
mod loader;
mod merge;
mod problems;
mod references;
mod shown;

pub use file::{Entry, File, Section};
pub use loader::{Accepted, CONFIG, Loader};
pub use merge::{BAD_USAGE, Merged, NotMerged, Origin, merge};
pub use problems::{Problem, Problems};
pub use references::References;
pub use shown::{Change, Row, Shown, changes, quoted};
