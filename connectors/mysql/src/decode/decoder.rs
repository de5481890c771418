//! What a SELECT's rows are decoded by.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::types::{
    BinaryType, Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type, Utf8Type,
};
use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use mysql_common::packets::Column as Wire;
use tidegate_core::{Decode, Decoded, Error, Origin, Rejected, Result};

use super::block::{Bad, Block, Build, Fault, Marks, Skip, bounds, rows_of_a_block};
use super::date::{Moment, Span};
use super::decimal::Decimal;
use super::number::{Primitives, Truths, bits, truth};
use super::print::{cells, json, literal, skip};
use super::read::fixed;
use super::text::{PrintedDates, Runs};
use crate::types::{Column, Mapping, Type, ZeroDates};
use crate::wire::{Chunk, RowBounds};

/// A batch is made of at most so many bytes of rows (or of one row): whatever they are, even dates
/// that become texts, its texts then stay under 2³¹ bytes.
const OF_A_BATCH: usize = 64 << 20;

/// In front of the WKB of a geometry stands its SRID.
const SRID: usize = 4;

/// Decodes rows of one SELECT.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// What comes out.
    schema: SchemaRef,
    columns: Vec<Column>,
    mapping: Mapping,
    origin: Origin,
}

impl Decoder {
    /// For rows of these columns, in this order. The first `shown` of them become the batch's; the
    /// others (columns of a key that nobody asked for) are skipped.
    ///
    /// `origin`: the table or query, for rows that are rejected.
    ///
    /// Errors: `Unsupported` for a column that has no type in Arrow.
    pub(crate) fn new(
        origin: &str,
        columns: Vec<Column>,
        shown: usize,
        mapping: Mapping,
    ) -> Result<Arc<Self>> {
        let fields = columns
            .iter()
            .take(shown)
            .map(|column| column.field(mapping))
            .collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Self {
            schema: Arc::new(Schema::new(fields)),
            columns,
            mapping,
            origin: Origin {
                file: Some(origin.into()),
                ..Origin::default()
            },
        }))
    }

    /// Checks that the server sends what this decoder was made for.
    ///
    /// Errors: `Schema` if the table was altered since it was looked at.
    pub(crate) fn expect(&self, wire: &[Wire]) -> Result<()> {
        let altered = |what: String| {
            Error::schema(what)
                .with("table", self.origin.file.as_deref().unwrap_or_default())
                .hint("the table was altered while it was read: run again")
        };
        if wire.len() != self.columns.len() {
            return Err(altered(format!(
                "{} columns come where {} were expected",
                wire.len(),
                self.columns.len()
            )));
        }
        match self
            .columns
            .iter()
            .zip(wire)
            .find(|(c, w)| !c.kind.comes_as(w))
        {
            None => Ok(()),
            Some((column, wire)) => Err(altered(format!(
                "column `{}` is no longer {}",
                column.name, column.declared
            ))
            .because(format!("it comes as {:?}", wire.column_type()))),
        }
    }

    /// The values of the columns at `positions` in a row, as literals of SQL that compare equal to
    /// them: what a resume stores. No column of a key is NULL.
    ///
    /// Errors: `Unsupported` for a value of a type that is no position in an index; see
    /// [`Table::key`](crate::discover::Table::key).
    pub(crate) fn literals(&self, row: &[u8], positions: &[usize]) -> Result<Vec<String>> {
        let cells = cells(row, &self.columns)?;
        let at = |at: &usize| cells.get(*at).zip(self.columns.get(*at));
        positions
            .iter()
            .filter_map(at)
            .map(|(cell, column)| literal(cell, column))
            .collect()
    }

    /// A piece of work for a worker.
    pub(crate) fn work(self: &Arc<Self>, chunk: Chunk) -> Box<dyn Decode> {
        Box::new(Work {
            decoder: Arc::clone(self),
            chunk,
        })
    }

    /// Decodes all rows of a chunk, into several batches if they are very large.
    pub(super) fn decode(&self, chunk: &Chunk) -> Result<Decoded> {
        let mut decoded = Decoded::default();
        let (bytes, mut rest) = chunk.places();
        while !rest.is_empty() {
            let mut size = 0;
            let fitting = rest.iter().take_while(|row| {
                size += length(**row);
                size <= OF_A_BATCH
            });
            let (now, after) = rest.split_at(fitting.count().max(1));
            rest = after;
            let batch = self.batch(bytes, now, &mut decoded.rejected)?;
            if batch.num_rows() > 0 {
                decoded.batches.push(batch);
            }
        }
        Ok(decoded)
    }

    fn batch(
        &self,
        bytes: &[u8],
        rows: &[RowBounds],
        rejected: &mut Rejected,
    ) -> Result<RecordBatch> {
        let (shown, hidden) = self.columns.split_at(self.schema.fields().len());
        let mut builders: Vec<_> = shown
            .iter()
            .enumerate()
            .map(|(at, _)| self.builder(at, rows.len()))
            .collect();
        let skips: Vec<_> = hidden
            .iter()
            .map(|column| Skip(skip(column.kind)))
            .collect();
        let size: usize = rows.iter().map(|row| length(*row)).sum();
        let step = rows_of_a_block(size, rows.len());
        for (number, rows) in rows.chunks(step).enumerate() {
            let mut block = Block::new(bytes, rows, number * step, self.columns.len())?;
            for builder in &mut builders {
                builder.take(&mut block);
                block.next();
            }
            for skip in &skips {
                skip.take(&mut block);
                block.next();
            }
            block.finish()?;
        }
        let mut arrays = Vec::with_capacity(builders.len());
        let mut bad = Vec::new();
        for builder in builders {
            let (array, its) = builder.finish()?;
            arrays.push(array);
            bad.extend(its);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        if bad.is_empty() {
            return Ok(RecordBatch::try_new_with_options(
                Arc::clone(&self.schema),
                arrays,
                &options,
            )?);
        }
        // A placeholder may stand where the schema has no NULL.
        let fields = self.schema.fields().iter();
        let loose: Vec<_> = fields
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let batch =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(loose)), arrays, &options)?;
        let mut good = vec![true; rows.len()];
        for (row, why) in self.reasons(bytes, rows, &bad)? {
            good[row] = false;
            let cells = cells(payload(bytes, rows[row]), &self.columns)?;
            rejected.push(json(&cells, &self.columns), why, self.origin.clone());
        }
        let batch = filter_record_batch(&batch, &BooleanArray::from(good))?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let arrays = batch.columns().to_vec();
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            arrays,
            &options,
        )?)
    }

    /// Why each bad row is bad, in the order of the rows.
    fn reasons(
        &self,
        bytes: &[u8],
        rows: &[RowBounds],
        bad: &[Bad],
    ) -> Result<BTreeMap<usize, String>> {
        let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
        for bad in bad {
            let cells = cells(payload(bytes, rows[bad.row]), &self.columns)?;
            let (column, cell) = (&self.columns[bad.column], &cells[bad.column]);
            let reason = reason(bad.why, column, &cell.shown());
            reasons
                .entry(bad.row)
                .and_modify(|all| {
                    all.push_str("; ");
                    all.push_str(&reason);
                })
                .or_insert(reason);
        }
        Ok(reasons)
    }

    /// What makes the column at `at`, of `rows` rows.
    fn builder(&self, at: usize, rows: usize) -> Box<dyn Build> {
        let kind = self.columns[at].kind;
        let field = self.schema.field(at);
        let arrow = field.data_type().clone();
        // A date that becomes NULL may do so in a column that can't be NULL at the server.
        let marks = Marks::new(at, self.columns[at].nullable, rows);
        let zero = match self.mapping.zero_dates {
            ZeroDates::Null => |_| Fault::Null,
            ZeroDates::Error | ZeroDates::Text => |fault| fault,
        };
        macro_rules! plain {
            ($arrow:ty, $native:ty) => {
                Box::new(Primitives::<$arrow, _>::new(arrow, rows, marks, |b, at| {
                    Ok(<$native>::from_le_bytes(fixed(b, at)))
                }))
            };
        }
        match kind {
            _ if kind.is_date() && self.mapping.zero_dates == ZeroDates::Text => {
                Box::new(PrintedDates::new(kind, rows, marks))
            }
            Type::Bool => Box::new(Truths::new(rows, marks, truth)),
            Type::Bit { bits: 1 } => {
                Box::new(Truths::new(rows, marks, |b, at| match bits(b, at)? {
                    0 => Ok(false),
                    1 => Ok(true),
                    _ => Err(Fault::NeitherTrueNorFalse),
                }))
            }
            Type::TinyInt { unsigned: false } => plain!(Int8Type, i8),
            Type::TinyInt { unsigned: true } => plain!(UInt8Type, u8),
            Type::SmallInt { unsigned: false } => plain!(Int16Type, i16),
            Type::SmallInt { unsigned: true } | Type::Year => plain!(UInt16Type, u16),
            Type::MediumInt { unsigned: false } | Type::Int { unsigned: false } => {
                plain!(Int32Type, i32)
            }
            Type::MediumInt { unsigned: true } | Type::Int { unsigned: true } => {
                plain!(UInt32Type, u32)
            }
            Type::BigInt { unsigned: false } => plain!(Int64Type, i64),
            Type::BigInt { unsigned: true } => plain!(UInt64Type, u64),
            Type::Float => plain!(Float32Type, f32),
            Type::Double => plain!(Float64Type, f64),
            Type::Bit { .. } => {
                Box::new(Primitives::<UInt64Type, _>::new(arrow, rows, marks, bits))
            }
            Type::Decimal { precision, scale } => {
                let decimal = Decimal::new(precision, scale);
                match arrow {
                    arrow_schema::DataType::Decimal128(..) => {
                        Box::new(Primitives::<Decimal128Type, _>::new(
                            arrow,
                            rows,
                            marks,
                            move |b, at| decimal.small(b, at),
                        ))
                    }
                    _ => Box::new(Primitives::<Decimal256Type, _>::new(
                        arrow,
                        rows,
                        marks,
                        move |b, at| decimal.large(b, at),
                    )),
                }
            }
            Type::Date => Box::new(Primitives::<Date32Type, _>::new(
                arrow,
                rows,
                marks,
                move |b, at| Moment::take(b, at).days().map_err(zero),
            )),
            Type::DateTime { .. } | Type::Timestamp { .. } => {
                Box::new(Primitives::<TimestampMicrosecondType, _>::new(
                    arrow,
                    rows,
                    marks,
                    move |b, at| Moment::take(b, at).micros().map_err(zero),
                ))
            }
            Type::Time { .. } => Box::new(Primitives::<DurationMicrosecondType, _>::new(
                arrow,
                rows,
                marks,
                |b, at| Span::take(b, at).micros(),
            )),
            Type::Binary => Box::new(Runs::<BinaryType>::new(rows, 0, marks)),
            Type::Geometry => Box::new(Runs::<BinaryType>::new(rows, SRID, marks)),
            Type::Text
            | Type::Enum
            | Type::Set
            | Type::Json
            | Type::Uuid
            | Type::Inet4
            | Type::Inet6 => Box::new(Runs::<Utf8Type>::new(rows, 0, marks)),
        }
    }
}

