use tidegate_core::{ErrorKind, Result};
use tidegate_formats::{CsvOptions, Format, SchemaSpec, infer};

fn types(format: Format, sample: &str, complete: bool) -> Result<String> {
    let schema = infer(
        format,
        &CsvOptions::default(),
        sample.to_owned().into(),
        complete,
    )?;
    let spec = SchemaSpec::from_arrow(&schema);
    assert!(format == Format::Raw || spec.0.iter().all(|field| field.nullable));
    let fields = spec
        .0
        .iter()
        .map(|field| format!("{}:{}", field.name, field.type_));
    Ok(fields.collect::<Vec<_>>().join(" "))
}

#[test]
fn json_types_widen_and_never_lose() {
    let sample = r#"{"i":1,"f":1,"big":1,"n":null,"o":{"a":1},"l":[],"m":1,"t":"2024-01-01","e":{}}
{"i":-2,"f":1.5,"big":9223372036854775808,"o":{"b":[{"c":true}]},"l":[1,2.5],"m":"x","e":{}}
not json
{"i":null,"new":true,"f":null,"l":null}"#;
    assert_eq!(
        types(Format::Ndjson, sample, true).unwrap(),
        "i:int64 new:bool f:float64 big:decimal(38,0) n:string \
         o:struct<b:list<struct<c:bool>>,a:int64> l:list<float64> m:string t:string e:json"
    );
    assert_eq!(
        types(Format::Json, "[{\"a\":1},{\"a\":2},{\"b", false).unwrap(),
        "a:int64"
    );
    assert_eq!(
        types(Format::Json, "{\"a\":{\n\"b\":1}}", true).unwrap(),
        "a:struct<b:int64>"
    );
    assert!(types(Format::Json, "[{\"a\":1}", true).is_err());
}

#[test]
fn csv_types_are_those_that_can_be_written_back() {
    let sample = "id,code,price,flag,day,at,naive,mixed,empty,big,plus\n\
        1,00123,1.5,true,2024-01-01,2024-01-01T00:00:00Z,2024-01-01 10:00:00,1,,12345678901234567890,+49\n\
        -2,7,,false,,2024-01-01T00:00:00.5+00:00,2024-01-01T10:00:00.125,x,,1,1\n3,";
    assert_eq!(
        types(Format::Csv, sample, false).unwrap(),
        "id:int64 code:string price:float64 flag:bool day:date at:timestamp \
         naive:timestamp_naive mixed:string empty:string big:string plus:string"
    );
    assert_eq!(
        types(Format::Csv, "a,b\n", true).unwrap(),
        "a:string b:string"
    );
    assert!(types(Format::Csv, "", true).is_err());
}

/// The type of a CSV column that has these.
fn of_csv(values: &[&str]) -> String {
    let rows: String = values.iter().map(|value| format!("{value},\n")).collect();
    let found = types(Format::Csv, &format!("a,b\n{rows}"), true).unwrap();
    found[2..].split(' ').next().unwrap().to_owned()
}

/// The type of a JSON column that has these.
fn of_json(values: &[&str]) -> String {
    let rows: String = values
        .iter()
        .map(|value| format!("{{\"a\":{value}}}\n"))
        .collect();
    types(Format::Ndjson, &rows, true).unwrap()[2..].to_owned()
}

#[test]
fn a13_codes_and_versions_are_text() {
    for values in [
        &["12E12", "7e3"][..],
        &["7e3"],
        &["7e-3"],
        &["1e+03"],
        &["1e-00"],
        &["1E-07"],
        &["1E20"],
        &["12e20"],
        &["1.10", "1.9"],
        &["1.9", "1.10"],
        &["1.10", "2"],
        &["1.0.0"],
        &["007"],
        &["00.5"],
        &["+7"],
        &["+7.5"],
        &[" 7"],
        &["7 "],
        &["-0"],
        &["-01"],
        &["1."],
        &[".5"],
        &["-.5"],
        &["nan"],
        &["NaN", "1.5"],
        &["inf"],
        &["-Infinity"],
        &["1e400"],
        &["0x1F"],
        &["1_000"],
        &["-0.00", "1.50"],
        &["True"],
        &["TRUE", "FALSE"],
        &["t"],
        &["true", "1"],
        &["2024-1-5"],
        &["+2024-01-05"],
        &["20240105", "2024-01-05"],
        &["2024-02-30"],
        &["2024-01-05", "2024-01-05T10:00:00"],
        &["2024-01-05T10:00:00+02:00"],
        &["2024-01-05T10:00:00Z", "2024-01-05T10:00:00"],
        &["2024-01-05T24:00:00"],
        &["2024-01-05T10:00:60"],
        &["2024-01-05T10:00"],
        &["2024-01-05T10:00:00.1234567"],
        &["10:00:00"],
    ] {
        assert_eq!(of_csv(values), "string", "{values:?}");
    }
    for (values, found) in [
        (&["1.10", "2.50", "-3.00"][..], "decimal(38,2)"),
        (&["100.00"], "decimal(38,2)"),
        (&["12345678901234567.89", "0.50"], "decimal(38,2)"),
        (&["0.5", "-12.25", "1.0", "3"], "float64"),
        (&["1.10", "1.9", "x"], "string"),
        (&["0.00001", "1e-05", "1.5e-7", "2.5e+16"], "float64"),
        (&["0.30000000000000004", "0.1"], "float64"),
        (&["-0.0", "1"], "float64"),
        (&["0", "-7", "9223372036854775807"], "int64"),
        (&["9223372036854775808"], "string"),
        (&["1970-01-01", "9999-12-31"], "date"),
        (
            &["2024-01-05 10:00:00", "2024-01-05T10:00:00.123456"],
            "timestamp_naive",
        ),
        (
            &["2024-01-05 10:00:00Z", "2024-01-05T10:00:00+00:00"],
            "timestamp",
        ),
    ] {
        assert_eq!(of_csv(values), found, "{values:?}");
    }
}

