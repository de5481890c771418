//! One column's values as literals of SQL, each exactly what it was, or refused.

use std::io::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use std::sync::Arc;
use tidegate_core::Result;
use tidegate_formats::row_to_json;

use super::target::{Kind, Slot};
use super::text;

/// The values of one column of a batch, brought to the few types that have a way to be written.
#[derive(Debug)]
pub(super) struct Cells {
    array: ArrayRef,
    form: Form,
    /// The whole column, for values that are written as JSON.
    nested: Option<RecordBatch>,
}

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Null,
    Bool,
    Signed,
    Unsigned,
    Float,
    Double,
    Decimal128(i8),
    Decimal256(i8),
    Text,
    LargeText,
    Binary,
    LargeBinary,
    Fixed,
    /// Days since 1970.
    Days,
    /// Milliseconds that are whole days.
    DayMillis,
    Moment(TimeUnit),
    Span(TimeUnit),
    Json,
}

/// The form of a type, and the type to which it is brought first.
fn form(data_type: &DataType) -> Option<(Form, DataType)> {
    use DataType as T;
    let same = |form| Some((form, data_type.clone()));
    match data_type {
        T::Null => same(Form::Null),
        T::Boolean => same(Form::Bool),
        T::Int8 | T::Int16 | T::Int32 | T::Int64 => Some((Form::Signed, T::Int64)),
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => Some((Form::Unsigned, T::UInt64)),
        T::Float16 | T::Float32 => Some((Form::Float, T::Float32)),
        T::Float64 => same(Form::Double),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) => {
            Some((Form::Decimal128(*s), T::Decimal128(*p, *s)))
        }
        T::Decimal256(_, s) => same(Form::Decimal256(*s)),
        T::Utf8 => same(Form::Text),
        T::LargeUtf8 | T::Utf8View => Some((Form::LargeText, T::LargeUtf8)),
        T::Binary => same(Form::Binary),
        T::LargeBinary | T::BinaryView => Some((Form::LargeBinary, T::LargeBinary)),
        T::FixedSizeBinary(_) => same(Form::Fixed),
        T::Date32 => Some((Form::Days, T::Int64)),
        T::Date64 => Some((Form::DayMillis, T::Int64)),
        T::Timestamp(unit, _) => Some((Form::Moment(*unit), T::Int64)),
        T::Time32(unit) | T::Time64(unit) | T::Duration(unit) => {
            Some((Form::Span(*unit), T::Int64))
        }
        T::Dictionary(_, values) => form(values),
        T::RunEndEncoded(_, values) => form(values.data_type()),
        T::List(_)
        | T::LargeList(_)
        | T::ListView(_)
        | T::LargeListView(_)
        | T::FixedSizeList(_, _)
        | T::Struct(_)
        | T::Map(_, _) => same(Form::Json),
        T::Interval(_) | T::Union(_, _) => None,
    }
}

/// The type of the values themselves.
fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        other => other,
    }
}

/// Whether a column can hold values of a field's type at all; if not, what to do.
pub(super) fn takes(field: &Field, slot: &Slot) -> Result<(), &'static str> {
    let Some((form, _)) = form(field.data_type()) else {
        return Err("no column holds values of this type: leave it out, or CAST it to text");
    };
    let cast = "CAST it to the column's type in a `sql` transform, or change the column";
    let texts = matches!(
        slot.kind,
        Kind::Char { .. } | Kind::VarChar { .. } | Kind::Text | Kind::Json | Kind::Other
    );
    let bytes = matches!(
        slot.kind,
        Kind::Binary { .. } | Kind::VarBinary { .. } | Kind::Blob
    );
    let moment = matches!(slot.kind, Kind::DateTime { .. } | Kind::Timestamp { .. });
    let fits = match form {
        Form::Null => return Ok(()),
        Form::Bool => matches!(slot.kind, Kind::Int { .. } | Kind::Bit { .. }),
        Form::Signed | Form::Unsigned => matches!(
            slot.kind,
            Kind::Int { .. }
                | Kind::Decimal { .. }
                | Kind::Float { .. }
                | Kind::Double { .. }
                | Kind::Bit { .. }
                | Kind::Year
        ),
        Form::Float => matches!(slot.kind, Kind::Float { .. } | Kind::Double { .. }),
        Form::Double => matches!(slot.kind, Kind::Double { .. }),
        Form::Decimal128(_) | Form::Decimal256(_) => {
            matches!(slot.kind, Kind::Decimal { .. } | Kind::Int { .. })
        }
        Form::Text | Form::LargeText => {
            texts
                || bytes
                || moment
                || matches!(
                    slot.kind,
                    Kind::Enum
                        | Kind::Set
                        | Kind::Uuid
                        | Kind::Inet4
                        | Kind::Inet6
                        | Kind::Date
                        | Kind::Time { .. }
                )
        }
        Form::Binary | Form::LargeBinary | Form::Fixed => {
            bytes || matches!(slot.kind, Kind::Bit { .. } | Kind::Geometry | Kind::Uuid)
        }
        Form::Days | Form::DayMillis | Form::Moment(_) => moment || slot.kind == Kind::Date,
        Form::Span(_) => matches!(slot.kind, Kind::Time { .. }),
        Form::Json => texts,
    };
    if fits { Ok(()) } else { Err(cast) }
}

