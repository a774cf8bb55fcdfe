//! The signals that programs obey, on each kind of system.

pub(super) use self::system::{Hangup, Signals};

#[cfg(unix)]
mod system {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// SIGINT and SIGTERM.
    #[derive(Debug)]
    pub(in crate::kit) struct Signals {
        interrupt: Signal,
        terminate: Signal,
    }

    impl Signals {
        /// Takes the signals over: from now on they end nothing by themselves.
        pub(in crate::kit) fn take_over() -> io::Result<Self> {
            let interrupt = signal(SignalKind::interrupt())?;
            let terminate = signal(SignalKind::terminate())?;
            Ok(Self { interrupt, terminate })
        }

        /// The name of the next one.
        pub(in crate::kit) async fn next(&mut self) -> &'static str {
            tokio::select! {
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.terminate.recv() => "SIGTERM",
            }
        }
    }

    /// SIGHUP.
    #[derive(Debug)]
    pub(in crate::kit) struct Hangup(Signal);

    impl Hangup {
        /// Takes the signal over: from now on it ends nothing.
        pub(in crate::kit) fn take_over() -> io::Result<Self> {
            signal(SignalKind::hangup()).map(Self)
        }

        /// Waits for the next one. Cancel-safe.
        pub(in crate::kit) async fn next(&mut self) {
            self.0.recv().await;
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
    pub(in crate::kit) struct Hangup;

    impl Hangup {
        /// There is nothing to take over.
        pub(in crate::kit) fn take_over() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits for ever.
        pub(in crate::kit) async fn next(&mut self) {
            pending().await
        }
    }
}