#[test]
fn a11_no_inferred_type_rounds() {
    assert_eq!(of_csv(&["9007199254740993", "0.5"]), "string");
    assert_eq!(of_csv(&["0.5", "9007199254740993"]), "string");
    assert_eq!(of_csv(&["9007199254740992", "0.5"]), "float64");
    assert_eq!(
        of_csv(&["9007199254740993", "0.5", "12345678901234567.89"]),
        "string"
    );
    assert_eq!(of_csv(&["0.1234567890123456789"]), "decimal(38,19)");
    assert_eq!(of_csv(&["0.12345678901234567", "0.5"]), "string");
    for (values, found) in [
        (&["9007199254740993", "0.5"][..], "string"),
        (&["0.5", "9007199254740993"], "string"),
        (&["9007199254740992", "0.5"], "float64"),
        (&["9007199254740993", "1"], "int64"),
        (
            &["9007199254740993", "9223372036854775808"],
            "decimal(38,0)",
        ),
        (&["9223372036854775808", "0.5"], "string"),
        (&["12345678901234567.89"], "string"),
        (&["0.12345678901234567890"], "string"),
        (&["1.10", "1E5", "1.0", "0.1e1", "7"], "float64"),
        (&["-0", "1"], "float64"),
        (&["-0.0"], "float64"),
        (&["1e400"], "string"),
        (&["1e-400"], "string"),
        (&["100000000000000000000000000000000000000"], "string"),
        (&["[1,0.5]", "[9007199254740993]"], "list<string>"),
        (
            &["{\"b\":9007199254740993}", "{\"b\":0.5}"],
            "struct<b:string>",
        ),
    ] {
        assert_eq!(of_json(values), found, "{values:?}");
    }
}

#[test]
fn nothing_to_learn_from_is_an_error_with_a_hint() {
    for format in [Format::Ndjson, Format::Json, Format::Csv] {
        assert!(types(format, "", true).unwrap_err().hint_text().is_some());
    }
    for (text, reason) in [
        ("", "there is no record"),
        ("\n \n", "there is no record"),
        ("garbage\n", "`garbage` is not a JSON object"),
        ("{\"a\":\n", "malformed JSON"),
        ("{}\n", "no keys"),
    ] {
        let error = types(Format::Ndjson, text, true).unwrap_err();
        assert!(error.to_string().contains(reason), "{text:?}: {error}");
    }
    assert_eq!(types(Format::Raw, "x", true).unwrap(), "payload:binary");
}

#[test]
fn objects_whose_keys_are_data_are_refused_before_they_fill_the_memory() {
    let refused = |format, sample: &str| {
        let error = types(format, sample, true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema, "{error:?}");
        assert!(
            error.to_string().contains("more than 2000 columns"),
            "{error:?}"
        );
        assert!(error.hint_text().unwrap().contains("`schema`"));
    };
    // A key in each record, all in one, within another, and within several.
    let lines: String = (0..10_000)
        .map(|key| format!("{{\"k{key}\":1}}\n"))
        .collect();
    refused(Format::Ndjson, &lines);
    let members: Vec<_> = (0..1_000_000).map(|key| format!("\"k{key}\":1")).collect();
    refused(Format::Json, &format!("{{{}}}", members.join(",")));
    refused(
        Format::Json,
        &format!("{{\"a\":[{{{}}}]}}", members[..3_000].join(",")),
    );
    let some = members[..1_001].join(",");
    refused(
        Format::Json,
        &format!("{{\"a\":{{{some}}},\"b\":{{{some}}}}}"),
    );
    let names: Vec<_> = (0..200_000).map(|at| format!("c{at}")).collect();
    refused(Format::Csv, &format!("{}\n", names.join(",")));
    let fields = "1,".repeat(2_000);
    let csv = CsvOptions {
        header: false,
        ..CsvOptions::default()
    };
    let error = infer(Format::Csv, &csv, format!("{fields}1\n").into(), true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);

    let most = members[..2_000].join(",");
    assert!(types(Format::Json, &format!("{{{most}}}"), true).is_ok());
}
