//! Rows brought into the columns of a table: names, types, and what can't be.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BooleanArray, ListArray, MapArray, RecordBatch, StructArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, OffsetBuffer};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_ord::ord::make_comparator;
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, SortOptions};
use arrow_select::filter::{filter, filter_record_batch};
use tidegate_core::{Error, Result};

use crate::widen;

/// How batches of a stream become batches of other columns: renamed, cast, filled with NULL.
///
/// A value is cast if it is the same value after: what has no exact counterpart (300 in 8 bits, a
/// nanosecond in microseconds, a value of a column that isn't wanted) makes its row one that is
/// rejected, with the column and the reason.
#[derive(Debug, Clone)]
pub struct Fit {
    members: Members,
    schema: SchemaRef,
}

/// A batch that was made to fit.
#[derive(Debug)]
pub struct Fitted {
    /// The rows that fit, in the columns of [`Fit::schema`].
    pub batch: RecordBatch,
    /// The same rows as they came.
    pub original: RecordBatch,
    /// The others: their positions in the batch that was given, in order, and why.
    pub rejected: Vec<(usize, String)>,
}

/// What becomes of an array.
#[derive(Debug, Clone)]
enum Step {
    Keep,
    /// A cast that is exact for all values.
    Exact(Cast),
    /// A cast that is exact for some.
    Checked(Cast),
    Struct(Members),
    /// A list; of another layout, it is made one first.
    List(Box<Step>, FieldRef),
    Map(Box<[Step; 2]>, FieldRef, bool),
}

#[derive(Debug, Clone)]
struct Cast {
    to: DataType,
    /// Why a value doesn't fit.
    reason: String,
}

#[derive(Debug, Clone)]
struct Members {
    /// For each that is wanted: where it comes from, if anywhere.
    steps: Vec<(Option<usize>, Step)>,
    fields: Fields,
    /// What comes and isn't wanted: it must be NULL.
    unwanted: Vec<(usize, String)>,
}

/// Rows (of the array at hand) that don't fit.
struct Fault {
    rows: BooleanBuffer,
    reason: String,
}

impl Fit {
    /// From `stream` to `wanted`; a column of the stream goes where `name` says. Texts and binaries
    /// stay in the layout that they have.
    ///
    /// Errors: `Schema` where two columns go to one name, or where no value of a column's type can
    /// ever fit; what `name` fails with.
    pub fn new(
        stream: &Schema,
        wanted: &Schema,
        name: impl Fn(&str) -> Result<String>,
    ) -> Result<Self> {
        let mut taken: HashMap<String, &str> = HashMap::new();
        for field in stream.fields() {
            if let Some(other) = taken.insert(name(field.name())?, field.name()) {
                return Err(folded(other, field.name(), &name(field.name())?));
            }
        }
        let members = Members::new(stream.fields(), wanted.fields(), "", &name)?;
        let metadata = wanted.metadata().clone();
        let schema = Schema::new_with_metadata(members.fields.clone(), metadata);
        Ok(Self {
            members,
            schema: Arc::new(schema),
        })
    }

    /// The columns of the batches it makes: those wanted, but for the layout of texts.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Makes a batch fit.
    pub fn apply(&self, batch: &RecordBatch) -> Result<Fitted> {
        let rows = batch.num_rows();
        let mut faults = Vec::new();
        let columns = self.members.apply(batch.columns(), rows, &mut faults)?;
        if faults.iter().all(|fault| fault.rows.count_set_bits() == 0) {
            return Ok(Fitted {
                batch: self.batch(columns, rows)?,
                original: batch.clone(),
                rejected: Vec::new(),
            });
        }
        let mut reasons: Vec<Option<&str>> = vec![None; rows];
        for fault in &faults {
            for row in fault.rows.set_indices() {
                reasons[row].get_or_insert(&fault.reason);
            }
        }
        let keep: BooleanArray = reasons
            .iter()
            .map(|reason| Some(reason.is_none()))
            .collect();
        let columns = columns.iter().map(|column| filter(column, &keep));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(Fitted {
            batch: self.batch(columns, keep.true_count())?,
            original: filter_record_batch(batch, &keep)?,
            rejected: reasons
                .into_iter()
                .enumerate()
                .filter_map(|(row, reason)| Some((row, reason?.to_owned())))
                .collect(),
        })
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}

/// Two columns that go to one name.
pub(crate) fn folded(one: &str, other: &str, name: &str) -> Error {
    Error::schema(format!(
        "the columns `{one}` and `{other}` would both be called `{name}`"
    ))
    .hint("name one of them otherwise: SELECT … AS …")
}

type Naming<'a> = &'a dyn Fn(&str) -> Result<String>;

impl Members {
    fn new(from: &Fields, to: &Fields, path: &str, name: Naming<'_>) -> Result<Self> {
        let mut sources = HashMap::new();
        for (index, field) in from.iter().enumerate() {
            // Names within structs are stored as they are by some catalogs, folded by others.
            let kept = to.iter().any(|wanted| wanted.name() == field.name());
            let stored = match kept {
                true => field.name().clone(),
                false => name(field.name())?,
            };
            sources.insert(stored, index);
        }
        let mut steps = Vec::with_capacity(to.len());
        let mut fields = Vec::with_capacity(to.len());
        for wanted in to {
            let path = format!("{path}{}", wanted.name());
            let Some(index) = sources.remove(wanted.name().as_str()) else {
                steps.push((None, Step::Keep));
                fields.push(Arc::new(wanted.as_ref().clone().with_nullable(true)));
                continue;
            };
            let source = &from[index];
            let (step, data_type) = Step::new(source.data_type(), wanted.data_type(), &path, name)?;
            let nullable =
                wanted.is_nullable() || source.is_nullable() || matches!(step, Step::Checked(_));
            let field = wanted.as_ref().clone().with_data_type(data_type);
            fields.push(Arc::new(field.with_nullable(nullable)));
            steps.push((Some(index), step));
        }
        let mut unwanted: Vec<_> = sources
            .into_values()
            .map(|index| (index, format!("{path}{}", from[index].name())))
            .collect();
        unwanted.sort_unstable();
        Ok(Self {
            steps,
            fields: fields.into(),
            unwanted: unwanted
                .into_iter()
                .map(|(index, path)| (index, format!("column `{path}`: the table has none")))
                .collect(),
        })
    }

