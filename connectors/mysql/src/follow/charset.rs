//! Character sets. Rows of the binlog hold texts as the table stores them, while a SELECT converts.

use encoding_rs::Encoding;

use super::bytes::Broken;

/// A character set that can be read from the binlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// No text at all.
    Binary,
    /// utf8mb4, utf8mb3, ascii: UTF-8 as it is.
    Utf8,
    Utf32,
    Other(&'static Encoding, Differs),
}

/// Where the server reads a character set otherwise than the WHATWG encoding of the same letters:
/// what our reading gives, and what the server's. `no_other_character_than_the_servers` compares
/// them all.
type Differs = &'static [(char, char)];

/// The control characters of ISO 8859, for which the WHATWG takes Windows' letters.
const CONTROLS: Differs = &[
    ('€', '\u{80}'),
    ('‚', '\u{82}'),
    ('ƒ', '\u{83}'),
    ('„', '\u{84}'),
    ('…', '\u{85}'),
    ('†', '\u{86}'),
    ('‡', '\u{87}'),
    ('ˆ', '\u{88}'),
    ('‰', '\u{89}'),
    ('Š', '\u{8A}'),
    ('‹', '\u{8B}'),
    ('Œ', '\u{8C}'),
    ('‘', '\u{91}'),
    ('’', '\u{92}'),
    ('“', '\u{93}'),
    ('”', '\u{94}'),
    ('•', '\u{95}'),
    ('–', '\u{96}'),
    ('—', '\u{97}'),
    ('˜', '\u{98}'),
    ('™', '\u{99}'),
    ('š', '\u{9A}'),
    ('›', '\u{9B}'),
    ('œ', '\u{9C}'),
    ('Ÿ', '\u{9F}'),
];

const SJIS: Differs = &[
    ('＼', '\\'),
    ('～', '〜'),
    ('∥', '‖'),
    ('－', '−'),
    ('￠', '¢'),
    ('￡', '£'),
    ('￢', '¬'),
];

const BIG5: Differs = &[
    ('‧', '•'),
    ('﹑', '､'),
    ('¯', '‾'),
    ('～', '∼'),
    ('⊕', '♁'),
    ('⊙', '☉'),
    ('∕', '／'),
    ('﹨', '＼'),
    ('￥', '¥'),
    ('￠', '¢'),
    ('￡', '£'),
];

impl Charset {
    /// The set of this name; `None` if we can't read it.
    pub(super) fn named(name: &str) -> Option<Self> {
        use encoding_rs as whatwg;
        let (encoding, differs): (_, Differs) = match name {
            "binary" => return Some(Self::Binary),
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => return Some(Self::Utf8),
            "utf32" => return Some(Self::Utf32),
            "ucs2" | "utf16" => (whatwg::UTF_16BE, &[]),
            "utf16le" => (whatwg::UTF_16LE, &[]),
            // MySQL's latin1 is Windows' code page 1252, its five holes being control characters.
            "latin1" => (whatwg::WINDOWS_1252, &[]),
            "latin2" => (whatwg::ISO_8859_2, &[]),
            "latin5" => (whatwg::WINDOWS_1254, CONTROLS),
            "latin7" => (whatwg::ISO_8859_13, &[]),
            "greek" => (whatwg::ISO_8859_7, &[('‘', 'ʽ'), ('’', 'ʼ')]),
            "hebrew" => (whatwg::ISO_8859_8, &[('¯', '‾')]),
            "cp1250" => (whatwg::WINDOWS_1250, &[]),
            "cp1251" => (whatwg::WINDOWS_1251, &[]),
            "cp1256" => (whatwg::WINDOWS_1256, &[]),
            "cp1257" => (whatwg::WINDOWS_1257, &[]),
            "cp866" => (whatwg::IBM866, &[('№', 'ⁿ'), ('¤', '²')]),
            "koi8r" => (whatwg::KOI8_R, &[]),
            "koi8u" => (whatwg::KOI8_U, &[('∙', '•'), ('ў', '╝'), ('Ў', '╬')]),
            "macroman" => (whatwg::MACINTOSH, &[]),
            "tis620" => (whatwg::WINDOWS_874, CONTROLS),
            "big5" => (whatwg::BIG5, BIG5),
            "gb2312" => (whatwg::GBK, &[('·', '・'), ('—', '―')]),
            "gbk" => (whatwg::GBK, &[]),
            "gb18030" => (whatwg::GB18030, &[]),
            "euckr" => (whatwg::EUC_KR, &[]),
            "sjis" => (whatwg::SHIFT_JIS, SJIS),
            "cp932" => (whatwg::SHIFT_JIS, &[]),
            "ujis" => (whatwg::EUC_JP, SJIS),
            "eucjpms" => (whatwg::EUC_JP, &[]),
            _ => return None,
        };
        Some(Self::Other(encoding, differs))
    }

