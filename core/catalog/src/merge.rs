//! How two descriptions of a table become one that holds the rows of both.
//!
//! Only exact changes are made: whatever could be stored before can be stored after, to the last
//! digit. What has no such common type is an error, never a guess.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use tidegate_core::{CatalogTable, Error, Result, TableFormat};

use crate::guessed::{guessed_format, is_guessed, merged_columns, merged_guess};

/// The most digits of a decimal that every engine reads.
const MOST_DIGITS: i16 = 38;

/// The most digits of a decimal where one of the types is wider than that already.
const MOST_WIDE_DIGITS: i16 = 76;

/// The narrowest type that holds every value of both exactly; `None` if there is none.
///
/// | of | and | becomes |
/// |---|---|---|
/// | integers | integers | the integer that holds both; a decimal of 20 digits for `u64` and a signed one |
/// | an integer | a float | the float, if its mantissa holds every such integer; so none for 64 bits |
/// | an integer, a decimal | a decimal | a decimal with enough digits on both sides, 38 at most |
/// | a float | a float | the wider one |
/// | text or bytes in any layout | the same | the layout that holds both |
/// | a timestamp, a time, a duration | the same | the finer unit; nanoseconds only with themselves, because they reach from 1677 to 2262 only (a time of day reaches) |
/// | a timestamp with a zone | one with another | `UTC`; none with one without a zone |
/// | lists, maps, structs | the same | by their members; members of only one struct stand at the end, nullable |
/// | null | anything | that |
///
/// The names of a list's items and a map's entries matter to nobody: where they differ, the result
/// has Parquet's. `widen(a, b)` and `widen(b, a)` are alike but for the order of a struct's members.
pub fn widen(a: &DataType, b: &DataType) -> Option<DataType> {
    common(a, b, Rule::Stored)
}

/// The type that columns of both types are read as, where files are read together: as [`widen`],
/// except that nanoseconds and coarser units meet in nanoseconds, so that no digit is lost. Those
/// reach from 1677 to 2262 only: who reads a time beyond has to refuse it.
pub(crate) fn widen_to_read(a: &DataType, b: &DataType) -> Option<DataType> {
    common(a, b, Rule::Read)
}

/// What the common type is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// To store values of both, every one.
    Stored,
    /// To read both, where a value can still be refused.
    Read,
}

fn common(a: &DataType, b: &DataType, rule: Rule) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (T::Null, other) | (other, T::Null) => Some(other.clone()),
        // How values are repeated in memory is no matter of the table.
        (T::Dictionary(..) | T::RunEndEncoded(..), _)
        | (_, T::Dictionary(..) | T::RunEndEncoded(..)) => common(repeated(a), repeated(b), rule),
        (T::Date32 | T::Date64, T::Date32 | T::Date64) => Some(T::Date64),
        (T::Timestamp(a, zone), T::Timestamp(b, other)) => {
            Some(T::Timestamp(finer(*a, *b, rule)?, same_zone(zone, other)?))
        }
        (T::Duration(a), T::Duration(b)) => Some(T::Duration(finer(*a, *b, rule)?)),
        (T::Time32(a) | T::Time64(a), T::Time32(b) | T::Time64(b)) => {
            Some(match fineness(*a).max(fineness(*b)) {
                0 => T::Time32(TimeUnit::Second),
                1 => T::Time32(TimeUnit::Millisecond),
                2 => T::Time64(TimeUnit::Microsecond),
                _ => T::Time64(TimeUnit::Nanosecond),
            })
        }
        (T::Struct(a), T::Struct(b)) => {
            Some(T::Struct(widen_fields(a, b, rule, &mut |_, _| None)?))
        }
        (T::Map(a, a_sorted), T::Map(b, b_sorted)) => {
            Some(T::Map(widen_entries(a, b, rule)?, *a_sorted && *b_sorted))
        }
        _ => widen_numbers(a, b)
            .or_else(|| widen_layout(a, b))
            .or_else(|| widen_lists(a, b, rule)),
    }
}

