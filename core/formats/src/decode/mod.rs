//! Bytes of whole records to Arrow, straight into typed builders.

mod binary;
mod column;
mod csv;
mod decoder;
pub(crate) mod exact;
mod fault;
pub(crate) mod json;
mod nested;
pub(crate) mod number;
mod primitive;
mod raw;
mod strings;
pub(crate) mod time;
mod unknown;

pub(crate) use csv::fields as csv_fields;
pub use decoder::{Decoder, EncodedChunk};
pub(crate) use fault::{Fault, excerpt};
pub use json::{
    JsonRows, JsonVisitor, check as json_check, elements as json_elements, walk as walk_json,
};
pub use raw::raw_schema;
pub(crate) use unknown::{Learnt, Unknown, within};
pub use unknown::{OnNewColumns, with_new};