    fn apply(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        faults: &mut Vec<Fault>,
    ) -> Result<Vec<ArrayRef>> {
        for (index, reason) in &self.unwanted {
            let nulls = columns[*index].logical_nulls();
            let rows = match nulls {
                None => BooleanBuffer::new_set(rows),
                Some(nulls) => nulls.inner().clone(),
            };
            let reason = reason.clone();
            faults.push(Fault { rows, reason });
        }
        let made = self.steps.iter().zip(&self.fields);
        made.map(|((source, step), field)| match source {
            None => Ok(new_null_array(field.data_type(), rows)),
            Some(index) => step.apply(&columns[*index], faults),
        })
        .collect()
    }
}

impl Step {
    /// The step, and the type that it ends in.
    fn new(
        from: &DataType,
        to: &DataType,
        path: &str,
        name: Naming<'_>,
    ) -> Result<(Self, DataType)> {
        use DataType as T;
        if from == to || same_text(from, to) {
            return Ok((Self::Keep, from.clone()));
        }
        match (from, to) {
            (T::Struct(members), T::Struct(wanted)) => {
                let members = Members::new(members, wanted, &format!("{path}."), name)?;
                let data_type = T::Struct(members.fields.clone());
                return Ok((Self::Struct(members), data_type));
            }
            (
                T::List(item)
                | T::LargeList(item)
                | T::FixedSizeList(item, _)
                | T::ListView(item)
                | T::LargeListView(item),
                T::List(wanted),
            ) => {
                let (step, data_type) =
                    Self::new(item.data_type(), wanted.data_type(), path, name)?;
                let item = Field::new(wanted.name(), data_type, true);
                let item = Arc::new(item);
                return Ok((Self::List(Box::new(step), Arc::clone(&item)), T::List(item)));
            }
            (T::Map(entries, _), T::Map(wanted, sorted)) => {
                if let (T::Struct(pair), T::Struct(wanted_pair)) =
                    (entries.data_type(), wanted.data_type())
                    && let ([key, value], [wanted_key, wanted_value]) =
                        (pair.as_ref(), wanted_pair.as_ref())
                {
                    let (key, key_type) =
                        Self::new(key.data_type(), wanted_key.data_type(), path, name)?;
                    let (value, value_type) =
                        Self::new(value.data_type(), wanted_value.data_type(), path, name)?;
                    let pair = vec![
                        Field::new(wanted_key.name(), key_type, false),
                        Field::new(wanted_value.name(), value_type, true),
                    ];
                    let entries = Field::new(wanted.name(), T::Struct(pair.into()), false);
                    let entries = Arc::new(entries);
                    let data_type = T::Map(Arc::clone(&entries), *sorted);
                    return Ok((
                        Self::Map(Box::new([key, value]), entries, *sorted),
                        data_type,
                    ));
                }
            }
            _ => {}
        }
        let cast = Cast {
            to: to.clone(),
            reason: format!("column `{path}`: the value doesn't fit the type {to}"),
        };
        if widen(from, to).as_ref() == Some(to) && can_cast_types(from, to) {
            return Ok((Self::Exact(cast), to.clone()));
        }
        if can_cast_types(from, to) && can_cast_types(to, from) {
            return Ok((Self::Checked(cast), to.clone()));
        }
        Err(
            Error::schema(format!("column `{path}` of type {from} can't become {to}"))
                .hint("cast or drop it in a `sql` transform"),
        )
    }