/// Whether two values of a field are equal exactly if they are equal in the column.
pub(super) fn same_equality(field: &Field, slot: &Slot) -> bool {
    let Some((form, _)) = form(field.data_type()) else {
        return false;
    };
    match form {
        Form::Bool
        | Form::Signed
        | Form::Unsigned
        | Form::Decimal128(_)
        | Form::Decimal256(_)
        | Form::Days
        | Form::DayMillis
        | Form::Moment(_)
        | Form::Span(_) => !matches!(slot.kind, Kind::Float { .. } | Kind::Double { .. }),
        Form::Binary | Form::LargeBinary | Form::Fixed => {
            matches!(slot.kind, Kind::Binary { .. } | Kind::VarBinary { .. })
        }
        _ => false,
    }
}

impl Cells {
    pub(super) fn new(field: &FieldRef, array: &ArrayRef) -> Result<Self> {
        let (form, target) = form(field.data_type()).ok_or_else(|| {
            tidegate_core::Error::internal("a column of an unknown type came to the sink")
        })?;
        let nested = match form {
            Form::Json => {
                let field = field.as_ref().clone().with_name("v");
                let schema = Arc::new(Schema::new(vec![field]));
                Some(RecordBatch::try_new(schema, vec![Arc::clone(array)])?)
            }
            _ => None,
        };
        let mut array = Arc::clone(array);
        if plain(array.data_type()) != array.data_type() {
            array = cast(&array, plain(array.data_type()))?;
        }
        if *array.data_type() != target {
            // Durations and times are numbers of 32 bits at times: by way of those.
            if matches!(array.data_type(), DataType::Time32(_) | DataType::Date32) {
                array = cast(&array, &DataType::Int32)?;
            }
            array = cast(&array, &target)?;
        }
        Ok(Self {
            array,
            form,
            nested,
        })
    }