/// The type of the values that a dictionary or runs repeat, however deep.
fn repeated(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => repeated(values),
        DataType::RunEndEncoded(_, values) => repeated(values.data_type()),
        plain => plain,
    }
}

/// The table with what `want` has and it has not: new columns at the end, wider types. `None` if
/// nothing changes. Location, format, partition keys, properties and the order of columns stay.
///
/// Where both were guessed from text ([`is_guessed`](crate::is_guessed)), types that contradict
/// become text, and fields are quoted if one of the two says so.
///
/// Both tables are as the catalog would store them ([`storable`](tidegate_core::Catalog::storable)):
/// names are compared as they are.
///
/// Errors: `Schema`, where a column's types have nothing in common, or where the formats or the
/// partition keys disagree.
pub fn merge_tables(have: &CatalogTable, want: &CatalogTable) -> Result<Option<CatalogTable>> {
    let name = &have.name;
    let guessed = is_guessed(have) && is_guessed(want);
    let format = match guessed {
        true => guessed_format(&have.format, &want.format),
        false => (have.format == want.format).then(|| have.format.clone()),
    };
    let Some(format) = format else {
        return Err(Error::schema(format!(
            "the files of table `{name}` are {}, not {}",
            describe_format(&have.format),
            describe_format(&want.format)
        ))
        .hint("write to another table, or in the table's format"));
    };
    same_keys(have, want)?;
    for column in have.columns.fields().iter().chain(want.columns.fields()) {
        if let Some(key) = have
            .partition_keys
            .iter()
            .find(|k| k.name() == column.name())
        {
            return Err(Error::schema(format!(
                "`{}` is a partition key of table `{name}`, so it can't be one of its columns too",
                key.name()
            ))
            .hint("leave it out of the files, or rename it"));
        }
    }
    let (mine, theirs) = (have.columns.fields(), want.columns.fields());
    if guessed {
        let merged = CatalogTable {
            format,
            columns: Arc::new(Schema::new_with_metadata(
                merged_columns(have, want),
                have.columns.metadata().clone(),
            )),
            ..merged_guess(have, want)
        };
        return Ok((merged != *have).then_some(merged));
    }
    let mut clash = None;
    let merged = widen_fields(mine, theirs, Rule::Stored, &mut |a, b| {
        clash = Some((a.clone(), b.clone()));
        None
    });
    let Some(merged) = merged else {
        return Err(match clash {
            Some((a, b)) => contradiction(name, &a, &b),
            None => Error::internal("two schemas can't be merged, and no column says why"),
        });
    };
    if merged == *have.columns.fields() {
        return Ok(None);
    }
    let columns = Schema::new_with_metadata(merged, have.columns.metadata().clone());
    Ok(Some(CatalogTable {
        columns: Arc::new(columns),
        ..have.clone()
    }))
}

fn contradiction(table: &tidegate_core::TableName, have: &Field, want: &Field) -> Error {
    Error::schema(format!(
        "column `{}` of table `{table}` is {}, and {} can't be made of it without loss",
        have.name(),
        have.data_type(),
        want.data_type(),
    ))
    .hint("cast the column (transform `sql`), rename it, or write to another table")
}

fn describe_format(format: &TableFormat) -> String {
    match format {
        TableFormat::Csv {
            delimiter,
            header,
            quoted,
        } => format!(
            "csv (delimiter {delimiter:?}, {} header, {} quotes)",
            if *header { "with a" } else { "without a" },
            if *quoted { "with" } else { "without" },
        ),
        other => other.name().to_owned(),
    }
}

