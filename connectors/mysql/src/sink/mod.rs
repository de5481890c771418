//! The sink: rows into one table, exactly once.
//!
//! ```text
//! writer 0 ── INSERT … ──> _tg_…_0 ─┐           one transaction at commit:
//! writer 1 ── INSERT … ──> _tg_…_1 ─┼─ marker ─ INSERT INTO table SELECT … FROM _tg_…
//! writer n ── INSERT … ──> _tg_…_n ─┘           then the staging tables are dropped
//! ```
//!
//! A staging table is made `LIKE` the target, so that the server checks each row there as it would
//! in the target: types, NOT NULL, CHECK, character sets, and, by the unique indexes that it keeps,
//! that no two rows of an epoch have the same key. What it refuses is rejected row by row, when it
//! is written. What only the target can tell, that it has a row with that key already, is looked up
//! when the epoch is prepared. So a commit has nothing left to refuse but what others changed
//! meanwhile.
//!
//! The marker is a row of the table `_tidegate_markers`, of this pipeline and sink: the last epoch
//! that was moved. It changes in the same transaction as the rows, so a commit that is sent again,
//! or whose answer was lost, or that comes from a process of the past, sees that it is done.

mod checks;
mod commit;
mod config;
mod create;
mod encode;
mod literal;
mod live;
mod plan;
mod staging;
mod target;
mod text;
mod value;
mod writer;

pub use config::{Mode, MySqlSinkConfig};
