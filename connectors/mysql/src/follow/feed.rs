//! Packets of the log as they come.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::{Error, Result};

use super::server::READING;
use crate::wire::Connection;

/// The wait for a packet; the connection comes back with it.
type Reading = BoxFuture<'static, (Connection, Result<Vec<u8>>)>;

/// A connection on which packets come, and the wait for the next one: it may be looked whether there
/// is one without losing any.
pub(super) struct Feed {
    idle: Option<Connection>,
    reading: Option<Reading>,
    silence: Duration,
}

impl Feed {
    /// `silence`: how long the server may say nothing.
    pub(super) fn new(connection: Connection, silence: Duration) -> Self {
        Self {
            idle: Some(connection),
            reading: None,
            silence,
        }
    }

    fn reading(&mut self) -> Result<&mut Reading> {
        if let Some(mut connection) = self.idle.take() {
            self.reading = Some(
                async move {
                    let packet = connection.packet(READING).await;
                    (connection, packet)
                }
                .boxed(),
            );
        }
        self.reading
            .as_mut()
            .ok_or_else(|| Error::internal("a connection was lost sight of"))
    }

    fn got(&mut self, (connection, packet): (Connection, Result<Vec<u8>>)) -> Result<Vec<u8>> {
        self.reading = None;
        self.idle = Some(connection);
        packet
    }

    /// The next packet, if it is here already.
    pub(super) fn ready(&mut self) -> Option<Result<Vec<u8>>> {
        let got = match self.reading() {
            Ok(reading) => reading.now_or_never()?,
            Err(error) => return Some(Err(error)),
        };
        Some(self.got(got))
    }

    pub(super) async fn next(&mut self) -> Result<Vec<u8>> {
        let silence = self.silence;
        let reading = self.reading()?;
        match tokio::time::timeout(silence, reading).await {
            Ok(got) => self.got(got),
            Err(_) => Err(Error::transient(format!(
                "the server said nothing for {} s, not even that it has nothing to say",
                silence.as_secs_f64()
            ))),
        }
    }
}
