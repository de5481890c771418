use bytes::Bytes;
use proptest::prelude::*;
use tidegate_core::{ErrorKind, Result};
use tidegate_formats::{Compression, Compressor, Decompressor};

fn decompress(compression: Compression, bytes: &[u8], piece: usize) -> Result<Vec<u8>> {
    let mut decompressor = Decompressor::new(compression)?;
    let mut plain = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decompressor.push(Bytes::copy_from_slice(piece));
        while let Some(bytes) = decompressor.next()? {
            assert!(compression == Compression::None || bytes.len() <= 256 << 10);
            plain.extend_from_slice(&bytes);
        }
    }
    decompressor.finish()?;
    Ok(plain)
}

const BOTH: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

proptest! {
    #[test]
    fn members_are_independent_and_read_as_one(
        parts in prop::collection::vec(prop::collection::vec(0u8..4, 0..5000), 0..4),
        piece in 1usize..300,
    ) {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut compressed = Vec::new();
            for part in &parts {
                Compressor::new(compression).compress(part, &mut compressed).unwrap();
            }
            let plain = decompress(compression, &compressed, piece).unwrap();
            prop_assert_eq!(&plain, &parts.concat());
        }
    }

    #[test]
    fn a_truncated_file_is_an_error(cut in 1usize..200) {
        for compression in BOTH {
            let mut compressed = Vec::new();
            let plain: Vec<u8> = (0..2000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
            Compressor::new(compression).compress(&plain, &mut compressed).unwrap();
            let cut = &compressed[..compressed.len() - cut.min(compressed.len() - 1)];
            let error = decompress(compression, cut, 64).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Data);
            prop_assert!(error.to_string().contains("truncated"), "{}", error);
        }
    }
}

#[test]
fn a_compressor_is_used_again_and_again() {
    for compression in BOTH {
        let mut compressor = Compressor::new(compression).level(1);
        let mut compressed = Vec::new();
        for _ in 0..3 {
            compressor.compress(b"tide", &mut compressed).unwrap();
        }
        assert_eq!(
            decompress(compression, &compressed, 7).unwrap(),
            b"tidetidetide"
        );
    }
}

#[test]
fn nothing_is_a_member_only_where_it_is_asked_for() {
    for compression in BOTH {
        let mut compressed = Vec::new();
        let mut compressor = Compressor::new(compression);
        compressor.compress(b"", &mut compressed).unwrap();
        assert!(compressed.is_empty());
        compressor.member(b"", &mut compressed).unwrap();
        assert!(!compressed.is_empty());
        assert_eq!(decompress(compression, &compressed, 7).unwrap(), b"");
    }
}

#[test]
fn what_grows_a_thousandfold_is_given_in_small_pieces() {
    let plain = vec![0u8; 20 << 20];
    for compression in BOTH {
        let mut compressed = Vec::new();
        Compressor::new(compression)
            .compress(&plain, &mut compressed)
            .unwrap();
        assert!(decompress(compression, &compressed, usize::MAX).unwrap() == plain);
    }
}

#[test]
fn damage_is_named() {
    for compression in BOTH {
        let mut compressed = Vec::new();
        let plain: Vec<u8> = (0..5000u32).flat_map(u32::to_le_bytes).collect();
        Compressor::new(compression)
            .compress(&plain, &mut compressed)
            .unwrap();
        let last = compressed.len() - 6;
        compressed[last] ^= 0xFF;
        let error = decompress(compression, &compressed, 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        let garbage =
            decompress(compression, b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", 100).unwrap_err();
        assert!(
            garbage.to_string().contains(compression.name()),
            "{garbage}"
        );
    }
}