    fn apply(&self, array: &ArrayRef, faults: &mut Vec<Fault>) -> Result<ArrayRef> {
        match self {
            Self::Keep => Ok(Arc::clone(array)),
            Self::Exact(cast) => match cast_with_options(array, &cast.to, &strict()) {
                Ok(array) => Ok(array),
                // A time that is out of the finer unit's reach.
                Err(_) => checked(array, cast, faults),
            },
            Self::Checked(cast) => checked(array, cast, faults),
            Self::Struct(members) => {
                let of = array.as_struct();
                let mut within = Vec::new();
                let columns = members.apply(of.columns(), of.len(), &mut within)?;
                for mut fault in within {
                    if let Some(nulls) = of.nulls() {
                        fault.rows = &fault.rows & nulls.inner();
                    }
                    faults.push(fault);
                }
                let fields = members.fields.clone();
                let nulls = of.nulls().cloned();
                Ok(Arc::new(StructArray::try_new_with_length(
                    fields,
                    columns,
                    nulls,
                    of.len(),
                )?))
            }
            Self::List(step, item) => {
                let list = as_list(array)?;
                let list = list.as_list::<i32>();
                let (values, offsets) = used(list.values(), list.offsets());
                let mut within = Vec::new();
                let values = step.apply(&values, &mut within)?;
                lift(within, list, &offsets, faults);
                let nulls = list.nulls().cloned();
                Ok(Arc::new(ListArray::try_new(
                    Arc::clone(item),
                    offsets,
                    values,
                    nulls,
                )?))
            }
            Self::Map(steps, entries, sorted) => {
                let map = array.as_map();
                let (key, offsets) = used(map.keys(), map.offsets());
                let (value, _) = used(map.values(), map.offsets());
                let mut within = Vec::new();
                let key = steps[0].apply(&key, &mut within)?;
                let value = steps[1].apply(&value, &mut within)?;
                lift(within, map, &offsets, faults);
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(Error::internal("a map without entries"));
                };
                let pair = StructArray::try_new(fields.clone(), vec![key, value], None)?;
                Ok(Arc::new(MapArray::try_new(
                    Arc::clone(entries),
                    offsets,
                    pair,
                    map.nulls().cloned(),
                    *sorted,
                )?))
            }
        }
    }
}

/// Text or binary, in two layouts that writers take alike.
fn same_text(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (T::Utf8View | T::LargeUtf8, T::Utf8) | (T::BinaryView | T::LargeBinary, T::Binary) => true,
        (T::Dictionary(_, values), T::Utf8) => matches!(**values, T::Utf8 | T::LargeUtf8),
        _ => false,
    }
}

fn strict() -> CastOptions<'static> {
    CastOptions {
        safe: false,
        ..CastOptions::default()
    }
}

/// Casts there and back: what came back as something else doesn't fit.
fn checked(array: &ArrayRef, cast: &Cast, faults: &mut Vec<Fault>) -> Result<ArrayRef> {
    let lenient = CastOptions::default();
    let plain = match array.data_type() {
        DataType::Dictionary(_, values) => cast_with_options(array, values, &lenient)?,
        _ => Arc::clone(array),
    };
    let made = cast_with_options(&plain, &cast.to, &lenient)?;
    let back = cast_with_options(&made, plain.data_type(), &lenient)?;
    let same = make_comparator(&plain, &back, SortOptions::default())?;
    let rows = BooleanBuffer::collect_bool(plain.len(), |row| same(row, row).is_ne());
    if rows.count_set_bits() > 0 {
        let reason = cast.reason.clone();
        faults.push(Fault { rows, reason });
    }
    Ok(made)
}

fn as_list(array: &ArrayRef) -> Result<ArrayRef> {
    use DataType as T;
    Ok(match array.data_type() {
        T::LargeList(item)
        | T::FixedSizeList(item, _)
        | T::ListView(item)
        | T::LargeListView(item) => {
            cast_with_options(array, &T::List(Arc::clone(item)), &strict())?
        }
        _ => Arc::clone(array),
    })
}

/// The items that a list or a map uses: of a batch cut from a large one, only those.
fn used(values: &ArrayRef, offsets: &OffsetBuffer<i32>) -> (ArrayRef, OffsetBuffer<i32>) {
    let at = |offset: Option<&i32>| usize::try_from(offset.copied().unwrap_or(0)).unwrap_or(0);
    let (first, last) = (at(offsets.first()), at(offsets.last()));
    if first == 0 && last == values.len() {
        return (Arc::clone(values), offsets.clone());
    }
    let lengths = OffsetBuffer::from_lengths(offsets.lengths());
    (values.slice(first, last - first), lengths)
}

/// Faults of items as faults of the lists they are in.
fn lift(within: Vec<Fault>, lists: &dyn Array, offsets: &OffsetBuffer<i32>, to: &mut Vec<Fault>) {
    for fault in within {
        let bad = |row: usize| {
            let at = |index: usize| usize::try_from(offsets[index]).unwrap_or(0);
            let items = at(row)..at(row + 1);
            lists.is_valid(row) && items.into_iter().any(|item| fault.rows.value(item))
        };
        to.push(Fault {
            rows: BooleanBuffer::collect_bool(lists.len(), bad),
            reason: fault.reason,
        });
    }
}
