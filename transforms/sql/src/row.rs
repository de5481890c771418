//! A row as JSON, for those who look at what was rejected.

use arrow_array::RecordBatch;
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use tidegate_core::{Error, Result};

/// The only row of a batch as a JSON object.
pub(crate) fn json(row: &RecordBatch) -> Result<String> {
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(Vec::new());
    writer.write(row)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner())
        .map_err(|error| Error::internal("a row's JSON is not UTF-8").because(error))?;
    Ok(text.trim_end().to_owned())
}
