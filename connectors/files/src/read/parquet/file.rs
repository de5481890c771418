//! Reading of one Parquet file, or of some of its row groups.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::Schema;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};
use tidegate_catalog::{UnknownColumn, with_columns_of};
use tidegate_core::{
    Decode, Decoded, Error, Event, EventStream, IgnoredColumn, Metrics, NewColumns, Offset, Origin,
    Result, RowPlaces, Rows, Scan, StreamName, guarded,
};
use tidegate_storage::{FileMeta, Storage};

use super::fetched::{Fetched, Room};
use super::footer::{DECODER, decoded, unreadable};
use super::pages::{self, RowRanges};
use super::prune;
use crate::read::columns::{Bound, Columns};
use crate::read::piece::Part;

/// How many bytes, as they are in memory, a worker should decode at once.
const PART_BYTES: u64 = 8 << 20;

/// Row groups that are larger aren't fetched ahead of the one that is decoded.
const AHEAD: u64 = 64 << 20;

/// The position in a file: so many rows of this row group are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    group: usize,
    rows: u64,
}

/// A Parquet file to read, or some of its row groups.
pub(crate) struct ParquetFile {
    pub(crate) metadata: ArrowReaderMetadata,
    pub(crate) storage: Storage,
    pub(crate) file: FileMeta,
    pub(crate) part: Part,
    pub(crate) columns: Columns,
    pub(crate) stream: StreamName,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) room: Room,
}

impl ParquetFile {
    pub(crate) async fn events(self, scan: &Scan, resume: Option<&Offset>) -> Result<EventStream> {
        let metadata = self.metadata.clone();
        let groups = match self.part {
            Part::RowGroups(from, to) => from..to,
            _ => 0..metadata.metadata().num_row_groups(),
        };
        let may_match = guarded(DECODER, || {
            prune::groups(&metadata, &self.columns, &scan.predicates, groups.clone())
        });
        let may_match = may_match.map_err(|error| self.explain(error))?;
        let from = match resume {
            Some(resume) => resume.decode()?,
            None => Position {
                group: groups.start,
                rows: 0,
            },
        };
        let mut reading = self.reading(metadata, scan)?;
        // Nobody needs more rows than the limit, so what follows it isn't fetched. Where rows are
        // dropped above, there is no telling how many it takes.
        let limit = scan.limit.filter(|_| scan.predicates.is_empty());
        let (mut before, mut largest) = (0, 0);
        let mut wanted = Vec::new();
        for (group, may_match) in groups.zip(may_match) {
            let enough = limit.is_some_and(|limit| before >= limit);
            if may_match && group >= from.group && !enough {
                let rows = guarded(DECODER, || {
                    pages::rows(&reading.metadata, &self.columns, &scan.predicates, group)
                });
                let rows = rows.map_err(|error| self.explain(error))?;
                wanted.push((group, rows));
                largest = largest.max(reading.stored_bytes(group));
            }
            let rows = reading.metadata.metadata().row_group(group).num_rows();
            before += rows.unsigned_abs();
        }
        if resume.is_none() {
            let groups: Vec<_> = wanted.iter().map(|(group, _)| *group).collect();
            reading.ignored = Mutex::new(self.ignored(&groups)?);
        }
        let (file, reading) = (Arc::new(self), Arc::new(reading));
        let groups = wanted.into_iter().map(move |(group, rows)| {
            let (file, reading) = (Arc::clone(&file), Arc::clone(&reading));
            let done = if group == from.group { from.rows } else { 0 };
            async move { file.group(&reading, group, rows, done).await }
        });
        // The next row group is fetched while this one is decoded.
        Ok(futures::stream::iter(groups)
            .buffered(if largest <= AHEAD { 2 } else { 1 })
            .map_ok(futures::stream::iter)
            .try_flatten()
            .boxed())
    }

    /// What of the file is read, checked against the stream's columns.
    fn reading(&self, metadata: ArrowReaderMetadata, scan: &Scan) -> Result<Reading> {
        let bound = self.columns.bind(scan, metadata.schema());
        let bound = bound.map_err(|error| self.explain(error))?;
        let roots = bound.places().iter().copied();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let groups = metadata.metadata().row_groups().iter();
        let first_rows = groups.scan(0, |next, group| {
            let first = *next;
            *next += group.num_rows().unsigned_abs();
            Some(first)
        });
        Ok(Reading {
            first_rows: first_rows.collect(),
            ignored: Mutex::default(),
            metadata,
            mask,
            bound,
            path: self.storage.show(&self.file.key).into(),
            places: scan.places,
        })
    }

