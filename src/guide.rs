//! The pages of the guide that have code, so that it compiles.
//!
//! The whole guide is in `docs/guide/`.

#[doc = include_str!("../docs/guide/writing-a-connector.md")]
pub mod writing_a_connector {}

#[doc = include_str!("../docs/guide/writing-a-sink.md")]
pub mod writing_a_sink {}

#[doc = include_str!("../docs/guide/embedding.md")]
pub mod embedding {}