    /// Appends a value as a literal. On a value that the column can't hold exactly: why.
    pub(super) fn write(&self, row: usize, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
        if self.form == Form::Null || self.array.is_null(row) {
            if !slot.nullable {
                return Err("is NULL, and the column is NOT NULL".to_owned());
            }
            out.extend_from_slice(b"NULL");
            return Ok(());
        }
        let array = &self.array;
        match self.form {
            Form::Null => {}
            Form::Bool => out.push(if array.as_boolean().value(row) {
                b'1'
            } else {
                b'0'
            }),
            Form::Signed => {
                let value = array.as_primitive::<Int64Type>().value(row);
                integer(value.into(), slot, out)?;
            }
            Form::Unsigned => {
                let value = array.as_primitive::<UInt64Type>().value(row);
                integer(value.into(), slot, out)?;
            }
            Form::Float => {
                let value = array
                    .as_primitive::<arrow_array::types::Float32Type>()
                    .value(row);
                if let Kind::Float { places: Some(n) } = slot.kind
                    && format!("{value:.*}", usize::from(n)).parse() != Ok(value)
                {
                    return Err(rounded(slot));
                }
                float(value.into(), slot, out)?;
            }
            Form::Double => {
                let value = array
                    .as_primitive::<arrow_array::types::Float64Type>()
                    .value(row);
                float(value, slot, out)?;
            }
            Form::Decimal128(scale) => {
                let value = array.as_primitive::<Decimal128Type>().value(row);
                decimal(&value.to_string(), scale, slot, out)?;
            }
            Form::Decimal256(scale) => {
                let value = array.as_primitive::<Decimal256Type>().value(row);
                decimal(&value.to_string(), scale, slot, out)?;
            }
            Form::Text => text_value(array.as_string::<i32>().value(row), slot, out)?,
            Form::LargeText => text_value(array.as_string::<i64>().value(row), slot, out)?,
            Form::Binary => bytes_value(array.as_binary::<i32>().value(row), slot, out)?,
            Form::LargeBinary => bytes_value(array.as_binary::<i64>().value(row), slot, out)?,
            Form::Fixed => bytes_value(array.as_fixed_size_binary().value(row), slot, out)?,
            Form::Days => {
                let days = array.as_primitive::<Int64Type>().value(row);
                quoted(out, |out| text::date(days, out))?;
            }
            Form::DayMillis => {
                const DAY: i64 = 86_400_000;
                let millis = array.as_primitive::<Int64Type>().value(row);
                match slot.kind {
                    Kind::Date if millis % DAY != 0 => return Err(TIME_OF_DAY.to_owned()),
                    Kind::Date => quoted(out, |out| text::date(millis / DAY, out))?,
                    _ => moment(micros(millis, TimeUnit::Millisecond)?, slot, out)?,
                }
            }
            Form::Moment(unit) => {
                let value = array.as_primitive::<Int64Type>().value(row);
                moment(micros(value, unit)?, slot, out)?;
            }
            Form::Span(unit) => {
                let micros = micros(array.as_primitive::<Int64Type>().value(row), unit)?;
                fraction(micros, slot)?;
                quoted(out, |out| text::time(micros, out))?;
            }
            Form::Json => {
                if let Some(nested) = &self.nested {
                    let object = row_to_json(nested, row).map_err(|error| error.to_string())?;
                    let value = object
                        .strip_prefix("{\"v\":")
                        .and_then(|rest| rest.strip_suffix('}'));
                    text_value(value.ok_or("can't be written as JSON")?, slot, out)?;
                }
            }
        }
        Ok(())
    }
}

const OUT_OF_RANGE: &str = "is out of the column's range";
const TIME_OF_DAY: &str = "has a time of day, and the column is a DATE";

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Result<(), String> {
    out.push(b'\'');
    write(out).ok_or(OUT_OF_RANGE)?;
    out.push(b'\'');
    Ok(())
}

fn integer(value: i128, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    let within = match slot.kind {
        Kind::Int { bits, unsigned } => {
            let all = 1_i128 << bits;
            match unsigned {
                true => (0..all).contains(&value),
                false => (-all / 2..all / 2).contains(&value),
            }
        }
        Kind::Bit { bits } => (0..1_i128 << bits).contains(&value),
        Kind::Year => value == 0 || (1901..=2155).contains(&value),
        // Beyond these, two neighbours have the same float.
        Kind::Float { .. } => value.abs() <= 1 << 24,
        Kind::Double { .. } => value.abs() <= 1 << 53,
        Kind::Decimal { precision, scale } => {
            let digits = value.unsigned_abs().to_string();
            text::decimal_fits(&digits, 0, precision, scale)?;
            true
        }
        _ => true,
    };
    if !within {
        return Err(format!("{value} {OUT_OF_RANGE}"));
    }
    // The number 0 in two digits would be the year 2000.
    let _ = match slot.kind {
        Kind::Year => write!(out, "'{value:04}'"),
        _ => write!(out, "{value}"),
    };
    Ok(())
}

/// With all digits that tell the number from its neighbours; the server reads them exactly.
fn float(value: f64, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    if !value.is_finite() {
        return Err(format!("is {value}, which the server has no number for"));
    }
    if let Kind::Double { places: Some(n) } = slot.kind
        && format!("{value:.*}", usize::from(n)).parse() != Ok(value)
    {
        return Err(rounded(slot));
    }
    let _ = write!(out, "{value:e}");
    Ok(())
}

fn rounded(slot: &Slot) -> String {
    format!("has more digits behind the point than {}", slot.declared)
}