fn length(row: RowBounds) -> usize {
    let (start, end) = bounds(row);
    end.saturating_sub(start)
}

fn payload(bytes: &[u8], row: RowBounds) -> &[u8] {
    let (start, end) = bounds(row);
    bytes.get(start..end).unwrap_or_default()
}

/// Why a row is rejected, as its reader is told.
fn reason(why: Fault, column: &Column, value: &str) -> String {
    let Column { name, declared, .. } = column;
    let shown: String = value.chars().take(100).collect();
    match why {
        // Not a fault, and never kept as one.
        Fault::Null => String::new(),
        Fault::NotInCalendar => format!(
            "column `{name}` holds `{shown}`, a date that no calendar has; `zero_dates` can make it \
             NULL or text"
        ),
        Fault::NotUtf8 => format!("column `{name}` holds a text that is not UTF-8: {shown}"),
        Fault::NeitherTrueNorFalse => format!(
            "column `{name}` is {declared}, read as a boolean, but holds {shown}; \
             `map_tinyint1_to_bool = false` reads it as a number"
        ),
        Fault::NotADecimal => format!("column `{name}` holds `{shown}`, which is no decimal"),
        Fault::TooManyDigits => {
            format!("column `{name}` holds `{shown}`, more digits than {declared} has")
        }
        Fault::TooManyHours => format!("column `{name}` holds a time of more than 838 hours"),
        Fault::TooManyBits => format!("column `{name}` holds more bits than {declared} has"),
        Fault::NotAGeometry => format!("column `{name}` holds what is no geometry: {shown}"),
        Fault::NullInNotNull => {
            format!("column `{name}` is NULL, though the server says that it can't be")
        }
    }
}

struct Work {
    decoder: Arc<Decoder>,
    chunk: Chunk,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({} rows)", self.chunk.len())
    }
}

impl Decode for Work {
    fn size(&self) -> usize {
        self.chunk.size()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        self.decoder.decode(&self.chunk)
    }
}
