//! Rows as the API sends them to Arrow.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use tidegate_core::{Decode, Decoded, Error, Origin, Result, Scan};
use tidegate_formats::{CsvOptions, Decoder, Format, json_elements};

use crate::convert::{Fault, convert};
use crate::fields::{self, Type};
use crate::streams::Kind;

/// Decodes the rows of one stream, as a scan asks for them.
///
/// Rows are read with times as numbers, which is how they are sent, and these become timestamps
/// afterwards. Fields that aren't known are skipped, fields that aren't sent are NULL. A row whose
/// values have other types than documented is rejected, as the JSON that it is.
#[derive(Debug)]
pub(crate) struct RowDecoder {
    wire: Decoder,
    schema: SchemaRef,
    /// Of the columns that the scan asks for.
    types: Vec<Type>,
    entities: bool,
}

impl RowDecoder {
    /// With `entities`, texts that a safe filter encodes are decoded.
    ///
    /// Errors: `Schema` if the scan asks for a column that isn't there.
    pub(crate) fn new(kind: Kind, scan: &Scan, entities: bool) -> Result<Self> {
        let schema = fields::schema(kind);
        let types = scan.indices(&schema)?;
        let types = types.into_iter().map(|i| fields::of(kind)[i].1).collect();
        let wire = fields::wire_schema(kind);
        Ok(Self {
            wire: Decoder::new(Format::Json, &CsvOptions::default(), wire, scan)?,
            schema: scan.schema(&schema)?,
            types,
            entities,
        })
    }

    /// The rows of a page, for a worker: a JSON array, and the page's address as it may be shown.
    pub(crate) fn rows(self: &Arc<Self>, rows: Bytes, origin: Arc<str>) -> Box<dyn Decode> {
        Box::new(EncodedRows {
            rows,
            decoder: Arc::clone(self),
            origin,
        })
    }

    fn decode(&self, rows: &Bytes, origin: &Arc<str>) -> Result<Decoded> {
        let mut decoded = self.wire.decode_all(rows.clone(), origin)?;
        let batches: Result<Vec<_>, Fault> = decoded
            .batches
            .iter()
            .map(|batch| self.convert(batch))
            .collect();
        match batches {
            Ok(batches) => decoded.batches = batches,
            Err(Fault::Other(error)) => return Err(error),
            Err(Fault::NoTime { .. }) => self.without_strange_times(rows, origin, &mut decoded)?,
        }
        Ok(decoded)
    }

    /// Rejects the rows with numbers that are no times, and converts the others.
    fn without_strange_times(
        &self,
        rows: &Bytes,
        origin: &Arc<str>,
        decoded: &mut Decoded,
    ) -> Result<()> {
        let elements = json_elements(rows, "")
            .map_err(|error| Error::data(format!("a page's rows can't be read: {error}")))?;
        let offset = |row: &[u8]| {
            let offset = row.as_ptr().addr().wrapping_sub(rows.as_ptr().addr());
            u64::try_from(offset).ok()
        };
        let gone = &decoded.rejected.rows;
        let gone: BTreeSet<_> = gone.iter().map(|row| row.origin.offset).collect();
        let mut taken = elements
            .into_iter()
            .filter(|row| !gone.contains(&offset(row)));
        for batch in &mut decoded.batches {
            let mut good = Vec::with_capacity(batch.num_rows());
            for i in 0..batch.num_rows() {
                let row = taken
                    .next()
                    .ok_or_else(|| Error::internal("a page has fewer rows than were decoded"))?;
                let reason = match self.convert(&batch.slice(i, 1)) {
                    Ok(_) => {
                        good.push(true);
                        continue;
                    }
                    Err(Fault::Other(error)) => return Err(error),
                    Err(Fault::NoTime { path, value }) => {
                        format!("`{path}` is {value}, which is no time in seconds since 1970")
                    }
                };
                good.push(false);
                let origin = Origin {
                    file: Some(Arc::clone(origin)),
                    offset: offset(row),
                    ..Origin::default()
                };
                let row = String::from_utf8_lossy(row);
                decoded.rejected.push(row, reason, origin);
            }
            let kept = filter_record_batch(batch, &BooleanArray::from(good))?;
            *batch = self.convert(&kept).map_err(Fault::into_error)?;
        }
        decoded.batches.retain(|batch| batch.num_rows() > 0);
        decoded.rejected.rows.sort_by_key(|row| row.origin.offset);
        Ok(())
    }

    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, Fault> {
        let columns = self.schema.fields().iter().zip(batch.columns());
        let columns = self.types.iter().zip(columns);
        let columns = columns
            .map(|(of, (field, column))| {
                convert(*of, field.data_type(), column, self.entities)
                    .map_err(|fault| fault.within(field.name()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}

struct EncodedRows {
    rows: Bytes,
    decoder: Arc<RowDecoder>,
    origin: Arc<str>,
}

impl Decode for EncodedRows {
    fn size(&self) -> usize {
        self.rows.len()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        self.decoder.decode(&self.rows, &self.origin)
    }
}

#[cfg(test)]
mod tests;
