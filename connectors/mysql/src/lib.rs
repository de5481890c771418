//! MySQL, MariaDB and RDS.
#![allow(dead_code)] // while the parts grow

mod config;
mod connect;
mod decode;
mod discover;
mod follow;
mod plan;
mod sample;
mod sink;
mod snapshot;
mod source;
mod sql;
mod types;
mod wire;

pub use sink::{Mode, MySqlSinkConfig};
