use bytes::Bytes;
use proptest::prelude::*;
use tidegate_core::{ErrorKind, Result};
use tidegate_formats::{Chunk, CsvHeader, CsvOptions, Format, Position, Splitter};

/// All chunks of the bytes from a position on, pushed in pieces.
fn chunks_from(
    format: Format,
    bytes: &[u8],
    from: Position,
    size: usize,
    piece: usize,
) -> Result<Vec<Chunk>> {
    let mut splitter = Splitter::new(format, &CsvOptions::default(), from)?.chunk_size(size);
    let mut chunks = Vec::new();
    for piece in bytes[from.offset as usize..].chunks(piece.max(1)) {
        splitter.push(Bytes::copy_from_slice(piece));
        while let Some(chunk) = splitter.next()? {
            chunks.push(chunk);
        }
    }
    splitter.finish();
    while let Some(chunk) = splitter.next()? {
        chunks.push(chunk);
    }
    assert!(splitter.is_done());
    Ok(chunks)
}

fn chunks(format: Format, bytes: &[u8], size: usize, piece: usize) -> Vec<Chunk> {
    chunks_from(format, bytes, Position::start(), size, piece).unwrap()
}

fn texts(format: Format, text: &str) -> Vec<String> {
    let chunks = chunks(format, text.as_bytes(), 1, usize::MAX);
    chunks
        .iter()
        .map(|chunk| String::from_utf8(chunk.bytes.to_vec()).unwrap())
        .collect()
}

#[test]
fn records_end_where_each_format_says() {
    assert_eq!(
        texts(Format::Ndjson, "\u{feff}{}\r\n\n{}"),
        ["{}\r\n", "\n", "{}"]
    );
    assert_eq!(
        texts(Format::Csv, "a,b\n1,\"x\ny\"\n2,\"\"\"\n\"\n3,5\"\n"),
        ["1,\"x\ny\"\n", "2,\"\"\"\n\"\n", "3,5\"\n"]
    );
    assert_eq!(
        texts(Format::Json, " [ {\"a\":\"]\\\"\"} , [1,{}],2 ] "),
        [" {\"a\":\"]\\\"\"}", " , [1,{}]", ",2"]
    );
    assert_eq!(texts(Format::Json, "{\"a\":{}}"), ["{\"a\":{}}"]);
    assert_eq!(texts(Format::Json, "{}\n{} [] [{}]"), ["{}", "\n{}", "{}"]);
    assert_eq!(texts(Format::Json, "1 2"), ["1", " 2"]);
    assert_eq!(texts(Format::Json, ""), [""; 0]);
    assert_eq!(texts(Format::Raw, "\u{feff}any"), ["\u{feff}any"]);
    assert_eq!(texts(Format::Raw, ""), [""]);
}

