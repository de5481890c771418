//! Rows in the binary protocol to Arrow, on a worker's thread.
//!
//! ```text
//! Chunk ── blocks of rows that fit a CPU's cache ──> for each column: all of the block's values
//!          (where each row is read up to)             one after the other, into its vector
//! ```
//!
//! A row has no index of its values: where one begins is known only when the one before it was
//! read. So a block keeps a place per row, and each column moves all of them on. The loop over a
//! column's values knows its type, and rows don't wait for each other.
//!
//! Rows that hold what can't be taken keep their place with a default, and are cut out in the end.

mod block;
mod date;
mod decimal;
mod decoder;
mod number;
mod print;
mod read;
mod text;
mod then;

pub(crate) use decoder::Decoder;
pub(crate) use then::then;
#[cfg(test)]
pub(crate) mod tests;
