//! The names and types of Hive's metastore, which Glue and Athena keep: what an Arrow schema becomes
//! there, and back.
//!
//! | Arrow | Hive | back |
//! |---|---|---|
//! | `Boolean`, `Utf8`, `Binary`, `Date32`, `Float32`, `Float64` and their variants | `boolean`, `string`, `binary`, `date`, `float`, `double` | the plainest variant |
//! | `Int8` … `Int64` | `tinyint`, `smallint`, `int`, `bigint` | same |
//! | `UInt8`, `UInt16`, `UInt32`, `UInt64` | `smallint`, `int`, `bigint`, `decimal(20,0)` | the signed type that holds it |
//! | decimals up to 38 digits | `decimal(p,s)` | `Decimal128` |
//! | `Timestamp` of any unit and zone | `timestamp` | microseconds, UTC |
//! | `Time32`, `Time64` | `string`: `10:30:00` | `Utf8` |
//! | `Null` (no value is known) | `string` | `Utf8` |
//! | lists, maps, structs | `array<…>`, `map<…,…>`, `struct<a:…,…>` | `List`, `Map`, `Struct` |
//!
//! A time is a text because no engine behind Glue has a type for it in Hive tables (Trino reads
//! Parquet's TIME only as a number, [trinodb/trino#16362]) and a text says itself what it means.
//!
//! [trinodb/trino#16362]: https://github.com/trinodb/trino/issues/16362

mod names;
mod parse;
mod types;

pub use names::fold_name;
pub use parse::parse_type;
pub use types::{storable_schema, storable_type, type_string};