fn same_keys(have: &CatalogTable, want: &CatalogTable) -> Result<()> {
    let agree = have.partition_keys.len() == want.partition_keys.len()
        && have
            .partition_keys
            .iter()
            .zip(&want.partition_keys)
            .all(|(have, want)| {
                // A key can't be changed any more, so it must hold what is wanted as it is.
                have.name() == want.name()
                    && widen(have.data_type(), want.data_type()).as_ref() == Some(have.data_type())
            });
    if agree {
        return Ok(());
    }
    let list = |keys: &[FieldRef]| match keys {
        [] => "nothing".to_owned(),
        keys => keys
            .iter()
            .map(|key| format!("{} {}", key.name(), key.data_type()))
            .collect::<Vec<_>>()
            .join(", "),
    };
    Err(Error::schema(format!(
        "table `{}` is partitioned by {}, not by {}",
        have.name,
        list(&have.partition_keys),
        list(&want.partition_keys)
    ))
    .hint("a table's partition keys can't be changed: partition as it is, or write to another one"))
}

/// Fields of both by name: those of `a` in their order, then those only `b` has. What both have
/// and can't be widened is told to `clash`, whose answer stands instead.
fn widen_fields(
    a: &Fields,
    b: &Fields,
    rule: Rule,
    clash: &mut dyn FnMut(&Field, &Field) -> Option<DataType>,
) -> Option<Fields> {
    let mut fields = Vec::with_capacity(a.len().max(b.len()));
    for field in a {
        fields.push(match b.iter().find(|other| other.name() == field.name()) {
            None => nullable(field),
            Some(other) => {
                let wide = common(field.data_type(), other.data_type(), rule);
                let wide = wide.or_else(|| clash(field, other))?;
                let wide = with_type(field, wide, field.is_nullable() || other.is_nullable());
                agreed(wide, other, rule)
            }
        });
    }
    let new = b
        .iter()
        .filter(|field| a.iter().all(|other| other.name() != field.name()));
    fields.extend(new.map(nullable));
    Some(fields.into())
}

fn nullable(field: &FieldRef) -> FieldRef {
    with_type(field, field.data_type().clone(), true)
}

fn with_type(field: &FieldRef, data_type: DataType, nullable: bool) -> FieldRef {
    if *field.data_type() == data_type && field.is_nullable() == nullable {
        return Arc::clone(field);
    }
    let field = field.as_ref().clone();
    Arc::new(field.with_data_type(data_type).with_nullable(nullable))
}

/// A column of files that are read together.
pub(crate) fn read_together(field: &FieldRef, other: &FieldRef) -> Option<FieldRef> {
    // Two files' dictionaries together may have more values than their keys can number.
    let (a, b) = (repeated(field.data_type()), repeated(other.data_type()));
    let wide = with_type(
        field,
        widen_to_read(a, b)?,
        field.is_nullable() || other.is_nullable(),
    );
    Some(agreed(wide, other, Rule::Read))
}

/// A field without what only one of two files says of it: an extension type, an id.
fn agreed(field: FieldRef, other: &Field, rule: Rule) -> FieldRef {
    if rule == Rule::Stored || field.metadata() == other.metadata() {
        return field;
    }
    let said = field.metadata().iter();
    let both = said.filter(|(key, value)| other.metadata().get(*key) == Some(value));
    let both = both.map(|(key, value)| (key.clone(), value.clone()));
    Arc::new(field.as_ref().clone().with_metadata(both.collect()))
}

/// An item of a list, a key or a value of a map: what it is called is no matter of its type.
fn widen_item(a: &FieldRef, b: &FieldRef, name: &str, rule: Rule) -> Option<FieldRef> {
    let wide = common(a.data_type(), b.data_type(), rule)?;
    let field = with_type(a, wide, a.is_nullable() || b.is_nullable());
    if a.name() == b.name() && a.metadata() == b.metadata() {
        return Some(field);
    }
    let (wide, nullable) = (field.data_type().clone(), field.is_nullable());
    let name = if a.name() == b.name() { a.name() } else { name };
    Some(Arc::new(Field::new(name, wide, nullable)))
}

