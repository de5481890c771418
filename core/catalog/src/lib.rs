//! What everything that works with catalogs shares: which table is meant, how two schemas become
//! one, how partitions are named.
//!
//! ```text
//! catalog = { type = "glue", database = "…", table = "…" } ── CatalogTarget ──> dyn Catalog
//! ```
//!
//! The traits are in `tidegate-core`, the catalogs in crates of their own.

mod adapt;
mod fit;
mod guessed;
pub mod hive;
mod merge;
mod partition;
mod portable;
mod predicate;
mod registrar;
mod target;
mod together;
mod unknown;

pub use adapt::{Adapted, adapt, can_adapt, either};
pub use fit::{Fit, Fitted};
pub use guessed::{
    as_guessed, guessed_columns, guessed_format, guessed_together, is_guessed, is_told, is_unseen,
    mark_guessed, naive_times,
};
pub use merge::{merge_tables, widen};
pub use partition::{
    DirectoryKeys, DirectoryValues, NAME_LIMIT, NULL_PARTITION, check_key, decode_value, directory,
    directory_name, encode_value, key_type, not_all, parse_directory, parse_name, parse_row,
    parse_values, value_text,
};
pub use portable::portable;
pub use predicate::{column, may_match, may_match_all};
pub use registrar::{Registrar, Registration, Wanted, partition_values};
pub use target::{CatalogSettings, CatalogTarget, SchemaPolicy};
pub use together::{Physical, as_read, find, matched, plain, reads_as, same_name, with_columns_of};
pub use unknown::{UnknownColumn, known_part};
