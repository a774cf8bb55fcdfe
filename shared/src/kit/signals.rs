//! The signals that programs obey, on each kind of system.

pub(super) use self::system::Signals;

pub use self::system::Hangup;

#[cfg(unix)]
mod system {
    use std::future::pending;
    use std::io::{self, IsTerminal};
    use std::time::Duration;

    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tokio::time::sleep;

    /// A shell that ends says so to what it has started, and takes its terminal along only then.
    const TERMINAL_GOES_WITHIN: Duration = Duration::from_secs(1);

    /// SIGINT and SIGTERM, and SIGHUP where it says that the terminal is closed.
    #[derive(Debug)]
    pub(in crate::kit) struct Signals {
        interrupt: Signal,
        terminate: Signal,
        hangup: Signal,
        terminal: Terminal,
    }

    impl Signals {
        /// Takes the signals over: from now on they end nothing by themselves.
        pub(in crate::kit) fn take_over() -> io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
                terminal: Terminal::of_process(),
            })
        }

        /// The name of the next one.
        pub(in crate::kit) async fn next(&mut self) -> &'static str {
            tokio::select! {
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.terminate.recv() => "SIGTERM",
                () = closed(&mut self.hangup, &mut self.terminal) => "SIGHUP",
            }
        }
    }

    /// Waits for SIGHUP because `terminal` is closed, which happens once: the kernel and the shell
    /// may both send it.
    async fn closed(hangup: &mut Signal, terminal: &mut Terminal) {
        while terminal.0 {
            hangup.recv().await;
            if !terminal.is_closed() {
                sleep(TERMINAL_GOES_WITHIN).await;
            }
            if terminal.is_closed() {
                terminal.0 = false;
                return;
            }
        }
        pending().await
    }

    /// Whether the process was started in a terminal.
    #[derive(Clone, Copy, Debug)]
    struct Terminal(bool);

    impl Terminal {
        fn of_process() -> Self {
            // Not stdin: `nohup` leaves it alone on some systems.
            Self(io::stderr().is_terminal() || io::stdout().is_terminal())
        }

        fn is_closed(self) -> bool {
            self.0 && !Self::of_process().0
        }
    }

    /// SIGHUP where it asks for something else than an end.
    #[derive(Debug)]
    pub struct Hangup {
        signal: Signal,
        terminal: Terminal,
    }

    impl Hangup {
        /// Takes the signal over: from now on it ends nothing by itself.
        ///
        /// # Errors
        ///
        /// The system does not let the process handle signals.
        pub fn take_over() -> io::Result<Self> {
            Ok(Self { signal: signal(SignalKind::hangup())?, terminal: Terminal::of_process() })
        }

        /// Waits for the next one. Cancel-safe.
        pub async fn next(&mut self) {
            loop {
                self.signal.recv().await;
                if !self.terminal.is_closed() {
                    return;
                }
            }
        }
    }
}

#[cfg(windows)]
mod system {
    use std::future::pending;
    use std::io;

    use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};

    /// Ctrl-C and Ctrl-Break.
    #[derive(Debug)]
    pub(in crate::kit) struct Signals {
        interrupt: CtrlC,
        terminate: CtrlBreak,
    }

    impl Signals {
        /// Takes the keys over: from now on they end nothing by themselves.
        pub(in crate::kit) fn take_over() -> io::Result<Self> {
            Ok(Self { interrupt: ctrl_c()?, terminate: ctrl_break()? })
        }

        /// The name of the next one.
        pub(in crate::kit) async fn next(&mut self) -> &'static str {
            tokio::select! {
                _ = self.interrupt.recv() => "Ctrl-C",
                _ = self.terminate.recv() => "Ctrl-Break",
            }
        }
    }

    /// There is nothing like SIGHUP.
    #[derive(Debug)]
    pub struct Hangup;

    impl Hangup {
        /// There is nothing to take over.
        ///
        /// # Errors
        ///
        /// None.
        pub fn take_over() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits for ever.
        pub async fn next(&mut self) {
            pending().await
        }
    }
}
