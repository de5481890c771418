//! SQL over Arrow: DataFusion sessions, tables and plans, for whoever runs a query in Tidegate.
//!
//! ```text
//! text + tables ── Query::plan ──> Query ── program() ──> Program   filter and projection, by batch
//!                                   │  └── scan(table) ──> what it needs of each table
//!                                   └───── run(rows) ────> streams   everything else, spilling to disk
//! text + catalog, places ── Lake::query ──> LakeQuery ── run() ──> rows of files, where they lie
//! ```
//!
//! What belongs here: planning, what a plan needs of its tables, running it within a memory
//! budget, and errors that say where in the query they are. What doesn't: configuration, and how
//! a query stands in a pipeline (`transforms/sql`).
//!
//! # The dialect
//!
//! DataFusion's, with these choices:
//!
//! - Names are as written: `userId` finds the column `userId`, without quotes. Where no such name
//!   exists, but one that differs only in case, that one is meant. Quoted names are exact.
//! - A table of the pipeline is called as the pipeline file calls it, `shop.sales` or `weekly`;
//!   `shop.sales` is `sales` as well where that means only one.
//! - Numbers with a point are exact decimals (`1.5` is `DECIMAL(2, 1)`), so that money stays exact.
//!   Where a decimal meets a floating-point number, both are doubles. A quotient of decimals has
//!   four digits more than its dividend, and what is beyond them is cut off: `sum(amt) / sum(qty)`
//!   of `DECIMAL(38, 2)` has six digits after the point. A decimal or integer divided by zero is an
//!   error: say `x / nullif(y, 0)`.
//! - `TIMESTAMP` counts microseconds; dates and times meet in the unit of the times. A column with a
//!   zone holds instants, told in UTC.
//! - A field of what is NULL is NULL.
//! - Arithmetic and sums that grow beyond their type are an error, and never wrap around.
//! - What comes out has plain types: views and dictionaries become text and bytes, and a column of
//!   nothing but `NULL` becomes text.

mod analysis;
mod builds;
mod case;
mod dialect;
mod error;
mod fields;
mod filters;
mod hints;
mod lake;
mod memory;
mod naming;
mod nested;
mod output;
mod parse;
mod parts;
mod place;
mod predicate;
mod program;
mod query;
mod session;
mod table;
mod tree;
mod words;

pub use lake::{
    Explanation, Lake, LakeOptions, LakeQuery, Share, TableShare, TextFile, TextFiles, TextRows,
    Traffic, needs_catalog,
};
pub use output::Shape;
pub use parse::parse;
pub use program::{Failure, Program};
pub use query::Query;
pub use session::Resources;
pub use table::Table;