#[test]
fn a_json_file_that_is_cut_or_out_of_joint_is_an_error() {
    for (text, message) in [
        ("[{},{}", "truncated"),
        ("[{},", "truncated"),
        ("{\"a\":\"", "truncated"),
        ("[{} {}]", "between an array's values"),
        ("[,{}]", "expected a value"),
        ("[{},]", "expected a value"),
        ("[{}]]", "expected a value"),
    ] {
        let error =
            chunks_from(Format::Json, text.as_bytes(), Position::start(), 100, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
}

#[test]
fn a_record_without_end_is_an_error_with_a_hint() {
    let text = format!("a,b\n1,\"{}", "x\n".repeat(1000));
    let mut splitter = Splitter::new(Format::Csv, &CsvOptions::default(), Position::start())
        .unwrap()
        .chunk_size(10)
        .max_record(500);
    splitter.push(text.into());
    let error = splitter.next().unwrap_err();
    assert!(error.to_string().contains("line: 2"), "{error}");
    assert!(error.hint_text().unwrap().contains("quote"));
}

#[test]
fn a_mark_that_reaches_over_a_range_s_end_takes_no_record_along() {
    for text in [
        &b"\xEF\xBB\xBF{\"a\":1}\n{\"a\":2}\n"[..],
        b"\xEF\xBB\xBF{\"a\":1}",
    ] {
        // All at once, and byte by byte.
        for (cut, piece) in (1..=4).flat_map(|cut| [(cut, text.len()), (cut, 1)]) {
            let mut records = Vec::new();
            for (start, end) in [(0, cut), (cut, text.len() as u64)] {
                let mut splitter = Splitter::range(Format::Ndjson, start, end).unwrap();
                let rest = &text[splitter.offset() as usize..];
                for bytes in rest.chunks(piece) {
                    splitter.push(Bytes::copy_from_slice(bytes));
                    while let Some(chunk) = splitter.next().unwrap() {
                        records.extend_from_slice(&chunk.bytes);
                    }
                }
                splitter.finish();
                while let Some(chunk) = splitter.next().unwrap() {
                    records.extend_from_slice(&chunk.bytes);
                }
            }
            assert_eq!(records, text[3..], "cut at {cut}, in pieces of {piece}");
        }
    }
}

#[test]
fn the_header_is_read_and_kept_out_of_the_chunks() {
    let text = "\u{feff}\"id\",\"the\nname\"\r\n1,2\r\n";
    let mut splitter =
        Splitter::new(Format::Csv, &CsvOptions::default(), Position::start()).unwrap();
    splitter.push(text.into());
    splitter.finish();
    let chunk = splitter.next().unwrap().unwrap();
    assert_eq!(
        (&chunk.bytes[..], chunk.start.line),
        (&b"1,2\r\n"[..], Some(3))
    );
    let names = splitter.header().unwrap().names();
    assert_eq!(names, ["id", "the\nname"]);
    let parse =
        |text: &str, complete| CsvHeader::parse(text.as_bytes(), &CsvOptions::default(), complete);
    assert_eq!(parse("id,na", false).unwrap(), None);
    assert_eq!(parse("id,na", true).unwrap().unwrap().names(), ["id", "na"]);
}

/// The names of a header and what its first row is cut into.
fn headed(text: &str) -> (Vec<String>, String) {
    let mut splitter =
        Splitter::new(Format::Csv, &CsvOptions::default(), Position::start()).unwrap();
    splitter.push(text.to_owned().into());
    splitter.finish();
    let rows = splitter.next().unwrap().map(|chunk| chunk.bytes);
    let names = splitter.header().unwrap().names().to_vec();
    let rows = String::from_utf8(rows.unwrap_or_default().to_vec()).unwrap();
    (names, rows)
}

#[test]
fn c3_columns_without_a_name_of_their_own_get_one() {
    let names = |text: &str| headed(text).0;
    assert_eq!(names("id,name,\n1,x,\n"), ["id", "name", "column3"]);
    assert_eq!(names(",id, \n"), ["column1", "id", "column3"]);
    assert_eq!(names("a,a,a\n"), ["a", "a_2", "a_3"]);
    // What is made is not what is written, wherever that stands.
    assert_eq!(names("a,a,a_2,a\n"), ["a", "a_3", "a_2", "a_4"]);
    assert_eq!(names("column2,\n"), ["column2", "column2_2"]);
    assert_eq!(
        names("column2_2,,column2\n"),
        ["column2_2", "column2_3", "column2"]
    );
    assert_eq!(names("a,A\n"), ["a", "A"]);
    assert_eq!(names("  \n\nid,n\n1,2\n"), ["id", "n"]);
}

#[test]
fn c9_the_header_tells_what_stands_between_fields() {
    for (text, names) in [
        ("id;city\n1;Oslo\n", &["id", "city"][..]),
        ("id\tcity\n1\tOslo\n", &["id", "city"]),
        ("id|city\n1|Oslo\n", &["id", "city"]),
        ("id;price | NOK;x\n", &["id", "price | NOK", "x"]),
        ("\"a,b\";c\n", &["a,b", "c"]),
        ("a;b,c\n", &["a;b", "c"]),
        ("\"a;b\"\n", &["a;b"]),
        ("sep=;\r\na;b\r\n1;2\r\n", &["a", "b"]),
        ("\u{feff}SEP=\t\na\tb,c\n", &["a", "b,c"]),
        ("\"sep=|\"\na|b\n", &["a", "b"]),
        ("sep=,\na,b\n", &["a", "b"]),
        ("sep=x,y\n", &["sep=x", "y"]),
        ("separator\n", &["separator"]),
        ("se", &["se"]),
    ] {
        assert_eq!(headed(text).0, names, "{text:?}");
    }
    let given = CsvOptions {
        delimiter: Some(','),
        ..CsvOptions::default()
    };
    let header = CsvHeader::parse(b"a;b\n1;2\n", &given, true)
        .unwrap()
        .unwrap();
    assert_eq!(header.names(), ["a;b"]);
    let headless = CsvOptions {
        header: false,
        ..given
    };
    let mut splitter = Splitter::new(Format::Csv, &headless, Position::start()).unwrap();
    splitter.push("sep=;\n1;2\n".into());
    splitter.finish();
    assert!(
        splitter
            .next()
            .unwrap_err()
            .hint_text()
            .unwrap()
            .contains("delimiter = ';'")
    );
}

#[test]
fn a7_lone_cr_ends_a_record() {
    assert_eq!(
        texts(Format::Csv, "id,city\r1,Oslo\r2,\"a\rb\"\r"),
        ["1,Oslo\r", "2,\"a\rb\"\r"]
    );
    assert_eq!(
        texts(Format::Csv, "a,b\r\n1,x\r2,y\n3,z\r\n\r4,w"),
        ["1,x\r", "2,y\n", "3,z\r\n", "\r", "4,w"]
    );
    let chunks = chunks(Format::Csv, b"a,b\r1,x\r2,y\r", 1, 1);
    let lines: Vec<_> = chunks.iter().map(|chunk| chunk.start.line).collect();
    assert_eq!(lines, [Some(2), Some(3)]);
}

#[test]
fn c4_objects_of_ndjson_may_stand_freely() {
    for (text, records) in [
        ("{\"a\":1}{\"a\":2}", &["{\"a\":1}", "{\"a\":2}"][..]),
        ("{\"a\":1} {\"a\":2}\n", &["{\"a\":1}", " {\"a\":2}"]),
        ("{\"a\":1}\r{\"a\":2}\r", &["{\"a\":1}", "\r{\"a\":2}"]),
        (
            "{\n \"a\":1\n}\n{\n \"a\":2\n}\n",
            &["{\n \"a\":1\n}", "\n{\n \"a\":2\n}"],
        ),
        (
            "\n[\n{\"a\":1},\n{\"a\":2}\n]\n",
            &["\n{\"a\":1}", ",\n{\"a\":2}"],
        ),
        ("[{\"a\":1}]\n[{\"a\":2}]\n", &["{\"a\":1}", "{\"a\":2}"]),
        // Lines, of which some are to be rejected.
        ("{\"a\":\n{\"a\":2}\n", &["{\"a\":\n", "{\"a\":2}\n"]),
        ("{\"a\":\"x\n{\"a\":2}\n", &["{\"a\":\"x\n", "{\"a\":2}\n"]),
        ("{\"a\":1} x\n{}\n", &["{\"a\":1} x\n", "{}\n"]),
        ("[1]\n{}\n", &["[1]\n", "{}\n"]),
        ("{\"a\":1}\n{}{}\n", &["{\"a\":1}\n", "{}{}\n"]),
        ("[]", &[]),
    ] {
        assert_eq!(texts(Format::Ndjson, text), records, "{text:?}");
    }
}

/// Text that is mostly made of what matters to the formats.
fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "\"", "\"\"", "\n", "\r\n", "\r", ",", "a", "bc", "{}", "é", "\\", "1", ";", "", "   ",
    ]);
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

