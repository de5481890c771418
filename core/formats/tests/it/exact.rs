//! Columns whose types were learnt take what they would have been learnt from, and nothing else.

use proptest::prelude::*;
use tidegate_core::{Decoded, Scan};
use tidegate_formats::{CsvOptions, Decoder, Encoder, Format, infer};

/// Records read with the types that the first one alone tells.
fn read(format: Format, first: &str, later: &str) -> Decoded {
    let csv = CsvOptions::default();
    let schema = infer(format, &csv, first.to_owned().into(), true).unwrap();
    let mut decoder = Decoder::new(format, &csv, schema, &Scan::all("s")).unwrap();
    decoder.exact(true);
    let text = format!("{first}{later}");
    decoder.decode_all(text.into(), &"file".into()).unwrap()
}

fn written(format: Format, decoded: &Decoded) -> Vec<String> {
    let mut out = Vec::new();
    for batch in &decoded.batches {
        let mut encoder = Encoder::new(format, &CsvOptions::default(), &batch.schema()).unwrap();
        encoder.start(&mut out);
        encoder.encode(batch, &mut out).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// What became of each value in a CSV column learnt from `first`.
fn csv(first: &str, later: &[&str]) -> Vec<Option<String>> {
    let rows: String = later.iter().map(|value| format!("{value},\n")).collect();
    let decoded = read(Format::Csv, &format!("a,b\n{first},\n"), &rows);
    let mut kept = written(Format::Csv, &decoded).into_iter().skip(2);
    let refused: Vec<_> = decoded.rejected.rows.iter().map(|row| &row.row).collect();
    let taken = later.iter().map(|value| {
        let refused = refused.contains(&&format!("{value},"));
        (!refused).then(|| kept.next().unwrap().trim_end_matches(',').to_owned())
    });
    taken.collect()
}

#[test]
fn a5_a_value_that_a_learnt_type_would_bend_is_rejected() {
    for (first, later) in [
        (
            "1000",
            &[
                "01234",
                "+49",
                "12E4",
                "1e3",
                "1.0",
                " 7",
                "7 ",
                "-0",
                "abc",
                "nan",
                "9223372036854775808",
            ][..],
        ),
        (
            "1.5",
            &[
                "0012",
                "00.5",
                "+1.5",
                "1.10",
                ".5",
                "1.",
                "12E4",
                "nan",
                "inf",
                "-Infinity",
                "9007199254740993",
                "12345678901234567.89",
                "1e400",
                "1e-400",
                " 1.5",
            ],
        ),
        (
            "1.50",
            &["1.5", "1", "1.500", "01.50", "+1.50", "1.50e0", "-0.00"],
        ),
        ("true", &["t", "T", "1", "True", "TRUE", "yes", " true"]),
        (
            "2024-01-05",
            &[
                "2024-1-5",
                "+2024-01-05",
                "2024-01-05 ",
                "2024-01-05T00:00:00",
            ],
        ),
        (
            "2024-01-05T10:00:00",
            &[
                "2024-01-05",
                "2024-01-05T10:00",
                "2024-01-05T10:00:00Z",
                "2024-01-05T10:00:00.1234567",
            ],
        ),
        (
            "2024-01-05T10:00:00Z",
            &[
                "2024-01-05T10:00:00+02:00",
                "2024-01-05T10:00:00",
                "2024-01-05",
            ],
        ),
    ] {
        let found = csv(first, later);
        assert!(
            found.iter().all(Option::is_none),
            "{first}: {found:?} of {later:?}"
        );
    }
    let same = |first, later: &[&str]| {
        let found = csv(first, later);
        let wanted: Vec<_> = later
            .iter()
            .map(|value| Some((*value).to_owned()))
            .collect();
        assert_eq!(found, wanted, "{first}");
    };
    same("1000", &["-7", "0", "9223372036854775807", ""]);
    same(
        "1.5",
        &[
            "-0.25",
            "0.0",
            "-0.0",
            "100.0",
            "0.30000000000000004",
            "1.5e-7",
            "2.5e+16",
        ],
    );
    same(
        "1.50",
        &["-0.01", "123456789012345678901234567890123456.78"],
    );
    same("true", &["false", "true"]);
    same("2024-01-05", &["9999-12-31", "0001-01-01"]);
    let decoded = read(Format::Csv, "a,b\n1,\n", "007,\n");
    let reason = &decoded.rejected.rows[0].reason;
    assert!(
        reason.starts_with("column `a`: `007` would not stay as it is as int64"),
        "{reason}"
    );
}

#[test]
fn a5_json_strings_are_no_numbers() {
    let first =
        "{\"i\":1,\"f\":1.5,\"b\":true,\"n\":9223372036854775808,\"l\":[1],\"o\":{\"x\":2}}\n";
    let bent = [
        "{\"i\":\"7\"}",
        "{\"i\":\"007\"}",
        "{\"i\":\" 7 \"}",
        "{\"i\":\"+7\"}",
        "{\"i\":-0}",
        "{\"i\":1.5}",
        "{\"i\":true}",
        "{\"f\":\"nan\"}",
        "{\"f\":\"0012\"}",
        "{\"f\":9007199254740993}",
        "{\"f\":1e400}",
        "{\"f\":0.12345678901234567}",
        "{\"b\":\"true\"}",
        "{\"b\":\"1\"}",
        "{\"b\":1}",
        "{\"n\":\"5\"}",
        "{\"n\":0.5}",
        "{\"l\":[\"7\"]}",
        "{\"o\":{\"x\":\"07\"}}",
    ];
    let decoded = read(Format::Ndjson, first, &bent.join("\n"));
    let refused: Vec<_> = decoded.rejected.rows.iter().map(|row| &row.row).collect();
    assert_eq!(refused, bent);
    // A number in JSON is its value, however it is written.
    let same =
        "{\"i\":1.0}\n{\"i\":1e3}\n{\"f\":3}\n{\"f\":1.10}\n{\"f\":-0.0}\n{\"f\":1E5}\n{\"n\":7}\n";
    let decoded = read(Format::Ndjson, first, same);
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
}

proptest! {
    /// What is learnt from values, and what comes after them, is written as it was read.
    #[test]
    fn no_csv_value_is_changed(
        sample in prop::collection::vec("-?[0-9]{1,3}(\\.[0-9]{1,3})?(e[+-]?[0-9]{1,3})?", 1..4),
        later in prop::collection::vec("[+-]?[0-9]{0,18}\\.?[0-9]{0,4}(e[+-]?[0-9]{1,3})?|true|t", 1..8),
    ) {
        let rows = |values: &[String]| values.iter().map(|value| format!("{value},x\n")).collect::<String>();
        let first = format!("a,b\n{}", rows(&sample));
        let decoded = read(Format::Csv, &first, &rows(&later));
        let refused: Vec<_> = decoded.rejected.rows.iter().map(|row| row.row.clone()).collect();
        let all = sample.iter().chain(&later).map(|value| format!("{value},x"));
        let kept: Vec<_> = all.filter(|row| !refused.contains(row)).collect();
        for (written, read) in written(Format::Csv, &decoded).iter().skip(1).zip(kept) {
            // A whole number among fractions gets a point, and exponents are written in several ways.
            let plain = |text: &str| {
                let value = text.trim_end_matches(",x");
                match value.contains('e') && value.parse::<f64>().is_ok() {
                    true => value.parse::<f64>().unwrap().to_string(),
                    false => value.trim_end_matches(".0").to_owned(),
                }
            };
            prop_assert_eq!(plain(written), plain(&read));
        }
    }
}
