//! MySQL, MariaDB and RDS.

mod config;
mod connect;
mod decode;
mod discover;
mod follow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod piece;
mod plan;
mod pushdown;
mod reading;
mod relation;
mod retry;
mod sample;
mod select;
mod sink;
mod snapshot;
mod source;
mod sql;
mod types;
mod wire;

pub use config::{Lag, MySqlConfig, Snapshot, TableOptions};
pub use sample::{Sample, Wait};
pub use sink::{Mode, MySqlSinkConfig};
pub use types::ZeroDates;
pub use wire::TlsMode;

tidegate_core::register_source!("mysql", MySqlConfig);
tidegate_core::register_sink!("mysql", MySqlSinkConfig);
