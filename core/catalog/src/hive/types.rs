//! From Arrow to Hive.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use tidegate_core::{DEEPEST_IN_CATALOG, Error, ErrorKind, Result, check_depth};

use super::fold_name;

/// The most characters of a type (AWS Glue, `ColumnTypeString`).
const LONGEST: usize = 131_072;

/// The schema as it comes back from a catalog with Hive's types: names folded (those of structs'
/// members too), types those of [`storable_type`], all nullable.
///
/// Errors: `Schema`, naming the column, for a name or a type that can't be stored, and for two
/// names that fold to one.
pub fn storable_schema(schema: &Schema) -> Result<SchemaRef> {
    check_depth(schema, DEEPEST_IN_CATALOG)?;
    let fields = storable_fields(schema.fields()).map_err(|(path, error)| {
        let kind = match error.kind() {
            ErrorKind::Config => ErrorKind::Schema,
            kind => kind,
        };
        let whole = Error::new(kind, error.message()).with("column", path);
        match error.hint_text() {
            Some(hint) => whole.hint(hint),
            None => whole,
        }
    })?;
    for field in &fields {
        type_string(field.data_type()).map_err(|error| error.with("column", field.name()))?;
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The type as it comes back from Hive's.
///
/// Errors: `Schema`, with a hint, for a type that Hive doesn't have: an interval, a duration, a
/// union, null, a decimal of more than 38 digits; for a struct without members, or with two whose
/// names fold to one.
pub fn storable_type(data_type: &DataType) -> Result<DataType> {
    storable(data_type).map_err(|(path, error)| match path.is_empty() {
        true => error,
        false => error.with("member", path),
    })
}

/// What Hive calls a type, after [`storable_type`].
///
/// Errors: `Schema`, as `storable_type`; and for a text of more than 131,072 characters.
pub fn type_string(data_type: &DataType) -> Result<String> {
    let mut text = String::new();
    write(&storable_type(data_type)?, &mut text)?;
    match text.chars().count() {
        ..=LONGEST => Ok(text),
        long => Err(Error::schema(format!(
            "the type is too large for a catalog: {long} characters, where {LONGEST} are possible"
        ))
        .hint("store it as JSON text, or split it into several columns")),
    }
}

/// An error, and the path of the member that it is about.
type Located<T> = Result<T, (String, Error)>;

fn storable_fields(fields: &Fields) -> Located<Fields> {
    let mut stored: Vec<FieldRef> = Vec::with_capacity(fields.len());
    let mut names = HashSet::with_capacity(fields.len());
    for field in fields {
        let here = |error| (field.name().clone(), error);
        let name = fold_name(field.name()).map_err(here)?;
        if !names.insert(name.clone()) {
            return Err(here(
                Error::schema(format!("two columns are called `{name}` in lower case"))
                    .hint("rename one of them"),
            ));
        }
        let data_type = member(field)?;
        stored.push(Arc::new(Field::new(name, data_type, true)));
    }
    Ok(stored.into())
}

fn member(field: &FieldRef) -> Located<DataType> {
    storable(field.data_type()).map_err(|(path, error)| {
        let path = match path.is_empty() {
            true => field.name().clone(),
            false => format!("{}.{path}", field.name()),
        };
        (path, error)
    })
}

fn storable(data_type: &DataType) -> Located<DataType> {
    use DataType as T;
    let refuse = |what: &str, hint: &str| {
        let error = Error::schema(format!("a catalog's tables can't have {what}"));
        Err((String::new(), error.hint(hint)))
    };
    Ok(match data_type {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 => {
            data_type.clone()
        }
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 => T::Float32,
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => return decimal(*precision, *scale),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Time32(_) | T::Time64(_) | T::Null => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date32 | T::Date64 => T::Date32,
        T::Timestamp(_, _) => timestamp(),
        T::Dictionary(_, values) => storable(values)?,
        T::RunEndEncoded(_, values) => storable(values.data_type())?,
        T::List(item)
        | T::LargeList(item)
        | T::ListView(item)
        | T::LargeListView(item)
        | T::FixedSizeList(item, _) => list(storable(item.data_type())?),
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) if pair.len() == 2 => {
                let key = storable(pair[0].data_type())?;
                if key.is_nested() {
                    return refuse("maps with keys that are nested", "make a text of the key");
                }
                map(key, storable(pair[1].data_type())?)
            }
            _ => return refuse("maps without keys and values", "store it as JSON text"),
        },
        T::Struct(fields) if fields.is_empty() => {
            return refuse("structs without members", "leave the column out");
        }
        T::Struct(fields) => T::Struct(storable_fields(fields)?),
        T::Duration(_) | T::Interval(_) => {
            return refuse("durations and intervals", "cast it to a number or a text");
        }
        T::Union(_, _) => return refuse("unions", "store it as JSON text"),
    })
}

fn decimal(precision: u8, scale: i8) -> Located<DataType> {
    // Hive has no negative scales: tens and hundreds are digits there.
    let digits = i16::from(precision) - i16::from(scale.min(0));
    match u8::try_from(digits) {
        Ok(digits @ 1..=38) if scale <= 38 => Ok(DataType::Decimal128(digits, scale.max(0))),
        _ => {
            let error = Error::schema(format!(
                "a decimal of {digits} digits can't be stored: 38 are possible"
            ));
            Err((String::new(), error.hint("cast it to a shorter decimal")))
        }
    }
}

/// Hive's timestamp, as Tidegate reads it.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A list as Parquet names its parts.
pub(super) fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", item, true)))
}

/// A map as Parquet names its parts.
pub(super) fn map(key: DataType, value: DataType) -> DataType {
    let pair = vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ];
    let entries = Field::new("key_value", DataType::Struct(pair.into()), false);
    DataType::Map(Arc::new(entries), false)
}

fn write(data_type: &DataType, out: &mut String) -> Result<()> {
    use DataType as T;
    let plain = match data_type {
        T::Boolean => "boolean",
        T::Int8 => "tinyint",
        T::Int16 => "smallint",
        T::Int32 => "int",
        T::Int64 => "bigint",
        T::Float32 => "float",
        T::Float64 => "double",
        T::Utf8 => "string",
        T::Binary => "binary",
        T::Date32 => "date",
        T::Timestamp(_, _) => "timestamp",
        T::Decimal128(precision, scale) => {
            out.push_str(&format!("decimal({precision},{scale})"));
            return Ok(());
        }
        T::List(item) => {
            out.push_str("array<");
            write(item.data_type(), out)?;
            ">"
        }
        T::Map(entries, _) => {
            let T::Struct(pair) = entries.data_type() else {
                return Err(Error::internal("a map's entries are no struct"));
            };
            out.push_str("map<");
            for (at, field) in pair.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write(field.data_type(), out)?;
            }
            ">"
        }
        T::Struct(fields) => {
            out.push_str("struct<");
            for (at, field) in fields.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                out.push_str(field.name());
                out.push(':');
                write(field.data_type(), out)?;
            }
            ">"
        }
        other => {
            return Err(Error::internal(format!("{other} is no type of Hive's")));
        }
    };
    out.push_str(plain);
    Ok(())
}
