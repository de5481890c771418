//! Finding tables in directories of files: which directories are one table, of which columns and partitions.
//!
//! ```text
//! s3://lake/raw ── list ──> directories ── classify, sample ──> schemas ── group ──> CrawlReport
//!                                                                                    │
//!                                     dyn Catalog <── apply ── Change… <── diff ─────┘
//! ```
//!
//! [`crawl()`] only reads. [`diff`] says what [`apply`] would change in a catalog: nothing is ever
//! dropped or narrowed.
//!
//! What is guessed from text is marked as such in the table, and held to by its readers as types are
//! that `files` finds out; a later crawl may know better.
//!
//! It groups as the crawler of AWS Glue does: directories side by side whose schemas are similar (70 %
//! of the columns) are partitions of one table, `key=value` in their names names the key, and other
//! directories get `partition_0` and so on. Where it differs, and why:
//!
//! | Glue's crawler | here | because |
//! |---|---|---|
//! | files of several formats in one directory become a table each | they are skipped, with the reason | a table is a directory, and its readers would read all of it |
//! | arrays of JSON and JSON over several lines become tables | they are skipped | Athena and Hive read one object a line |
//! | partition keys are mostly text | integers and dates where all values are such | so that `year = 2024` needs no quotes; `01` stays text |
//! | a table whose name exists gets a hash behind it | it gets its parent's name before it | the name says where it lies |
//! | CSV has a header if its first line looks like one | it has one in `.csv` and `.tsv` | so it is for `files` and `query` |
//! | new columns are added and old ones may be dropped, by policy | columns are added and widened only | others may have put them there |
//! | vanished partitions are deleted or marked, by policy | they are told, and stay | dropping is for people |
//! | custom and built-in classifiers (grok, XML, Avro, ORC) | Parquet, NDJSON, CSV | that is what is read here |
//! | partition indexes, statistics, Iceberg, Delta | none; their directories of metadata (`_…`) are passed over | |

mod apply;
mod classify;
mod csv;
mod directories;
mod group;
mod keys;
mod report;
mod schemas;

pub use apply::{Change, apply, diff};
pub use group::crawl;
pub use report::{CrawlOptions, CrawlReport, CrawledTable, Skipped};
