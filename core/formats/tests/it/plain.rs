use std::io::Write;

use bytes::Bytes;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tidegate_core::{Error, Result};
use tidegate_formats::{Compression, PlainText};

fn text(compression: Compression, bytes: &[u8], piece: usize) -> Result<String> {
    let mut plain = PlainText::new(compression)?;
    let mut text = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        plain.push(Bytes::copy_from_slice(piece))?;
        while let Some(bytes) = plain.next()? {
            text.extend_from_slice(&bytes);
        }
    }
    plain.finish()?;
    while let Some(bytes) = plain.next()? {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).map_err(|_| Error::data("not UTF-8"))
}

fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
    let bytes = |unit: u16| match big_endian {
        true => unit.to_be_bytes(),
        false => unit.to_le_bytes(),
    };
    text.encode_utf16().flat_map(bytes).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn a15_utf_16_is_decoded_by_its_mark_and_recognised_without() {
    for long in [
        "id,v\n1,Ōsaka 😀\n".to_owned(),
        "id,v\n1,Ōsaka 😀\n".repeat(500),
    ] {
        for big_endian in [false, true] {
            let marked = utf16(&format!("\u{feff}{long}"), big_endian);
            for piece in [1, 3, 1024, usize::MAX] {
                assert_eq!(text(Compression::None, &marked, piece).unwrap(), long);
                assert_eq!(
                    text(Compression::Gzip, &gzip(&marked), piece).unwrap(),
                    long
                );
                assert_eq!(
                    text(Compression::None, &gzip(&marked), piece).unwrap(),
                    long
                );
            }
            let error = text(Compression::None, &utf16(&long, big_endian), 7).unwrap_err();
            assert!(error.to_string().contains("looks like UTF-16"), "{error}");
            assert!(error.hint_text().unwrap().contains("iconv -f UTF-16"));
            let cut = &marked[..marked.len() - 1];
            assert!(
                text(Compression::None, cut, 5)
                    .unwrap_err()
                    .to_string()
                    .contains("malformed")
            );
        }
    }
    for (bytes, name) in [
        (&b"\xFF\xFE\0\0a\0\0\0"[..], "is UTF-32LE"),
        (b"\0\0\xFE\xFF\0\0\0a", "is UTF-32BE"),
        (b"a\0\0\0,\0\0\0", "looks like UTF-32LE"),
        (b"\0\0\0a\0\0\0,", "looks like UTF-32BE"),
        (b"\xFF\xFE\x00\xD8a\0", "malformed"),
        (b"PK\x03\x04rest", "ZIP archive"),
    ] {
        let error = text(Compression::None, bytes, 3).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(text(Compression::None, b"a\0b\n", 1).unwrap(), "a\0b\n");
    assert_eq!(text(Compression::None, b"", 1).unwrap(), "");
    assert!(PlainText::is_verbatim(b"id,v") && !PlainText::is_verbatim(b"\xFE\xFF\0i"));
}

#[test]
fn c9_compressed_bytes_are_known_without_a_name() {
    let zstd = zstd::bulk::compress(b"id\n1\n", 1).unwrap();
    for piece in [1, 2, 100] {
        assert_eq!(
            text(Compression::None, &gzip(b"id\n1\n"), piece).unwrap(),
            "id\n1\n"
        );
        assert_eq!(text(Compression::None, &zstd, piece).unwrap(), "id\n1\n");
    }
}

#[test]
fn c7_padding_follows_gzip_and_nothing_else() {
    for behind in [&b"\n"[..], b"\r\n", b"\0\0\0", b"\0\n\n"] {
        for piece in [1, 100] {
            let padded = [&gzip(b"one,"), behind].concat();
            assert_eq!(text(Compression::Gzip, &padded, piece).unwrap(), "one,");
            let more = [padded, gzip(b"two")].concat();
            assert_eq!(text(Compression::Gzip, &more, piece).unwrap(), "one,two");
        }
    }
    for garbage in [&b"garbage"[..], b"\nx", b" "] {
        for piece in [1, 100] {
            let error =
                text(Compression::Gzip, &[&gzip(b"one"), garbage].concat(), piece).unwrap_err();
            assert!(
                error.to_string().contains("follow the gzip data"),
                "{error}"
            );
            assert!(error.hint_text().is_some());
        }
    }
}

#[test]
fn c7_zstd_windows_of_any_size_are_read() {
    for log in [27, 28, 31] {
        let mut encoder = zstd::stream::raw::Encoder::new(1).unwrap();
        encoder
            .set_parameter(zstd::stream::raw::CParameter::WindowLog(log))
            .unwrap();
        let mut writer = zstd::stream::zio::Writer::new(Vec::new(), encoder);
        writer.write_all(&b"id\n1\n".repeat(1000)).unwrap();
        writer.finish().unwrap();
        let bytes = writer.into_inner().0;
        assert_eq!(
            text(Compression::Zstd, &bytes, 50).unwrap(),
            "id\n1\n".repeat(1000),
            "{log}"
        );
    }
}

proptest! {
    #[test]
    fn utf_8_is_given_as_it_is(bytes in prop::collection::vec(any::<u8>(), 0..3000), piece in 1usize..2000) {
        if let Ok(found) = text(Compression::None, &bytes, piece) {
            let compressed = bytes.starts_with(&[0x1F, 0x8B, 8]) || bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
            prop_assert!(compressed || found.as_bytes() == bytes);
        }
    }
}
