//! Transforms that give rows another shape, each a map of its own.
//!
//! ```text
//! extract   nested JSON ─> chosen fields, wherever they stand, a row for each record
//! flatten   nested columns ─> columns of their own
//! mask      chosen columns ─> hashes, fixed texts, stars
//! dedupe    rows ─> those that weren't there before, within a window
//! ```
//!
//! Each has a directory: `config.rs` has the keys and what can be checked about them, `map.rs` what is
//! done to a batch. `inputs.rs` has what those share that pass all columns on.
//!
//! What belongs here needs one batch at a time and no expression: what can be said in a query is the
//! `sql` transform's, what needs a schema of its own the `json` transform's.

mod dedupe;
mod extract;
mod flatten;
mod inputs;
mod mask;

pub use dedupe::DedupeConfig;
pub use extract::{ExtractConfig, FieldToFind, FoundColumn};
pub use flatten::FlattenConfig;
pub use mask::{Mask, MaskConfig, MaskName, MaskWith};

tidegate_core::register_transform!("extract", ExtractConfig);
tidegate_core::register_transform!("flatten", FlattenConfig);
tidegate_core::register_transform!("mask", MaskConfig);
tidegate_core::register_transform!("dedupe", DedupeConfig);
