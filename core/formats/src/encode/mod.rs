//! Arrow to bytes of records.

mod cells;
mod csv;
mod encoder;
mod json;
mod raw;
mod text;
mod texts;

pub use encoder::{Encoder, RowEncoder, Rows, row_to_json};
pub use text::decimal_text;
pub use texts::{json_texts, plain_texts};
