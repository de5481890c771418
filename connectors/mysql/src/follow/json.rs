//! MySQL's binary JSON, as the text that the server prints (`Json_wrapper::to_string`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mysql_common::binlog::jsonb::{Array, ComplexValue, Object, OpaqueValue, StorageFormat, Value};
use mysql_common::constants::ColumnType;
use mysql_common::io::ParseBuf;

use super::bytes::{Broken, Bytes};
use super::values;

/// Deeper than MySQL allows documents to be (100).
const DEEPEST: usize = 101;

/// Writes the text of a document. No bytes at all stand for `null`, as the server reads them.
pub(super) fn write(document: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    if document.is_empty() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let value = ParseBuf(document).parse(()).map_err(|_| Broken)?;
    write_value(&value, out, 0)
}

fn write_value(value: &Value<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), Broken> {
    if depth > DEEPEST {
        return Err(Broken);
    }
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => put(out, value),
        Value::I16(number) => put(out, number),
        Value::U16(number) => put(out, number),
        Value::I32(number) => put(out, number),
        Value::U32(number) => put(out, number),
        Value::I64(number) => put(out, number),
        Value::U64(number) => put(out, number),
        Value::F64(number) => put_double(out, *number),
        Value::String(text) => put_text(out, text.str_raw())?,
        Value::SmallArray(array) => write_array(array, out, depth)?,
        Value::LargeArray(array) => write_array(array, out, depth)?,
        Value::SmallObject(object) => write_object(object, out, depth)?,
        Value::LargeObject(object) => write_object(object, out, depth)?,
        Value::Opaque(opaque) => write_opaque(opaque, out)?,
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, number: impl ToString) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// The shortest text that reads back as the same number, as the server writes it: plainly from
/// 1e-15 up to 1e15, with an exponent beyond.
fn put_double(out: &mut Vec<u8>, number: f64) {
    let size = number.abs();
    if size != 0.0 && !(1e-15..1e15).contains(&size) {
        put(out, format!("{number:e}"));
        return;
    }
    // With one digit behind the point at least, as the server has it.
    put(out, format!("{number:?}"));
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Broken> {
    let text = std::str::from_utf8(text).map_err(|_| Broken)?;
    // serde_json escapes exactly what the server escapes, in the same way.
    serde_json::to_writer(out, text).map_err(|_| Broken)
}

fn write_object<T: StorageFormat>(
    object: &ComplexValue<'_, T, Object>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Broken> {
    out.push(b'{');
    for (at, member) in object.iter().enumerate() {
        let (key, value) = member.map_err(|_| Broken)?;
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        put_text(out, key.value_raw())?;
        out.extend_from_slice(b": ");
        write_value(&value, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_array<T: StorageFormat>(
    array: &ComplexValue<'_, T, Array>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Broken> {
    out.push(b'[');
    for (at, element) in array.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        write_value(&element.map_err(|_| Broken)?, out, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}

/// Values that JSON has no kind for.
fn write_opaque(opaque: &OpaqueValue<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    let data = opaque.data_raw();
    let kind = opaque.value_type();
    match kind {
        // Precision, scale, the packed digits; printed as a number.
        ColumnType::MYSQL_TYPE_NEWDECIMAL => {
            let mut bytes = Bytes(data);
            let (precision, scale) = (bytes.u8()?, bytes.u8()?);
            let mut counted = Vec::new();
            values::decimal(&mut bytes, precision, scale, &mut counted)?;
            out.extend_from_slice(Bytes(&counted).counted()?);
        }
        ColumnType::MYSQL_TYPE_DATE
        | ColumnType::MYSQL_TYPE_DATETIME
        | ColumnType::MYSQL_TYPE_TIMESTAMP => {
            let packed = Bytes(data).u64()?;
            let (micros, clock) = (packed & 0xFF_FFFF, packed >> 24);
            let months = clock >> 22;
            let date = format!(
                "{:04}-{:02}-{:02}",
                months / 13,
                months % 13,
                clock >> 17 & 31
            );
            let text = match kind {
                ColumnType::MYSQL_TYPE_DATE => format!("\"{date}\""),
                _ => format!("\"{date} {}\"", clock_text(clock >> 12 & 31, clock, micros)),
            };
            out.extend_from_slice(text.as_bytes());
        }
        ColumnType::MYSQL_TYPE_TIME => {
            let packed = Bytes(data).u64()?.cast_signed();
            let sign = if packed < 0 { "-" } else { "" };
            let packed = packed.unsigned_abs();
            let (micros, clock) = (packed & 0xFF_FFFF, packed >> 24);
            let text = clock_text(clock >> 12 & 1023, clock, micros);
            out.extend_from_slice(format!("\"{sign}{text}\"").as_bytes());
        }
        _ => {
            let (kind, text) = (kind as u8, STANDARD.encode(data));
            out.extend_from_slice(format!("\"base64:type{kind}:{text}\"").as_bytes());
        }
    }
    Ok(())
}

fn clock_text(hours: u64, clock: u64, micros: u64) -> String {
    format!(
        "{hours:02}:{:02}:{:02}.{micros:06}",
        clock >> 6 & 63,
        clock & 63
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &[u8]) -> String {
        let mut out = Vec::new();
        write(document, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// `{"a": "b"}` and the others as `json_binary.h` lays them out; no MySQL is to be had here.
    #[test]
    fn documents_are_printed_as_the_server_does() {
        // One key, 13 bytes; the key at 11, one byte; a text at 12.
        let object = [0x00, 1, 0, 14, 0, 11, 0, 1, 0, 0x0C, 12, 0, b'a', 1, b'b'];
        assert_eq!(read(&object), r#"{"a": "b"}"#);
        // Three elements: 1, true, -2 as int32 behind them.
        let array = [
            0x02, 3, 0, 17, 0, 0x05, 1, 0, 0x04, 1, 0, 0x07, 13, 0, 0xFE, 0xFF, 0xFF, 0xFF,
        ];
        assert_eq!(read(&array), "[1, true, -2]");
        assert_eq!(read(&[]), "null");
        assert_eq!(read(&[0x0C, 4, b'"', b'\n', b'\\', 1]), r#""\"\n\\\u0001""#);
        assert_eq!(
            read(&[0x0F, 252, 4, 1, 2, 3, 4]),
            "\"base64:type252:AQIDBA==\""
        );
    }

    #[test]
    fn numbers_are_printed_as_the_server_does() {
        let double = |number: f64| {
            let mut document = vec![0x0B];
            document.extend_from_slice(&number.to_le_bytes());
            read(&document)
        };
        assert_eq!(double(1.0), "1.0");
        assert_eq!(double(-0.25), "-0.25");
        assert_eq!(double(1e20), "1e20");
        assert_eq!(double(1.5e-20), "1.5e-20");
        let decimal = [
            0x0F, 246, 9, 14, 4, 0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2,
        ];
        assert_eq!(read(&decimal), "1234567890.1234");
    }

    #[test]
    fn broken_documents_are_told() {
        for document in [&[0x00, 9, 0][..], &[0x0C, 200], &[0x42], &[0x05, 1]] {
            assert_eq!(write(document, &mut Vec::new()), Err(Broken));
        }
        // An array that holds itself.
        let endless = [0x02, 1, 0, 7, 0, 0x02, 0, 0];
        assert_eq!(write(&endless, &mut Vec::new()), Err(Broken));
    }
}
