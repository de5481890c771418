//! Columns of bytes, which text holds as base64.

use std::sync::Arc;

use arrow_array::types::GenericBinaryType;
use arrow_array::{ArrayRef, OffsetSizeTrait};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tidegate_core::Result;

use super::Fault;
use super::column::Build;
use super::fault::excerpt;
use super::json::Cursor;
use super::strings::Slices;

/// The standard alphabet; padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A column of bytes.
pub(crate) struct Binaries<O>(Slices<O>);

impl<O: OffsetSizeTrait> Binaries<O> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Slices::new(capacity))
    }
}

impl<O: OffsetSizeTrait> Build for Binaries<O> {
    fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn append_json(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        if cursor.peek() != Some(b'"') {
            let text = excerpt(cursor.raw()?);
            return Err(Fault::new(format!("{text} is not a string of base64")));
        }
        self.append_text(cursor.text()?)
    }

    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        BASE64
            .decode_vec(text, &mut self.0.values)
            .map_err(|error| Fault::new(format!("{} is not base64: {error}", excerpt(text))))?;
        self.0.end()
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.0.finish::<GenericBinaryType<O>>()?))
    }
}
