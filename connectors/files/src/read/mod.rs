//! Reading files, whoever has found them: which pieces, which columns, which row groups.

mod columns;
mod failing;
mod lend;
mod lines;
mod parquet;
mod piece;
mod predicate;
mod reader;
mod revise;
mod text;

pub(crate) use columns::Columns;
pub use failing::OnFileError;
pub(crate) use failing::{Careful, Failure, ending, ends, in_words, is_of_a_file};
pub(crate) use lend::{ALL_BYTES, BYTES, FILES, records};
pub use lend::{TextPart, text_columns};
pub(crate) use parquet::footer;
pub(crate) use piece::{FailedBefore, Mark, Piece, State, Unreadable};
pub(crate) use reader::{Found, Reader};
pub(crate) use revise::{By, Revised};
pub(crate) use text::{header, sample};
