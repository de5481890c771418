//! Where in the binlog we are.

use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

use crate::discover::Table;

/// Between two transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BinlogPosition {
    /// The file's name: `binlog.000002`.
    pub(crate) file: String,
    /// The byte in it at which the next event begins.
    pub(crate) byte: u64,
    /// The ids of all transactions before; none if the server has none, or none that we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gtids: Option<String>,
    /// Who said so: its UUID, or MariaDB's server id. Files and bytes mean something only there.
    pub(crate) server: String,
    /// How often the server became another one since the beginning.
    #[serde(default)]
    pub(crate) generation: u32,
}

/// Where the position was noted before the first row, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) position: BinlogPosition,
    /// The server's clock, in microseconds since 1970.
    pub(crate) time: i64,
}

/// How far the reader of the binlog is: what its offsets hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BinlogOffset {
    /// The beginning of the transaction that we are in, or the end of the last one.
    pub(crate) position: BinlogPosition,
    /// How many changes of followed tables in it are behind us.
    #[serde(default)]
    pub(crate) changes: u64,
    /// The tables whose schema was announced since the beginning, as they are now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) changed: Vec<Table>,
    /// The tables that a statement may have altered, and of which no row was seen since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stale: Vec<String>,
}

impl BinlogOffset {
    pub(crate) fn new(position: BinlogPosition) -> Self {
        Self {
            position,
            changes: 0,
            changed: Vec::new(),
            stale: Vec::new(),
        }
    }
}

/// The number at the end of a file's name.
pub(super) fn file_number(name: &str) -> Result<u64> {
    name.rsplit_once('.')
        .and_then(|(_, number)| number.parse().ok())
        .ok_or_else(|| {
            Error::unsupported("a file of the binary log without a number at the end of its name")
                .with("file", name)
        })
}

/// The text in `_pos`. Texts sort as the changes happened: how often the server became another one,
/// the file, the byte at which the transaction begins in it, the change's number in the transaction.
pub(super) fn text(generation: u32, file: u64, byte: u64, change: u64) -> String {
    format!("{generation:04}-{file:010}-{byte:015}-{change:010}")
}

/// The text of the noted position: it sorts before all changes after it.
pub(super) fn noted_text(noted: &Noted) -> Result<String> {
    let position = &noted.position;
    let file = file_number(&position.file)?;
    Ok(text(position.generation, file, position.byte, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_sort_as_positions_do() {
        let mut texts = [
            text(0, 9, 1_000, 10),
            text(0, 9, 1_000, 9),
            text(0, 10, 4, 1),
            text(1, 1, 4, 1),
            text(0, 9, 999, 100),
        ];
        texts.sort();
        assert_eq!(
            texts,
            [
                text(0, 9, 999, 100),
                text(0, 9, 1_000, 9),
                text(0, 9, 1_000, 10),
                text(0, 10, 4, 1),
                text(1, 1, 4, 1),
            ]
        );
        assert_eq!(file_number("mysql-bin-changelog.000123").unwrap(), 123);
        assert!(file_number("binlog").is_err());
    }
}
