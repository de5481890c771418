//! The sink `parquet`: rows into Parquet files, in Hive directories if asked.
//!
//! ```toml
//! [sinks.lake]
//! type = "parquet"
//! inputs = ["weekly"]
//! url = "out/sales"
//! partition_by = ["yr_num", "wk_num"]
//! mode = "overwrite_partitions"
//! ```
//!
//! ```text
//! writer 0: partition → open row group (encodes, compresses) ─┐
//! writer 1: partition → open row group (encodes, compresses) ─┼─> one open file a partition,
//! writer n: …                                                 ┘   shared by the epoch's writers
//! ```
//!
//! Encoding is the work, so every writer does it on its own CPU thread, into row groups of its own;
//! only the finished column chunks go to the shared file, under its lock. So the number of files
//! follows from the bytes, not from the number of threads.
//!
//! Two-phase: a file is hidden until its epoch is committed (see `tidegate-staged`). The overwrite
//! modes show everything at the end of the run: first the new files appear, then the old ones,
//! fixed in the last checkpoint, are deleted.
//!
//! With a `catalog` the files are a table there (see `tidegate_catalog::Registrar`): it is compared
//! before the first row, and each commit registers its columns and partitions, from values that are
//! in the checkpoint too.

mod config;
mod encoders;
mod file;
mod partition;
mod properties;
mod row_group;
mod sink;
mod writer;

pub use config::{Mode, Names, ParquetCompression, ParquetConfig, Types};

tidegate_core::register_sink!("parquet", ParquetConfig);
