//! Where bytes lie: finding, reading and staged writing of files, wherever they are.
//!
//! ```text
//! "data/**/*.csv" ── Pattern ──> FileMeta…  ── Storage::stream ──> chunks, read ahead
//!
//! Storage::begin ── token ──> journal ── Storage::create ──> write… ── finish ──> Staged
//!                                │                                      │ checkpoint
//!                                └── discard (it will never be)         └── publish (it appears, whole)
//! ```
//!
//! A [`Location`] is a url or path of the pipeline file, made absolute; a [`Storage`] is the directory
//! or prefix there, and all keys are relative to it. Reading goes through [`object_store`]; listing
//! (`Lister`) and writing ([`Staging`]) have one implementation per kind of place.
//!
//! Here is what is true of places, and nothing of formats, rows or components.

mod access;
mod conditional;
mod error;
mod glob;
mod listing;
mod local;
mod location;
mod memory;
mod pattern;
mod read;
#[cfg(feature = "s3")]
mod s3;
mod staged;
mod storage;
mod unblock;

pub use access::Access;
pub use listing::{LeftOut, Listing, Names, directories, is_hidden};
pub use location::{Location, Place};
pub use pattern::{Pattern, spread};
pub use read::{ByteStream, FileMeta, ReadAhead};
pub use staged::{Staged, StagedToken, StagedWriter, Staging};
pub use storage::Storage;
