//! Reading files, whoever has found them: which pieces, which columns, which row groups.

mod columns;
mod lend;
mod lines;
mod parquet;
mod piece;
mod predicate;
mod reader;
mod revise;
mod text;

pub(crate) use columns::Columns;
pub(crate) use lend::{ALL_BYTES, BYTES, FILES, records};
pub use lend::{TextPart, text_columns};
pub(crate) use parquet::footer;
pub(crate) use piece::{Mark, Piece, State};
pub(crate) use reader::{Found, Reader};
pub(crate) use revise::{By, Revised};
pub(crate) use text::{header, sample};
