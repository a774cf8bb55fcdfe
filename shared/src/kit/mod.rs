//! What both programs need and that knows nothing of tunnels.
//!
//! - [`net`]: addresses, and sockets with the right options
//! - [`serve`]: the accept loop
//! - [`stop`]: the signals that end a program; [`signals`]: those that ask for something else
//! - [`backoff`]: the delays between attempts
//! - [`args`]: values of settings
//! - [`amounts`]: amounts of data, and rates
//! - [`budget`]: how much is forgiven of what nobody needs much of
//! - [`digits`]: numbers and addresses as text, where there are many
//! - [`nearest`]: the word that somebody probably meant
//! - [`settings`]: settings from a file, the environment and the command line
//! - [`owner`]: to whom a folder belongs
//! - [`small_file`]: files that are read as a whole
//! - [`watch`], [`reload`]: a file that may change, and settings that follow it
//! - [`answer`]: answers to somebody who has called a program for nothing else
//! - [`output`]: output that holds nobody up
//! - [`logging`]: what the logs look like, and how much may be in them
//! - [`memory`]: what becomes of memory that is freed
//! - [`seldom`]: futures that cost nothing while their task is busy with something else

pub mod amounts;
pub mod answer;
pub mod args;
pub mod backoff;
pub mod budget;
pub mod digits;
pub mod logging;
pub mod memory;
pub mod nearest;
pub mod net;
pub mod output;
pub mod owner;
pub mod reload;
pub mod seldom;
pub mod serve;
pub mod settings;
pub mod signals;
pub mod small_file;
pub mod stop;
pub mod watch;
