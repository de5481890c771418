//! MySQL's binary JSON, as the text that the server prints.
//!
//! The layout is that of MySQL's `sql-common/json_binary.h`; the text that of
//! `Json_wrapper::to_string`.

use super::bytes::{Broken, Bytes};
use super::values;

/// Deeper than MySQL allows documents to be (100).
const DEEPEST: usize = 101;

/// Writes the text of a document. No bytes at all stand for `null`, as the server reads them.
pub(super) fn write(document: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    match document.split_first() {
        None => out.extend_from_slice(b"null"),
        Some((kind, value)) => write_value(*kind, value, out, 0)?,
    }
    Ok(())
}

fn write_value(kind: u8, value: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Broken> {
    if depth > DEEPEST {
        return Err(Broken);
    }
    let mut bytes = Bytes(value);
    match kind {
        0x00 => write_object(value, false, out, depth)?,
        0x01 => write_object(value, true, out, depth)?,
        0x02 => write_array(value, false, out, depth)?,
        0x03 => write_array(value, true, out, depth)?,
        0x04 => out.extend_from_slice(match bytes.u8()? {
            0 => b"null",
            1 => b"true",
            2 => b"false",
            _ => return Err(Broken),
        }),
        0x05 => put(out, bytes.u16()?.cast_signed()),
        0x06 => put(out, bytes.u16()?),
        0x07 => put(out, bytes.u32()?.cast_signed()),
        0x08 => put(out, bytes.u32()?),
        0x09 => put(out, bytes.u64()?.cast_signed()),
        0x0A => put(out, bytes.u64()?),
        0x0B => put_double(out, f64::from_bits(bytes.u64()?)),
        0x0C => put_text(out, variable(&mut bytes)?)?,
        0x0F => {
            let field = bytes.u8()?;
            let data = variable(&mut bytes)?;
            write_opaque(field, data, out)?;
        }
        _ => return Err(Broken),
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

/// Data with its length in front, seven bits a byte, the lowest first.
fn variable<'a>(bytes: &mut Bytes<'a>) -> Result<&'a [u8], Broken> {
    let mut length = 0_usize;
    for shift in (0..35).step_by(7) {
        let byte = bytes.u8()?;
        length |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return bytes.take(length);
        }
    }
    Err(Broken)
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Broken> {
    let text = std::str::from_utf8(text).map_err(|_| Broken)?;
    // serde_json escapes exactly what the server escapes, in the same way.
    serde_json::to_writer(out, text).map_err(|_| Broken)
}

/// Where a container's parts lie: offsets are counted from its first byte.
struct Container<'a> {
    all: &'a [u8],
    /// The width of counts and offsets.
    width: usize,
    count: usize,
    large: bool,
}

impl<'a> Container<'a> {
    fn parse(value: &'a [u8], large: bool) -> Result<Self, Broken> {
        let width = if large { 4 } else { 2 };
        let mut bytes = Bytes(value);
        let count = whole(bytes.uint(width)?)?;
        let size = whole(bytes.uint(width)?)?;
        Ok(Self {
            all: value.get(..size).ok_or(Broken)?,
            width,
            count,
            large,
        })
    }

    fn from(&self, offset: usize) -> Result<Bytes<'a>, Broken> {
        self.all.get(offset..).map(Bytes).ok_or(Broken)
    }

    fn key(&self, at: usize) -> Result<&'a [u8], Broken> {
        let mut entry = self.from(2 * self.width + at * (self.width + 2))?;
        let offset = whole(entry.uint(self.width)?)?;
        let length = usize::from(entry.u16()?);
        self.from(offset)?.take(length)
    }

    fn write(
        &self,
        at: usize,
        behind_keys: usize,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Broken> {
        let mut entry = self.from(2 * self.width + behind_keys + at * (self.width + 1))?;
        let kind = entry.u8()?;
        // Small values stand in the entry itself.
        let inline = matches!(kind, 0x04..=0x06) || self.large && matches!(kind, 0x07 | 0x08);
        let value = match inline {
            true => entry.take(self.width)?,
            false => self.from(whole(entry.uint(self.width)?)?)?.rest(),
        };
        write_value(kind, value, out, depth + 1)
    }
}

fn whole(number: u64) -> Result<usize, Broken> {
    usize::try_from(number).map_err(|_| Broken)
}

fn write_object(value: &[u8], large: bool, out: &mut Vec<u8>, depth: usize) -> Result<(), Broken> {
    let object = Container::parse(value, large)?;
    out.push(b'{');
    for at in 0..object.count {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        put_text(out, object.key(at)?)?;
        out.extend_from_slice(b": ");
        object.write(at, object.count * (object.width + 2), out, depth)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_array(value: &[u8], large: bool, out: &mut Vec<u8>, depth: usize) -> Result<(), Broken> {
    let array = Container::parse(value, large)?;
    out.push(b'[');
    for at in 0..array.count {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        array.write(at, 0, out, depth)?;
    }
    out.push(b']');
    Ok(())
}

/// Values that JSON has no kind for.
fn write_opaque(field: u8, data: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    match field {
        // DECIMAL: precision, scale, the packed digits; printed as a number.
        246 => {
            let mut bytes = Bytes(data);
            let (precision, scale) = (bytes.u8()?, bytes.u8()?);
            let mut counted = Vec::new();
            values::decimal(&mut bytes, precision, scale, &mut counted)?;
            out.extend_from_slice(Bytes(&counted).counted()?);
        }
        7 | 10 | 12 => {
            let packed = Bytes(data).u64()?;
            let (micros, clock) = (packed & 0xFF_FFFF, packed >> 24);
            let months = clock >> 22;
            let date = format!(
                "{:04}-{:02}-{:02}",
                months / 13,
                months % 13,
                clock >> 17 & 31
            );
            let text = match field {
                10 => format!("\"{date}\""),
                _ => format!("\"{date} {}\"", clock_text(clock >> 12 & 31, clock, micros)),
            };
            out.extend_from_slice(text.as_bytes());
        }
        11 => {
            let packed = Bytes(data).u64()?.cast_signed();
            let sign = if packed < 0 { "-" } else { "" };
            let packed = packed.unsigned_abs();
            let (micros, clock) = (packed & 0xFF_FFFF, packed >> 24);
            let text = clock_text(clock >> 12 & 1023, clock, micros);
            out.extend_from_slice(format!("\"{sign}{text}\"").as_bytes());
        }
        _ => {
            out.extend_from_slice(format!("\"base64:type{field}:").as_bytes());
            put_base64(out, data);
            out.push(b'"');
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

fn put_base64(out: &mut Vec<u8>, data: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in data.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = usize::try_from(u32::from_be_bytes(bits)).unwrap_or_default();
        for at in 0..4 {
            out.push(match at <= group.len() {
                true => DIGITS[bits >> (18 - 6 * at) & 63],
                false => b'=',
            });
        }
    }
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
