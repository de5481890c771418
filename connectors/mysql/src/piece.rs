//! What a split is.

use serde::{Deserialize, Serialize};
use tidegate_core::StreamName;

use crate::follow::{Following, Noted};
use crate::sample::Draws;
use crate::select::{Order, Range, Window};

/// What a split of this source holds: the one thing that planning tells reading, stored as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Piece {
    /// A range of a table, in an order that it can be read on in.
    Range {
        stream: StreamName,
        order: Order,
        range: Range,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<Window>,
    },
    /// All of a table that has no key, of a view or of a query.
    Whole {
        stream: StreamName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<Window>,
    },
    /// The loop of random rows.
    Sample(Draws),
    /// A piece of the snapshot that is followed by the log from the noted position on.
    Noted { piece: Box<Piece>, noted: Noted },
    /// The changes of all tables, from the binary log.
    Binlog(Following),
}

/// Where a reading of a [`Piece::Range`] is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeOffset {
    /// The last row's place in the order, as literals; none before the first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Vec<String>>,
    /// How many rows were given.
    pub(crate) rows: u64,
}