    /// The columns that these row groups have values of and the stream hasn't, where that is allowed.
    fn ignored(&self, groups: &[usize]) -> Result<Vec<IgnoredColumn>> {
        let known = &self.columns.schema;
        let on_new = match &self.columns.on_new {
            Some(on_new) if on_new.policy() != NewColumns::Reject => on_new,
            _ => return Ok(Vec::new()),
        };
        let path = self.storage.show(&self.file.key);
        let found = self.metadata.schema();
        let mut ignored = Vec::new();
        for unknown in UnknownColumn::all(known.fields(), found.fields()) {
            let values = groups
                .iter()
                .map(|group| self.values(&unknown, *group))
                .sum();
            if values > 0 {
                ignored.push(IgnoredColumn {
                    name: unknown.name(),
                    values,
                    first: Origin {
                        file: Some(path.as_str().into()),
                        ..Origin::default()
                    },
                });
            }
        }
        on_new.allow(known, &ignored, || {
            let both = with_columns_of(Some(known.fields()), found.fields(), &path)?;
            Ok(Arc::new(Schema::new(both)))
        })?;
        Ok(ignored)
    }

    /// How many values of a column a row group has, as far as its statistics tell: else NULLs count.
    fn values(&self, column: &UnknownColumn, group: usize) -> u64 {
        let chunks = self.metadata.metadata().row_group(group).columns().iter();
        let its = chunks.filter(|chunk| column.has(chunk.column_path().parts()));
        let values = its.map(|chunk| {
            let nulls = chunk.statistics().and_then(|known| known.null_count_opt());
            let values = chunk.num_values().unsigned_abs();
            values.saturating_sub(nulls.unwrap_or(0))
        });
        values.max().unwrap_or(0)
    }

    fn explain(&self, error: Error) -> Error {
        error.with("file", self.storage.show(&self.file.key))
    }

    /// The `wanted` rows of one row group, after the rows that are done.
    async fn group(
        &self,
        reading: &Arc<Reading>,
        group: usize,
        wanted: RowRanges,
        done: u64,
    ) -> Result<Parts> {
        let metadata = reading.metadata.metadata().row_group(group);
        let rows = metadata.num_rows().unsigned_abs();
        let all = wanted.count() == rows;
        let selection = match all {
            true => None,
            false => Some(
                wanted
                    .selection()
                    .map_err(|error| unreadable(error, &reading.path))?,
            ),
        };
        let ranges = reading.ranges(group, selection.as_ref());
        let size = ranges.iter().map(|range| range.end - range.start).sum();
        let held = self.room.take(size).await?;
        let bytes = Fetched::read(&self.storage, &self.file, ranges, &self.metrics, held).await?;
        let memory = metadata.total_byte_size().unsigned_abs().max(1);
        // A part of a power of two of rows, so that it always begins at the same row.
        let part = (rows.saturating_mul(PART_BYTES) / memory).clamp(8192, 1 << 20);
        Ok(Parts {
            reading: Arc::clone(reading),
            stream: self.stream.clone(),
            bytes,
            group,
            wanted,
            memory,
            part: part.next_power_of_two(),
            rows,
            from: done,
        })
    }
}

/// The events of one row group. They are made one at a time: how many rows there are is what the
/// file's footer says, and nobody knows yet whether that is so.
struct Parts {
    reading: Arc<Reading>,
    stream: StreamName,
    bytes: Fetched,
    group: usize,
    wanted: RowRanges,
    /// The bytes of the group's rows, decoded.
    memory: u64,
    /// How many rows a part has.
    part: u64,
    rows: u64,
    /// The next part's first row.
    from: u64,
}

impl Iterator for Parts {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.from < self.rows {
            let to = self.rows.min((self.from / self.part + 1) * self.part);
            let selected = self.wanted.within(std::slice::from_ref(&(self.from..to)));
            self.from = to;
            if !selected.is_empty() {
                return Some(self.event(selected));
            }
        }
        None
    }
}

impl Parts {
    /// The event of these rows, up to the next part.
    fn event(&self, selected: RowRanges) -> Result<Event> {
        let position = match self.from == self.rows {
            true => Position {
                group: self.group + 1,
                rows: 0,
            },
            false => Position {
                group: self.group,
                rows: self.from,
            },
        };
        let size = self.memory.saturating_mul(selected.count()) / self.rows;
        let part = EncodedRows {
            reading: Arc::clone(&self.reading),
            bytes: self.bytes.clone(),
            group: self.group,
            rows: selected,
            size: usize::try_from(size).unwrap_or(usize::MAX).max(1),
        };
        Ok(Event::Rows {
            stream: self.stream.clone(),
            rows: Rows::Encoded(Box::new(part)),
            rejected: None,
            resume: Some(Offset::encode(&position)?),
        })
    }
}

/// What all parts of a file share.
#[derive(Debug)]
struct Reading {
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    bound: Bound,
    /// The number of each row group's first row in the file.
    first_rows: Vec<u64>,
    path: Arc<str>,
    /// Whether it may be asked where rows stand.
    places: bool,
    /// What is left out of the rows; told with the first of them.
    ignored: Mutex<Vec<IgnoredColumn>>,
}

