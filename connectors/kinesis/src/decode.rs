//! From records to rows, on a worker.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Int64Builder, StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use aws_sdk_kinesis::types::Record;
use tidegate_core::{Decode, Decoded, Error, Result};

use crate::aggregate::{self, Sub};
use crate::api::millis;

/// The columns.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("payload", DataType::Binary, false),
        Field::new("partition_key", DataType::Utf8, true),
        Field::new("sequence_number", DataType::Utf8, false),
        Field::new("sub_sequence", DataType::Int64, true),
        Field::new("shard_id", DataType::Utf8, false),
        Field::new(
            "arrival_time",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            true,
        ),
    ]))
}

/// A record, or some of those in an aggregated one.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) record: Arc<Record>,
    /// Of an aggregated record: the first that is wanted.
    pub(crate) from: u64,
    /// And the one after the last.
    pub(crate) to: u64,
    /// The bytes that this part takes.
    pub(crate) bytes: usize,
}

impl Piece {
    /// The record from its `from`-th on.
    pub(crate) fn rest(record: Arc<Record>, from: u64) -> Self {
        Self {
            bytes: size(&record),
            record,
            from,
            to: u64::MAX,
        }
    }
}

/// The bytes that a record takes in memory.
pub(crate) fn size(record: &Record) -> usize {
    let key = record.partition_key.as_ref().map_or(0, String::len);
    size_of::<Record>() + record.data.as_ref().len() + key + record.sequence_number.len()
}

/// Records of one shard that were read together.
pub(crate) struct Encoded {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) shard: Arc<str>,
    /// The columns that are wanted.
    pub(crate) schema: SchemaRef,
}

impl Decode for Encoded {
    fn size(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let mut all = Decoded::default();
        self.decode_into(&mut |part| {
            all.batches.extend(part.batches);
            Ok(())
        })?;
        Ok(all)
    }

    fn decode_into(self: Box<Self>, take: &mut dyn FnMut(Decoded) -> Result<()>) -> Result<()> {
        let mut rows = Rows::new(&self.schema, &self.shard)?;
        for piece in self.pieces {
            let data = piece.record.data.as_ref();
            match aggregate::parse(data) {
                None => {
                    let key = piece.record.partition_key.as_deref();
                    rows.push(&piece.record, key, data, None);
                }
                Some(subs) => {
                    for (index, sub) in (0_i64..).zip(subs) {
                        let number = index.unsigned_abs();
                        if number < piece.from || number >= piece.to {
                            continue;
                        }
                        let Sub { key, data } = sub;
                        rows.push(&piece.record, Some(key), data, Some(index));
                        rows.give(BATCH, take)?;
                    }
                }
            }
            rows.give(BATCH, take)?;
        }
        rows.give(0, take)
    }
}

/// The bytes of a batch from which on it is given. Keys may be repeated for each record of an
/// aggregated one, so the rows may take far more than the record.
const BATCH: usize = 8 << 20;

struct Rows<'a> {
    schema: &'a SchemaRef,
    shard: &'a str,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

enum Column {
    Payload(BinaryBuilder),
    Key(StringBuilder),
    Sequence(StringBuilder),
    Sub(Int64Builder),
    Shard(StringBuilder),
    Arrival(TimestampMillisecondBuilder),
}

impl<'a> Rows<'a> {
    fn new(schema: &'a SchemaRef, shard: &'a str) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| {
            Ok(match field.name().as_str() {
                "payload" => Column::Payload(BinaryBuilder::new()),
                "partition_key" => Column::Key(StringBuilder::new()),
                "sequence_number" => Column::Sequence(StringBuilder::new()),
                "sub_sequence" => Column::Sub(Int64Builder::new()),
                "shard_id" => Column::Shard(StringBuilder::new()),
                "arrival_time" => {
                    Column::Arrival(TimestampMillisecondBuilder::new().with_timezone("UTC"))
                }
                other => {
                    return Err(Error::internal(format!("records have no column `{other}`")));
                }
            })
        });
        Ok(Self {
            schema,
            shard,
            columns: columns.collect::<Result<_>>()?,
            rows: 0,
            bytes: 0,
        })
    }

    fn push(&mut self, record: &Record, key: Option<&str>, data: &[u8], sub: Option<i64>) {
        for column in &mut self.columns {
            match column {
                Column::Payload(column) => column.append_value(data),
                Column::Key(column) => column.append_option(key),
                Column::Sequence(column) => column.append_value(&record.sequence_number),
                Column::Sub(column) => column.append_option(sub),
                Column::Shard(column) => column.append_value(self.shard),
                Column::Arrival(column) => {
                    let arrival = record.approximate_arrival_timestamp.as_ref();
                    column.append_option(arrival.map(millis));
                }
            }
        }
        self.rows += 1;
        self.bytes += data.len()
            + key.map_or(0, str::len)
            + record.sequence_number.len()
            + self.shard.len()
            + 32;
    }

    /// Gives what there is, if it takes so many bytes.
    fn give(&mut self, bytes: usize, take: &mut dyn FnMut(Decoded) -> Result<()>) -> Result<()> {
        if self.rows == 0 || self.bytes < bytes {
            return Ok(());
        }
        let arrays = self.columns.iter_mut().map(|column| match column {
            Column::Payload(column) => Arc::new(column.finish()) as ArrayRef,
            Column::Key(column) | Column::Sequence(column) | Column::Shard(column) => {
                Arc::new(column.finish())
            }
            Column::Sub(column) => Arc::new(column.finish()),
            Column::Arrival(column) => Arc::new(column.finish()),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(self.schema), arrays.collect(), &options)?;
        (self.rows, self.bytes) = (0, 0);
        take(Decoded {
            batches: vec![batch],
            ..Decoded::default()
        })
    }
}
