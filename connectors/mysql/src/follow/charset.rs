//! Character sets. Rows of the binlog hold texts as the table stores them, while a SELECT converts.

use std::char::{DecodeUtf16Error, decode_utf16};

use super::bytes::Broken;

/// A character set that can be read from the binlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// No text at all.
    Binary,
    /// utf8mb4, utf8mb3, ascii: UTF-8 as it is.
    Utf8,
    /// MySQL's latin1, which is Windows' code page 1252, its five holes being control characters.
    Latin1,
    /// ucs2, utf16.
    Utf16,
    Utf16Le,
    Utf32,
}

impl Charset {
    /// The set of this name; `None` if we can't read it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "binary" => Self::Binary,
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Self::Utf8,
            "latin1" => Self::Latin1,
            "ucs2" | "utf16" => Self::Utf16,
            "utf16le" => Self::Utf16Le,
            "utf32" => Self::Utf32,
            _ => return None,
        })
    }

    /// The set to which a collation's number belongs; `None` if we can't read it.
    pub(super) fn of_collation(number: usize) -> Option<Self> {
        use mysql_common::collations::CollationId;
        // From here on MariaDB has its uca1400 collations, 256 for each set (MariaDB's
        // ctype-uca1400.h).
        match number {
            2048..=2559 => return Some(Self::Utf8),
            2560..=3071 => return Some(Self::Utf16),
            3072..=3327 => return Some(Self::Utf32),
            _ => {}
        }
        // MariaDB's copies of the usual sets without padding.
        let base = match number {
            1024.. => number - 1024,
            _ => number,
        };
        let id = CollationId::from(u16::try_from(base).ok()?);
        Self::named(mysql_common::collations::Collation::resolve(id).charset())
    }

    /// Writes the text as UTF-8, as the server would convert it.
    pub(super) fn write(self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        match self {
            Self::Binary | Self::Utf8 => out.extend_from_slice(text),
            Self::Latin1 => {
                if text.is_ascii() {
                    out.extend_from_slice(text);
                    return Ok(());
                }
                for byte in text {
                    put(out, latin1(*byte));
                }
            }
            Self::Utf16 => utf16(text, u16::from_be_bytes, out)?,
            Self::Utf16Le => utf16(text, u16::from_le_bytes, out)?,
            Self::Utf32 => {
                let (units, rest) = text.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(Broken);
                }
                for unit in units {
                    put(
                        out,
                        char::from_u32(u32::from_be_bytes(*unit)).ok_or(Broken)?,
                    );
                }
            }
        }
        Ok(())
    }
}

fn utf16(text: &[u8], unit: fn([u8; 2]) -> u16, out: &mut Vec<u8>) -> Result<(), Broken> {
    let (units, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Broken);
    }
    for char in decode_utf16(units.iter().map(|bytes| unit(*bytes))) {
        put(out, char.map_err(|_: DecodeUtf16Error| Broken)?);
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, char: char) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Code page 1252 from 0x80 to 0x9F.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

fn latin1(byte: u8) -> char {
    match byte {
        0x80..=0x9F => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(charset: Charset, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        charset.write(bytes, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_become_utf8() {
        assert_eq!(read(Charset::Latin1, b"caf\xE9 \x80\x81"), "café €\u{81}");
        assert_eq!(read(Charset::Utf16, &[0, 0x41, 0xD8, 0x3D, 0xDE, 0]), "A😀");
        assert_eq!(read(Charset::Utf16Le, &[0x41, 0]), "A");
        assert_eq!(read(Charset::Utf32, &[0, 1, 0xF6, 0]), "😀");
        assert!(Charset::Utf16.write(&[0], &mut Vec::new()).is_err());
    }

    #[test]
    fn collations_are_known_by_number() {
        let of = Charset::of_collation;
        assert_eq!(of(63), Some(Charset::Binary));
        assert_eq!(of(8), Some(Charset::Latin1));
        // utf8mb4_general_ci, utf8mb4_0900_ai_ci, utf8mb4_nopad_bin, utf8mb4_uca1400_ai_ci.
        for number in [45, 255, 1070, 2304] {
            assert_eq!(of(number), Some(Charset::Utf8), "{number}");
        }
        assert_eq!(of(1), None, "big5");
    }
}