fn widen_entries(a: &FieldRef, b: &FieldRef, rule: Rule) -> Option<FieldRef> {
    let (DataType::Struct(a_pair), DataType::Struct(b_pair)) = (a.data_type(), b.data_type())
    else {
        return None;
    };
    let ([a_key, a_value], [b_key, b_value]) = (a_pair.as_ref(), b_pair.as_ref()) else {
        return None;
    };
    let pair = vec![
        widen_item(a_key, b_key, "key", rule)?,
        widen_item(a_value, b_value, "value", rule)?,
    ];
    let name = if a.name() == b.name() {
        a.name()
    } else {
        "key_value"
    };
    Some(Arc::new(Field::new(
        name,
        DataType::Struct(pair.into()),
        false,
    )))
}

fn widen_lists(a: &DataType, b: &DataType, rule: Rule) -> Option<DataType> {
    use DataType as T;
    // A number for how much a layout holds: any list of a fixed size, any view, 2³¹ items, 2⁶³.
    let list = |data_type: &DataType| -> Option<(u8, FieldRef)> {
        Some(match data_type {
            T::FixedSizeList(item, _) => (0, Arc::clone(item)),
            T::ListView(item) => (1, Arc::clone(item)),
            T::List(item) => (2, Arc::clone(item)),
            T::LargeListView(item) | T::LargeList(item) => (3, Arc::clone(item)),
            _ => return None,
        })
    };
    let ((a_holds, a_item), (b_holds, b_item)) = (list(a)?, list(b)?);
    let item = widen_item(&a_item, &b_item, "element", rule)?;
    Some(match (a, b) {
        (T::FixedSizeList(_, m), T::FixedSizeList(_, n)) if m == n => T::FixedSizeList(item, *m),
        (T::ListView(_), T::ListView(_)) => T::ListView(item),
        (T::LargeListView(_), T::LargeListView(_)) => T::LargeListView(item),
        _ if a_holds.max(b_holds) == 3 => T::LargeList(item),
        _ => T::List(item),
    })
}

/// Texts and bytes, which differ only in how they lie in memory.
fn widen_layout(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    const TEXTS: [T; 3] = [T::Utf8View, T::Utf8, T::LargeUtf8];
    const BYTES: [T; 3] = [T::BinaryView, T::Binary, T::LargeBinary];
    let bytes = |data_type: &DataType| match data_type {
        // Of another length than the other one.
        T::FixedSizeBinary(_) => T::Binary,
        other => other.clone(),
    };
    let (a, b) = (bytes(a), bytes(b));
    [TEXTS, BYTES].into_iter().find_map(|layouts| {
        let at = |data_type: &DataType| layouts.iter().position(|layout| layout == data_type);
        layouts.get(at(&a)?.max(at(&b)?)).cloned()
    })
}

/// A number's type, as far as widening is concerned.
#[derive(Clone, Copy)]
enum Number {
    Int { signed: bool, bits: u8 },
    Float { bits: u8 },
    Decimal { bits: u16, digits: i16, scale: i16 },
}

fn number(data_type: &DataType) -> Option<Number> {
    use DataType as T;
    let int = |signed, bits| Number::Int { signed, bits };
    let decimal = |bits, digits: u8, scale: i8| Number::Decimal {
        bits,
        digits: digits.into(),
        scale: scale.into(),
    };
    Some(match *data_type {
        T::Int8 => int(true, 8),
        T::Int16 => int(true, 16),
        T::Int32 => int(true, 32),
        T::Int64 => int(true, 64),
        T::UInt8 => int(false, 8),
        T::UInt16 => int(false, 16),
        T::UInt32 => int(false, 32),
        T::UInt64 => int(false, 64),
        T::Float16 => Number::Float { bits: 16 },
        T::Float32 => Number::Float { bits: 32 },
        T::Float64 => Number::Float { bits: 64 },
        T::Decimal32(digits, scale) => decimal(32, digits, scale),
        T::Decimal64(digits, scale) => decimal(64, digits, scale),
        T::Decimal128(digits, scale) => decimal(128, digits, scale),
        T::Decimal256(digits, scale) => decimal(256, digits, scale),
        _ => return None,
    })
}

/// The digits of the largest integer of a type.
fn digits(signed: bool, bits: u8) -> i16 {
    match (bits, signed) {
        (8, _) => 3,
        (16, _) => 5,
        (32, _) => 10,
        (_, true) => 19,
        (_, false) => 20,
    }
}

