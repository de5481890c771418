//! NDJSON and JSON: see [`tidegate_fuzz::text`]. The first two bytes say how it is read.

#![no_main]

use tidegate_formats::{CsvOptions, Format};
use tidegate_fuzz::Mode;

const SCHEMA: &str = r#"[{"name": "a", "type": "int64"}, {"name": "b", "type": "decimal(38,4)"},
    {"name": "c", "type": "timestamp"}, {"name": "d", "type": "list<struct<x:float32,y:uint8>>"},
    {"name": "e", "type": "binary"}, {"name": "f", "type": "json"}, {"name": "g", "type": "bool"},
    {"name": "h", "type": "struct<a:string,b:list<list<date>>>"}]"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_fuzz::case(data, |data| {
        let [how, sizes, file @ ..] = data else {
            return;
        };
        let mode = Mode {
            format: [Format::Ndjson, Format::Json][usize::from(how & 1)],
            csv: CsvOptions::default(),
            chunk: 1 << (sizes & 7),
            piece: 1 + usize::from(sizes >> 3),
            schema: SCHEMA,
        };
        tidegate_fuzz::text(&mode, file);
    });
});
