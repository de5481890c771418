//! JSON strings.

use std::borrow::Cow;

use super::super::Fault;

const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// The first quote, backslash or control character at `at` or later; the data's end without one.
#[inline]
pub(crate) fn plain_end(data: &[u8], mut at: usize) -> usize {
    while let Some(bytes) = data.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()) {
        let word = u64::from_le_bytes(bytes);
        // For each byte, whether it is 0 after the xor, or below 0x20: the lowest hit is right,
        // those above it may be carried from it.
        let quote = word ^ (LOW * 0x22);
        let slash = word ^ (LOW * 0x5C);
        let hits = ((quote.wrapping_sub(LOW) & !quote)
            | (slash.wrapping_sub(LOW) & !slash)
            | (word.wrapping_sub(LOW * 0x20) & !word))
            & HIGH;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = data.get(at)
        && !matches!(byte, b'"' | b'\\' | 0..0x20)
    {
        at += 1;
    }
    at.min(data.len())
}

/// Appends `data[start..end]`. Short texts, the usual ones, are appended as a fixed 16 bytes and
/// cut, which needs no call.
#[inline]
pub(crate) fn append(out: &mut Vec<u8>, data: &[u8], start: usize, end: usize) {
    let length = end - start;
    if length <= 16
        && let Some(bytes) = data.get(start..start + 16)
    {
        let before = out.len();
        out.extend_from_slice(bytes);
        out.truncate(before + length);
    } else {
        out.extend_from_slice(&data[start..end]);
    }
}

/// Appends what a string with escapes says, from behind its opening quote at `at` on; gives the
/// place behind its closing quote.
#[cold]
#[inline(never)]
pub(crate) fn unescape(data: &[u8], mut at: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    loop {
        let end = plain_end(data, at);
        out.extend_from_slice(&data[at..end]);
        at = end + 1;
        match data.get(end) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => {}
            Some(b'\n') | None => return Err(Fault::new("malformed JSON: a string isn't closed")),
            Some(control) => {
                return Err(Fault::new(format!(
                    "malformed JSON: the control character U+{control:04X} stands in a string unescaped"
                )));
            }
        }
        let escape = data.get(at).copied();
        at += 1;
        out.push(match escape {
            Some(escape @ (b'"' | b'\\' | b'/')) => escape,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let (code, next) = unicode(data, at)?;
                at = next;
                out.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(Fault::new("malformed JSON: an unknown escape in a string")),
        });
    }
}

/// What a string says whose text without the quotes this is, such as [`Cursor::raw_key`] gives.
///
/// [`Cursor::raw_key`]: super::Cursor::raw_key
pub(crate) fn unescaped(raw: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    if !raw.contains(&b'\\') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut text = Vec::with_capacity(raw.len());
    unescape(&[raw, b"\""].concat(), 0, &mut text)?;
    Ok(Cow::Owned(text))
}

/// The character whose four hex digits (of a surrogate pair: the first four) begin at `at`, and
/// the place behind it.
fn unicode(data: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let unit = |at: usize| {
        data.get(at..at + 4)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| Fault::new("malformed JSON: `\\u` without four hex digits"))
    };
    let first = unit(at)?;
    if let Some(char) = char::from_u32(first) {
        return Ok((char, at + 4));
    }
    let pair = if (0xD800..0xDC00).contains(&first) && data.get(at + 4..at + 6) == Some(b"\\u") {
        let second = unit(at + 6)?;
        (0xDC00..0xE000)
            .contains(&second)
            .then(|| 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
    } else {
        None
    };
    pair.and_then(char::from_u32)
        .map(|char| (char, at + 10))
        .ok_or_else(|| Fault::new("a string has half of a surrogate pair, which is no character"))
}