fn widen_numbers(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    use Number::{Decimal, Float, Int};
    match (number(a)?, number(b)?) {
        (
            Int {
                signed: true,
                bits: a,
            },
            Int {
                signed: true,
                bits: b,
            },
        ) => Some(signed(a.max(b))),
        (
            Int {
                signed: false,
                bits: a,
            },
            Int {
                signed: false,
                bits: b,
            },
        ) => Some(match a.max(b) {
            8 => T::UInt8,
            16 => T::UInt16,
            32 => T::UInt32,
            _ => T::UInt64,
        }),
        (
            Int {
                signed: true,
                bits: s,
            },
            Int {
                signed: false,
                bits: u,
            },
        )
        | (
            Int {
                signed: false,
                bits: u,
            },
            Int {
                signed: true,
                bits: s,
            },
        ) => Some(match u {
            64 => T::Decimal128(20, 0),
            u => signed(s.max(u * 2)),
        }),
        (Float { bits: a }, Float { bits: b }) => Some(float(a.max(b))),
        (Int { bits, .. }, Float { bits: of }) | (Float { bits: of }, Int { bits, .. }) => {
            // Mantissas of 11, 24 and 53 bits hold whole integers of 8, 16 and 32.
            (bits <= 32).then(|| float(of.max(bits * 2)))
        }
        (Decimal { .. }, Float { .. }) | (Float { .. }, Decimal { .. }) => None,
        (
            Decimal {
                bits,
                digits: p,
                scale,
            },
            Int { signed, bits: of },
        )
        | (
            Int { signed, bits: of },
            Decimal {
                bits,
                digits: p,
                scale,
            },
        ) => decimal(bits, (p - scale).max(digits(signed, of)), scale.max(0)),
        (
            Decimal {
                bits: a,
                digits: p,
                scale: s,
            },
            Decimal {
                bits: b,
                digits: q,
                scale: t,
            },
        ) => decimal(a.max(b), (p - s).max(q - t), s.max(t)),
    }
}

fn signed(bits: u8) -> DataType {
    match bits {
        8 => DataType::Int8,
        16 => DataType::Int16,
        32 => DataType::Int32,
        _ => DataType::Int64,
    }
}

fn float(bits: u8) -> DataType {
    match bits {
        16 => DataType::Float16,
        32 => DataType::Float32,
        _ => DataType::Float64,
    }
}

/// The decimal of at least `bits` with so many digits before the point, and `scale` after it.
fn decimal(bits: u16, before: i16, scale: i16) -> Option<DataType> {
    let digits = before + scale;
    let most = if bits == 256 {
        MOST_WIDE_DIGITS
    } else {
        MOST_DIGITS
    };
    if digits > most {
        return None;
    }
    // A scale below nothing may leave no digit at all.
    let (digits, scale) = (u8::try_from(digits.max(1)).ok()?, i8::try_from(scale).ok()?);
    Some(match bits {
        32 if digits <= 9 => DataType::Decimal32(digits, scale),
        32 | 64 if digits <= 18 => DataType::Decimal64(digits, scale),
        256 => DataType::Decimal256(digits, scale),
        _ => DataType::Decimal128(digits, scale),
    })
}

fn fineness(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    }
}

fn finer(a: TimeUnit, b: TimeUnit, rule: Rule) -> Option<TimeUnit> {
    let nanoseconds = |unit| unit == TimeUnit::Nanosecond;
    if rule == Rule::Stored && nanoseconds(a) != nanoseconds(b) {
        return None;
    }
    Some(if fineness(a) > fineness(b) { a } else { b })
}

type Zone = Option<Arc<str>>;

fn same_zone(a: &Zone, b: &Zone) -> Option<Zone> {
    match (a, b) {
        (None, None) => Some(None),
        (Some(a), Some(b)) if a == b => Some(Some(Arc::clone(a))),
        (Some(_), Some(_)) => Some(Some("UTC".into())),
        _ => None,
    }
}
