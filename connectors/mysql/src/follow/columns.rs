//! The columns that tell of changes, and rows of the snapshot that get them too.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::StreamExt;
use tidegate_core::{Decode, Error, Event, EventStream, Result, Rows, Scan};

use super::position::{Noted, noted_text};
use crate::decode::then;
use crate::types::{Column, Mapping, Type};

/// What happened to the row.
pub(crate) const OP: &str = "_op";
/// When.
pub(crate) const TS: &str = "_ts";
/// Where in the order of all changes.
pub(crate) const POS: &str = "_pos";

/// What `_op` says of a row that was there at the beginning.
pub(crate) const SNAPSHOT: &str = "snapshot";

/// The three fields.
fn fields() -> [Field; 3] {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    [
        Field::new(OP, DataType::Utf8, false),
        Field::new(TS, time, false),
        Field::new(POS, DataType::Utf8, false),
    ]
}

/// The schema of a stream of changes: the table's columns, and behind them ours.
pub(crate) fn schema(columns: &[Column], mapping: Mapping) -> Result<SchemaRef> {
    let mut all = Vec::with_capacity(columns.len() + 3);
    for column in columns {
        if [OP, TS, POS].contains(&column.name.as_str()) {
            return Err(Error::config(format!(
                "the table has a column `{}`, and `follow` adds one of that name",
                column.name
            ))
            .hint("choose the other ones by `columns`"));
        }
        all.push(column.field(mapping)?);
    }
    all.extend(fields());
    Ok(Arc::new(Schema::new(all)))
}

/// Our columns as they go through the decoder, behind the table's. `_ts` goes as a number of
/// microseconds: as a time it would be subject to `zero_dates`.
pub(super) fn carried(name: &str) -> Column {
    let kind = match name {
        TS => Type::BigInt { unsigned: false },
        _ => Type::Text,
    };
    Column::new(name, kind, String::new())
}

/// Rows of changes, of which `_ts` becomes the time that it is. `schema`: what comes out.
pub(super) fn changes(work: Box<dyn Decode>, schema: SchemaRef) -> Box<dyn Decode> {
    let time = schema.index_of(TS).ok();
    then(work, move |batch| {
        let mut columns = batch.columns().to_vec();
        if let Some(column) = time.and_then(|at| columns.get_mut(at)) {
            let micros: &Int64Array = column
                .as_any()
                .downcast_ref()
                .ok_or_else(|| Error::internal("`_ts` was not decoded as a number"))?;
            *column = Arc::new(
                TimestampMicrosecondArray::from(micros.values().to_vec()).with_timezone("UTC"),
            );
        }
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
    })
}

/// A scan without our columns, for the reader of the snapshot.
pub(crate) fn without(scan: &Scan) -> Scan {
    let mut scan = scan.clone();
    if let Some(columns) = &mut scan.columns {
        columns.retain(|name| ![OP, TS, POS].contains(&name.as_str()));
    }
    // Conditions on our columns mean nothing to the table, and with fewer conditions a limit may
    // cut off what matters.
    scan.predicates.clear();
    scan.limit = None;
    scan
}

/// Gives the rows of the snapshot our columns.
pub(crate) fn stamp(events: EventStream, scans: &[Scan], noted: &Noted) -> Result<EventStream> {
    let scans = scans.to_vec();
    let (time, position) = (noted.time, noted_text(noted)?);
    let stamped = events.map(move |event| {
        let Event::Rows {
            stream,
            rows,
            rejected,
            resume,
        } = event?
        else {
            return Err(Error::internal("a snapshot gave something else than rows"));
        };
        let asked = scans.iter().find(|scan| scan.stream == stream);
        let asked = asked.and_then(|scan| scan.columns.as_ref());
        let stamp = Stamp {
            fields: fields()
                .into_iter()
                .filter(|field| asked.is_none_or(|names| names.contains(field.name())))
                .collect(),
            time,
            position: position.clone(),
        };
        let rows = match rows {
            Rows::Batch(batch) => Rows::Batch(stamp.add(&batch)?),
            Rows::Encoded(work) => Rows::Encoded(then(work, move |batch| stamp.add(batch))),
        };
        Ok(Event::Rows {
            stream,
            rows,
            rejected,
            resume,
        })
    });
    Ok(stamped.boxed())
}

/// What all rows of the snapshot get.
#[derive(Debug)]
struct Stamp {
    fields: Vec<Field>,
    time: i64,
    position: String,
}

impl Stamp {
    fn add(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
        let mut columns = batch.columns().to_vec();
        for field in &self.fields {
            let column: ArrayRef = match field.name().as_str() {
                OP => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                    SNAPSHOT, rows,
                ))),
                TS => Arc::new(
                    TimestampMicrosecondArray::from_value(self.time, rows).with_timezone("UTC"),
                ),
                _ => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                    &self.position,
                    rows,
                ))),
            };
            fields.push(Arc::new(field.clone()));
            columns.push(column);
        }
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::new(Schema::new(fields));
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}
