//! Types for values that came from elsewhere.

use arrow_schema::{DataType, TimeUnit};

/// The type of a column for values of a type of Arrow; none if there is none. `key`: the column is part
/// of a key.
pub(crate) fn declaration_for(data_type: &DataType, key: bool) -> Option<String> {
    use DataType as T;
    let text = |key: &str, other: &str, is_key| if is_key { key } else { other }.to_owned();
    Some(match data_type {
        T::Boolean => "tinyint(1)".to_owned(),
        T::Int8 => "tinyint".to_owned(),
        T::Int16 => "smallint".to_owned(),
        T::Int32 => "int".to_owned(),
        T::Int64 => "bigint".to_owned(),
        T::UInt8 => "tinyint unsigned".to_owned(),
        T::UInt16 => "smallint unsigned".to_owned(),
        T::UInt32 => "int unsigned".to_owned(),
        T::UInt64 => "bigint unsigned".to_owned(),
        T::Float16 | T::Float32 => "float".to_owned(),
        T::Float64 => "double".to_owned(),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            let (precision, scale) = match u8::try_from(*s) {
                Ok(scale) => (*p.max(&scale), scale),
                // Zeros before the point.
                Err(_) => (p.checked_add(s.unsigned_abs())?, 0),
            };
            // The most that the servers have (manual, "Fixed-Point Types").
            if precision > 65 || scale > 30 {
                return None;
            }
            format!("decimal({precision},{scale})")
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => text("varchar(255)", "longtext", key),
        T::Binary | T::LargeBinary | T::BinaryView => text("varbinary(255)", "longblob", key),
        T::FixedSizeBinary(size) => match u16::try_from(*size) {
            Ok(size) if size <= 1024 => format!("varbinary({})", size.max(1)),
            _ => "longblob".to_owned(),
        },
        T::Date32 | T::Date64 => "date".to_owned(),
        T::Time32(TimeUnit::Second) => "time".to_owned(),
        T::Time32(_) => "time(3)".to_owned(),
        T::Time64(_) | T::Duration(_) => "time(6)".to_owned(),
        T::Timestamp(_, _) => "datetime(6)".to_owned(),
        T::Null => "longtext".to_owned(),
        T::Dictionary(_, values) => declaration_for(values, key)?,
        T::RunEndEncoded(_, values) => declaration_for(values.data_type(), key)?,
        T::List(_)
        | T::LargeList(_)
        | T::ListView(_)
        | T::LargeListView(_)
        | T::FixedSizeList(_, _)
        | T::Struct(_)
        | T::Map(_, _) => "json".to_owned(),
        T::Interval(_) | T::Union(_, _) => return None,
    })
}
