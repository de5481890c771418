//! What the targets in `fuzz/` call, and nobody else: what a server says, without a server.

use std::io::Cursor;
use std::time::Duration;

use tidegate_core::{Result, SecretValue};

use crate::decode::Decoder;
pub use crate::follow::fuzzing::Logged;
use crate::types::{Column, Mapping, ZeroDates};
use crate::wire::{Address, Connection, Login, Tls, TlsMode};

/// What is asked, once the server has let us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Something without rows.
    Done,
    /// A few rows, as texts.
    Texts,
    /// The columns of a query.
    Columns,
    /// Rows, which are decoded.
    Rows,
}

/// Logs in, asks, and takes what the server says, which is all in `said`. Gives how many rows there
/// were.
///
/// Errors: those of what the server says.
pub async fn session(said: Vec<u8>, question: Question, dates: ZeroDates) -> Result<usize> {
    let address = Address {
        host: "localhost".to_owned(),
        port: 3306,
        connect_timeout: Duration::from_secs(60),
        read_timeout: Duration::from_secs(60),
        max_row: 1 << 20,
    };
    let login = Login {
        user: "me".to_owned(),
        password: Some(SecretValue::from("hunter2".to_owned())),
        anybody: true,
        ..Login::default()
    };
    let tls = Tls::new(TlsMode::Disabled, None)?;
    let socket = tokio::io::join(Cursor::new(said), tokio::io::sink());
    let mut connection = Connection::over(socket, &address, &login, &tls).await?;
    let sql = "SELECT 1";
    match question {
        Question::Done => {
            connection.execute("ask", sql).await?;
            Ok(connection.packet("listen").await?.len())
        }
        Question::Texts => Ok(connection.query("ask", sql).await?.len()),
        Question::Columns => {
            let columns = connection.describe("ask", sql).await?;
            Ok(columns.len() + connection.query("ask", sql).await?.len())
        }
        Question::Rows => rows(connection, sql, dates).await,
    }
}

async fn rows(connection: Connection, sql: &str, zero_dates: ZeroDates) -> Result<usize> {
    let mapping = Mapping {
        zero_dates,
        ..Mapping::default()
    };
    let mut rows = connection.rows("read", sql).await?;
    let columns = rows.columns().iter();
    let columns: Vec<_> = columns.map(|wire| Column::of_wire(wire, mapping)).collect();
    let shown = columns.len().div_ceil(2);
    let decoders = [columns.len(), shown].map(|shown| {
        let decoder = Decoder::new("t", columns.clone(), shown, mapping)?;
        decoder.expect(rows.columns()).map(|()| decoder)
    });
    let [whole, part] = decoders;
    let (whole, part) = (whole?, part?);
    let mut count = 0;
    while let Some(chunk) = rows.next(1 << 10, 100).await? {
        count += chunk.len();
        for row in chunk.rows() {
            // Of a key, each by itself.
            for at in 0..columns.len() {
                let _ = whole.literals(row, &[at]);
            }
        }
        let (bytes, places) = chunk.places();
        let copy = crate::wire::Chunk::of(bytes.to_vec(), places.to_vec());
        let decoded = whole.work(chunk).decode();
        let hidden = part.work(copy).decode();
        let (decoded, hidden) = (decoded?, hidden?);
        assert_eq!(decoded.batches.len(), hidden.batches.len());
    }
    let mut connection = rows.into_connection();
    if let Some(connection) = &mut connection {
        count += connection.query("ask", sql).await?.len();
    }
    Ok(count)
}

/// Follows what the binary log says. Gives how many changes of the one table were told.
///
/// Errors: those of what the log says.
pub async fn binlog(logged: &[Logged<'_>], mariadb: bool) -> Result<usize> {
    crate::follow::fuzzing::binlog(logged, mariadb).await
}