/// A valid JSON file of some kind.
fn json_file() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        r#"{"a":"x,]}\"\\"}"#,
        r#"{"b":[1,[2,{}]]}"#,
        "{}",
        "[]",
        "12",
        "\"s\\\\\"",
        "null",
        "{\n\"a\" : 1\n}",
    ]);
    let values = || prop::collection::vec(value.clone(), 0..8);
    prop_oneof![
        values().prop_map(|values| format!(" [ {} ]\n", values.join(" ,\n"))),
        values().prop_map(|values| {
            let objects = values.iter().filter(|value| !value.starts_with('['));
            objects.copied().collect::<Vec<_>>().join("\n ")
        }),
        (values(), values()).prop_map(|(a, b)| format!("[{}]\n[{}]", a.join(","), b.join(","))),
    ]
}

fn laws(format: Format, bytes: &[u8], size: usize, piece: usize) -> Result<(), TestCaseError> {
    let Ok(whole) = chunks_from(format, bytes, Position::start(), size, usize::MAX) else {
        // What is no file of the format is none in pieces either.
        prop_assert!(chunks_from(format, bytes, Position::start(), size, piece).is_err());
        return Ok(());
    };
    prop_assert_eq!(&chunks(format, bytes, size, piece), &whole);
    for (at, chunk) in whole.iter().enumerate() {
        let (start, end) = (chunk.start.offset as usize, chunk.end.offset as usize);
        prop_assert_eq!(&bytes[start..end], &chunk.bytes[..]);
        let line = 1 + bytes[..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        // In a file of several kinds of newlines, it depends on who counts.
        let returns = bytes.iter().filter(|byte| **byte == b'\r').count();
        let pairs = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
        prop_assert!(returns > pairs || chunk.start.line == Some(line));
        let rest = chunks_from(format, bytes, chunk.end, size, piece).unwrap();
        prop_assert_eq!(&rest, &whole[at + 1..], "resumed at {:?}", chunk.end);
    }
    Ok(())
}

proptest! {
    #[test]
    fn chunks_are_the_same_in_pieces_and_after_a_resume(
        text in soup(), size in 1usize..40, piece in 1usize..9,
    ) {
        laws(Format::Ndjson, text.replace('\r', "").as_bytes(), size, piece)?;
        laws(Format::Csv, format!("h\n{text}").as_bytes(), size, piece)?;
    }

    #[test]
    fn so_are_those_of_json(text in json_file(), size in 1usize..40, piece in 1usize..9) {
        laws(Format::Json, text.as_bytes(), size, piece)?;
        if text.contains("{") {
            laws(Format::Ndjson, text.as_bytes(), size, piece)?;
        }
    }

    #[test]
    fn ranges_that_cover_a_file_give_each_record_once(
        text in soup(), mut cuts in prop::collection::vec(0u64..80, 0..4), piece in 1usize..9,
        size in 1usize..30,
    ) {
        let text = text.trim_start_matches('\u{feff}');
        let bytes = text.as_bytes();
        cuts.extend([0, bytes.len() as u64]);
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len() as u64));
        cuts.sort_unstable();
        let mut records = Vec::new();
        for range in cuts.windows(2) {
            let mut splitter = Splitter::range(Format::Ndjson, range[0], range[1]).unwrap().chunk_size(size);
            while !splitter.is_done() {
                while let Some(chunk) = splitter.next().unwrap() {
                    prop_assert!(chunk.start.offset >= range[0] && chunk.start.offset < range[1]);
                    records.extend_from_slice(&chunk.bytes);
                    let mut again =
                        Splitter::resume_range(Format::Ndjson, chunk.end, range[1]).unwrap();
                    again.push(Bytes::copy_from_slice(&bytes[again.offset() as usize..]));
                    again.finish();
                    let mut rest = 0;
                    while let Some(chunk) = again.next().unwrap() {
                        rest += chunk.bytes.len();
                    }
                    prop_assert!(rest == 0 || chunk.end.offset < range[1]);
                }
                let at = splitter.offset() as usize;
                if at == bytes.len() {
                    splitter.finish();
                } else {
                    let end = bytes.len().min(at + piece);
                    splitter.push(Bytes::copy_from_slice(&bytes[at..end]));
                }
            }
        }
        prop_assert_eq!(records, bytes);
    }
}
