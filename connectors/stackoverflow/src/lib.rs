//! The source `stackoverflow`: Stack Overflow and the other sites of the Stack Exchange network.
#![allow(dead_code)]

mod config;
mod decode;
mod fields;
mod filter;
mod since;
mod streams;

pub use config::{OnQuota, Order, StackOverflowConfig};
pub use filter::{CustomFilter, Filter};
pub use since::Since;
pub use streams::{Kind, Sort};

tidegate_core::register_source!("stackoverflow", StackOverflowConfig);
