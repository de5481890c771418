//! The source `stackoverflow`: Stack Overflow and the other sites of the Stack Exchange network.
#![allow(dead_code)]

mod budget;
mod client;
mod config;
mod convert;
mod decode;
mod entities;
mod error;
mod fields;
mod filter;
mod plan;
mod read;
mod since;
mod source;
mod streams;
mod window;

pub use config::{OnQuota, Order, StackOverflowConfig};
pub use filter::{CustomFilter, Filter};
pub use since::Since;
pub use streams::{Kind, Sort};

tidegate_core::register_source!("stackoverflow", StackOverflowConfig);