fn decimal(digits: &str, scale: i8, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    if let Kind::Decimal {
        precision,
        scale: places,
    } = slot.kind
    {
        text::decimal_fits(digits, scale, precision, places)?;
        text::decimal(digits, scale, out);
        return Ok(());
    }
    // Whole numbers may go into integers.
    text::decimal_fits(digits, scale, 38, 0).map_err(|_| "is no whole number".to_owned())?;
    let mut text = Vec::new();
    text::decimal(digits, scale, &mut text);
    let text = String::from_utf8_lossy(&text);
    let whole = text.split_once('.').map_or(&*text, |(whole, _)| whole);
    let value = whole.parse::<i128>().map_err(|_| OUT_OF_RANGE.to_owned())?;
    integer(value, slot, out)
}

fn micros(value: i64, unit: TimeUnit) -> Result<i64, String> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond if value % 1_000 != 0 => {
            return Err("has nanoseconds, and the server has microseconds".to_owned());
        }
        TimeUnit::Nanosecond => Some(value / 1_000),
    }
    .ok_or_else(|| OUT_OF_RANGE.to_owned())
}

fn fraction(micros: i64, slot: &Slot) -> Result<(), String> {
    match slot.kind {
        Kind::Time { fraction } | Kind::DateTime { fraction } | Kind::Timestamp { fraction }
            if !text::fits_fraction(micros, fraction) =>
        {
            Err(format!(
                "has more digits behind the second than {}",
                slot.declared
            ))
        }
        _ => Ok(()),
    }
}

fn moment(micros: i64, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    const DAY: i64 = 86_400_000_000;
    if slot.kind == Kind::Date {
        if micros.rem_euclid(DAY) != 0 {
            return Err(TIME_OF_DAY.to_owned());
        }
        return quoted(out, |out| text::date(micros.div_euclid(DAY), out));
    }
    fraction(micros, slot)?;
    quoted(out, |out| text::moment(micros, out))
}

/// Sessions of the sink have NO_BACKSLASH_ESCAPES, so quotes are all there is to escape.
fn quote(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'\'', rest) {
        let (before, after) = rest.split_at(at + 1);
        out.extend_from_slice(before);
        out.push(b'\'');
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

fn text_value(value: &str, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    match slot.kind {
        // What is too long would be refused by the server, but for spaces, which it cuts.
        Kind::VarChar { characters } | Kind::Char { characters } => {
            let most = usize::try_from(characters).unwrap_or(usize::MAX);
            if value.len() > most && value.chars().count() > most {
                return Err(format!(
                    "has {} characters, too many for {}",
                    value.chars().count(),
                    slot.declared
                ));
            }
            if matches!(slot.kind, Kind::Char { .. }) && value.ends_with(' ') {
                return Err(format!(
                    "ends with a space, which {} forgets",
                    slot.declared
                ));
            }
        }
        Kind::Binary { .. } | Kind::VarBinary { .. } | Kind::Blob => {
            return bytes_value(value.as_bytes(), slot, out);
        }
        _ if !text::is_temporal(value, slot.kind) => {
            return Err(format!("is no {} as the server writes it", slot.declared));
        }
        _ => {}
    }
    quote(value.as_bytes(), out);
    Ok(())
}

fn bytes_value(value: &[u8], slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    let most = match slot.kind {
        Kind::VarBinary { bytes } | Kind::Binary { bytes } => bytes,
        Kind::Bit { bits } => u64::from(bits).div_ceil(8),
        Kind::Geometry => {
            out.extend_from_slice(b"ST_GeomFromWKB(");
            hex(value, out);
            out.push(b')');
            return Ok(());
        }
        Kind::Uuid => {
            let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            quote(digits.as_bytes(), out);
            return Ok(());
        }
        _ => u64::MAX,
    };
    let size = u64::try_from(value.len()).unwrap_or(u64::MAX);
    if size > most {
        return Err(format!("has {size} bytes, too many for {}", slot.declared));
    }
    match slot.kind {
        Kind::Binary { .. } if size < most => Err(format!(
            "has {size} bytes, and {} would fill it up with zeros",
            slot.declared
        )),
        Kind::Bit { .. } => {
            hex(value, out);
            Ok(())
        }
        _ => {
            out.extend_from_slice(b"_binary");
            quote(value, out);
            Ok(())
        }
    }
}

fn hex(value: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(b"X'");
    for byte in value {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'\'');
}
