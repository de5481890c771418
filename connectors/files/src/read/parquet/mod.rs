//! Reading of Parquet: the reader fetches a row group's bytes, workers decode parts of it.

mod fetched;
mod file;
mod footer;
mod pages;
mod prune;

pub(crate) use fetched::Room;
pub(crate) use file::ParquetFile;
pub(crate) use footer::{footer, with_pages};
