//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a command to stop. While this is there, they don't end the process.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// `None`, with a warning, where the system doesn't let us listen.
    pub(crate) fn listen() -> Option<Self> {
        let (Ok(interrupt), Ok(terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            tracing::warn!("signals can't be listened to; Ctrl-C ends the process at once");
            return None;
        };
        Some(Self {
            interrupt,
            terminate,
        })
    }

    /// Ends when one of them comes.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
