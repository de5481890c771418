use tidegate_core::Result;
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
        -2,7,,FALSE,,2024-01-01T00:00:00+02:00,2024-01-01,x,,1,1\n3,";
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

#[test]
fn nothing_to_learn_from_is_an_error_with_a_hint() {
    for format in [Format::Ndjson, Format::Json, Format::Csv] {
        assert!(types(format, "", true).unwrap_err().hint_text().is_some());
    }
    assert!(types(Format::Ndjson, "garbage\n", true).is_err());
    assert_eq!(types(Format::Raw, "x", true).unwrap(), "payload:binary");
}
