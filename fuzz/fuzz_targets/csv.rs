//! CSV: see [`tidegate_fuzz::text`]. The first two bytes say how it is read.

#![no_main]

use tidegate_formats::{CsvOptions, Format};
use tidegate_fuzz::Mode;

const SCHEMA: &str = r#"[{"name": "a", "type": "int64"}, {"name": "b", "type": "decimal(38,4)"},
    {"name": "c", "type": "timestamp"}, {"name": "d", "type": "list<struct<x:float32>>"},
    {"name": "e", "type": "binary"}, {"name": "f", "type": "time"}]"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_fuzz::case(data, |data| {
        let [how, sizes, file @ ..] = data else {
            return;
        };
        let csv = CsvOptions {
            header: how & 1 == 0,
            delimiter: [None, Some(';'), Some('\t'), Some(',')][usize::from(how >> 1 & 3)],
            quote: ['"', '\''][usize::from(how >> 3 & 1)],
            null: ["", "NULL"][usize::from(how >> 4 & 1)].to_owned(),
        };
        let mode = Mode {
            format: Format::Csv,
            csv,
            chunk: 1 << (sizes & 7),
            piece: 1 + usize::from(sizes >> 3),
            schema: SCHEMA,
        };
        tidegate_fuzz::text(&mode, file);
    });
});
