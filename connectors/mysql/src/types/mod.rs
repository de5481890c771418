//! The server's types, and what they are elsewhere. What all ways to a type meet in is its
//! declaration: tables have one, and what comes over the wire or stands in the binary log is given
//! one.
//!
//! ```text
//! a table ────────────────────────┐                   ┌─> Arrow (kind)
//! the wire's metadata (wire) ─────┼─> Declared ─> Type ├─> decode: how values come
//! a map of the log (follow) ──────┤                   ├─> follow: how they are stored
//! Arrow (arrow) ──────────────────┘                   └─> sink: what a column takes
//! ```
//!
//! | server | Arrow | on the wire | in the log |
//! |---|---|---|---|
//! | TINYINT, SMALLINT, MEDIUMINT, INT, BIGINT | Int8, Int16, Int32, Int32, Int64; UNSIGNED: UInt8 … UInt64 | 1, 2, 4, 4, 8 bytes | the same, MEDIUMINT in 3 |
//! | TINYINT(1) | Boolean if `map_tinyint1_to_bool`; a row with another value than 0 and 1 is rejected | 1 byte | the same |
//! | DECIMAL(p,s) | Decimal128(p,s) up to 38 digits, Decimal256(p,s) beyond | digits | nine of them in 4 bytes |
//! | FLOAT, DOUBLE | Float32, Float64 | 4, 8 bytes | the same |
//! | BIT(1), BIT(n) | Boolean, UInt64 | bytes, the highest first | the same |
//! | YEAR | UInt16; the year 0000 is 0 | 2 bytes | since 1900, in one |
//! | DATE, DATETIME, TIMESTAMP | Date32, Timestamp(µs), Timestamp(µs, "UTC") | their parts | packed into bits; seconds since 1970 |
//! | TIME | Duration(µs): it has a sign, and more than 24 hours | its parts | packed into bits |
//! | CHAR, VARCHAR, TEXT, JSON | Utf8, as the server prints them | UTF-8 | in the column's character set; MySQL's JSON as a tree |
//! | ENUM, SET | Utf8, as the server prints them | UTF-8 | the member's number; a bit for each member |
//! | UUID, INET4, INET6 | Utf8, as the server prints them | UTF-8 | bytes |
//! | BINARY, VARBINARY, BLOB, VECTOR | Binary | bytes | bytes |
//! | GEOMETRY and its kinds | Binary: WKB | an SRID, and WKB | the same |

mod arrow;
mod column;
mod declared;
mod kind;
mod wire;

pub(crate) use arrow::declaration_for;
pub(crate) use column::{Column, DECLARED};
pub(crate) use declared::{Declared, of_members, with_fraction};
pub use kind::ZeroDates;
pub(crate) use kind::{Mapping, Type};
