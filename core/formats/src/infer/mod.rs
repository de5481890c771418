//! Schemas learnt from data.

mod csv;
mod inference;
mod json;

pub use inference::{Inference, infer};
