//! The transform `mask`: values that must not be read by everybody.

mod config;
mod map;

pub use config::{Mask, MaskConfig, MaskName, MaskWith};