impl Reading {
    /// The columns that are read, and where they lie.
    fn columns(&self, group: usize) -> impl Iterator<Item = (usize, Range<u64>)> {
        let columns = self.metadata.metadata().row_group(group).columns();
        let columns = columns.iter().enumerate();
        columns
            .filter(|(leaf, _)| self.mask.leaf_included(*leaf))
            .map(|(leaf, column)| {
                let (start, length) = column.byte_range();
                (leaf, start..start + length)
            })
    }

    /// What is to be fetched: whole columns, or of each the dictionary and the pages with selected
    /// rows.
    fn ranges(&self, group: usize, selection: Option<&RowSelection>) -> Vec<Range<u64>> {
        let offsets = self.metadata.metadata().offset_index();
        let pages = selection.zip(offsets.and_then(|groups| groups.get(group)));
        let ranges = self.columns(group).flat_map(|(leaf, column)| {
            let located = pages.and_then(|(selection, offsets)| {
                let locations = offsets.get(leaf)?.page_locations();
                let first = u64::try_from(locations.first()?.offset).ok()?;
                let mut ranges = selection.scan_ranges(locations);
                ranges.extend((column.start < first).then_some(column.start..first));
                Some(ranges)
            });
            located.unwrap_or_else(|| std::iter::once(column).collect())
        });
        ranges.collect()
    }

    fn stored_bytes(&self, group: usize) -> u64 {
        let columns = self.columns(group);
        columns.map(|(_, column)| column.end - column.start).sum()
    }
}

/// Some rows of a row group, still encoded.
#[derive(Debug)]
struct EncodedRows {
    reading: Arc<Reading>,
    bytes: Fetched,
    group: usize,
    rows: RowRanges,
    size: usize,
}

impl EncodedRows {
    fn batches(&self) -> Result<ParquetRecordBatchReader, ParquetError> {
        let metadata = self.reading.metadata.clone();
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), metadata)
            .with_row_groups(vec![self.group])
            .with_projection(self.reading.mask.clone())
            .with_row_selection(self.rows.selection()?)
            .with_batch_size(8192)
            .build()
    }
}

impl Decode for EncodedRows {
    fn size(&self) -> usize {
        self.size
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let mut all = Decoded::default();
        self.decode_into(&mut |decoded| {
            all.batches.extend(decoded.batches);
            all.rejected.extend(decoded.rejected);
            all.ignored.extend(decoded.ignored);
            Ok(())
        })?;
        Ok(all)
    }

    fn decode_into(self: Box<Self>, take: &mut dyn FnMut(Decoded) -> Result<()>) -> Result<()> {
        let Reading {
            bound,
            path,
            ignored,
            ..
        } = self.reading.as_ref();
        let mut batches = decoded(path, || self.batches())?;
        let first = self.reading.first_rows[self.group];
        let mut ignored = {
            let mut ignored = ignored.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *ignored)
        };
        let mut before = 0;
        while let Some(batch) = decoded(path, || Ok(batches.next().transpose()?))? {
            let origin = |row| place(path, first, &self.rows, before, row);
            let arranged = bound.arrange(&batch, origin);
            let mut arranged = arranged.map_err(|error| error.with("file", path))?;
            arranged.ignored = std::mem::take(&mut ignored);
            if self.reading.places && arranged.rejected.is_empty() {
                arranged.places = Some(Box::new(GroupPlaces {
                    path: Arc::clone(path),
                    first,
                    rows: self.rows.clone(),
                    before,
                }));
            }
            take(arranged)?;
            before += batch.num_rows() as u64;
        }
        let wanted = self.rows.count();
        if before != wanted {
            return Err(
                Error::data("a row group has not as many rows as the file says")
                    .with("file", path)
                    .with("row group", self.group)
                    .with("rows", before)
                    .with("rows the file says", wanted)
                    .hint("the file is damaged: write it again"),
            );
        }
        Ok(())
    }
}

/// Where a row stands of those selected in a row group. A row of Parquet has no line: it is told by
/// its number.
fn place(path: &Arc<str>, first: u64, rows: &RowRanges, before: u64, row: usize) -> Origin {
    Origin {
        file: Some(Arc::clone(path)),
        offset: Some(first + rows.nth(before + row as u64)),
        ..Origin::default()
    }
}

/// Where the rows of a batch stand.
#[derive(Debug)]
struct GroupPlaces {
    path: Arc<str>,
    /// The number of the row group's first row.
    first: u64,
    /// The rows selected in the group.
    rows: RowRanges,
    /// How many of them come before the batch.
    before: u64,
}

impl RowPlaces for GroupPlaces {
    fn origin(&mut self, row: usize) -> Result<Origin> {
        Ok(place(&self.path, self.first, &self.rows, self.before, row))
    }
}