    /// The set to which a collation's number belongs; `None` if we can't read it.
    pub(super) fn of_collation(number: usize) -> Option<Self> {
        use mysql_common::collations::CollationId;
        // From here on MariaDB has its uca1400 collations, 256 for each set (MariaDB's
        // ctype-uca1400.h).
        match number {
            2048..=2559 => return Some(Self::Utf8),
            2560..=3071 => return Self::named("utf16"),
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
            Self::Utf32 => {
                let (units, rest) = text.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(Broken);
                }
                for unit in units {
                    let char = char::from_u32(u32::from_be_bytes(*unit)).ok_or(Broken)?;
                    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            Self::Other(encoding, differs) => {
                if characters(encoding, text).any(|character| is_other(encoding, character)) {
                    return Err(Broken);
                }
                let text = encoding.decode_without_bom_handling_and_without_replacement(text);
                let text = text.ok_or(Broken)?;
                if differs.is_empty() || text.is_ascii() {
                    out.extend_from_slice(text.as_bytes());
                    return Ok(());
                }
                for char in text.chars() {
                    let theirs = differs.iter().find(|(ours, _)| *ours == char);
                    let char = theirs.map_or(char, |(_, theirs)| *theirs);
                    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        Ok(())
    }
}

/// Whether the server takes this for another character than the WHATWG does, by the byte it begins
/// with: a vendor's, or users' own. Texts with such are refused.
fn is_other(encoding: &'static Encoding, character: &[u8]) -> bool {
    match character {
        [0xC6 | 0xC7, ..] => encoding == encoding_rs::BIG5,
        [0xF5..=0xFE, ..] | [0x8F, 0xA2, 0xB7 | 0xC3] => encoding == encoding_rs::EUC_JP,
        _ => false,
    }
}

/// The bytes of each character, where there may be such.
fn characters<'a>(encoding: &'static Encoding, text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let japanese = encoding == encoding_rs::EUC_JP;
    let mut rest = match japanese || encoding == encoding_rs::BIG5 {
        true => text,
        false => &[],
    };
    std::iter::from_fn(move || {
        let length = match rest.first()? {
            0..0x80 => 1,
            0x8F if japanese => 3,
            _ => 2,
        };
        let (character, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        Some(character)
    })
}

#[cfg(test)]
mod tests {
    use tidegate_testkit::servers::mariadb;

    use super::*;

    fn read(charset: Charset, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        charset.write(bytes, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_become_utf8() {
        let of = |name| Charset::named(name).unwrap();
        assert_eq!(read(of("latin1"), b"caf\xE9 \x80\x81"), "café €\u{81}");
        assert_eq!(read(of("utf16"), &[0, 0x41, 0xD8, 0x3D, 0xDE, 0]), "A😀");
        assert_eq!(read(of("utf16le"), &[0x41, 0]), "A");
        assert_eq!(read(of("utf32"), &[0, 1, 0xF6, 0]), "😀");
        assert!(of("utf16").write(&[0], &mut Vec::new()).is_err());
    }

    #[test]
    fn collations_are_known_by_number() {
        let of = Charset::of_collation;
        assert_eq!(of(63), Some(Charset::Binary));
        assert_eq!(of(8), Charset::named("latin1"));
        // utf8mb4_general_ci, utf8mb4_0900_ai_ci, utf8mb4_nopad_bin, utf8mb4_uca1400_ai_ci.
        for number in [45, 255, 1070, 2304] {
            assert_eq!(of(number), Some(Charset::Utf8), "{number}");
        }
        assert_eq!(of(3), None, "dec8");
    }

    /// Every code of one and two bytes, for Japanese also of three, read by both. What we don't read
    /// is told, and rejected. (gb18030 is MySQL's alone, so it is compared with nothing.)
    #[test]
    fn no_other_character_than_the_servers() {
        let server = mariadb();
        let mut wrong = Vec::new();
        for name in [
            "latin1", "latin2", "latin5", "latin7", "greek", "hebrew", "cp1250", "cp1251",
            "cp1256", "cp1257", "cp866", "koi8r", "koi8u", "macroman", "tis620", "big5", "gb2312",
            "gbk", "euckr", "sjis", "cp932", "ujis", "eucjpms",
        ] {
            let in_part = matches!(name, "big5" | "ujis" | "eucjpms");
            let charset = Charset::named(name).unwrap();
            let three = match name {
                "ujis" | "eucjpms" => "UNION SELECT seq + 0x8F0000 FROM seq_41377_to_65278",
                _ => "",
            };
            // What has no character gives NULL, and what has none in Unicode a replacement.
            let codes = server.sql(&format!(
                "USE mysql; SELECT HEX(c), HEX(CONVERT(c USING utf8mb4))
                 FROM (SELECT CHAR(n USING {name}) AS c
                 FROM (SELECT seq AS n FROM seq_0_to_65535 {three}) AS codes) AS chars
                 WHERE c IS NOT NULL AND CHAR_LENGTH(c) = 1"
            ));
            let (mut same, mut broken) = (0, 0);
            for line in codes.lines() {
                let (code, theirs) = line.split_once('\t').unwrap();
                if theirs == "EFBFBD" || theirs == "3F" && code != "3F" {
                    continue;
                }
                let mut ours = Vec::new();
                match charset.write(&hex::decode(code).unwrap(), &mut ours) {
                    Err(Broken) => broken += 1,
                    Ok(()) if hex::encode_upper(&ours) == theirs => same += 1,
                    Ok(()) => wrong.push(format!("{name} {code}: {}", hex::encode_upper(&ours))),
                }
            }
            assert!(same > 100, "{name}: {same}");
            assert_eq!(broken > 0, in_part, "{name}: {broken} of {same}");
        }
        assert_eq!(wrong, Vec::<String>::new());
    }
}
