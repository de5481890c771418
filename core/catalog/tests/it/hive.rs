use std::sync::Arc;

use arrow_schema::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use proptest::prelude::*;
use tidegate_catalog::hive::{parse_type, storable_schema, storable_type, type_string};
use tidegate_core::ErrorKind;

use crate::types::any_type;

#[test]
fn types_have_the_names_of_hive() {
    use DataType as T;
    let nested = T::Struct(
        vec![
            Field::new("Tags", T::new_list(T::LargeUtf8, true), true),
            Field::new("n", T::UInt64, false),
        ]
        .into(),
    );
    for (data_type, text) in [
        (T::Boolean, "boolean"),
        (T::Int8, "tinyint"),
        (T::UInt8, "smallint"),
        (T::UInt16, "int"),
        (T::UInt32, "bigint"),
        (T::UInt64, "decimal(20,0)"),
        (T::Float16, "float"),
        (T::Float64, "double"),
        (T::Decimal256(38, 4), "decimal(38,4)"),
        (T::Decimal128(5, -3), "decimal(8,0)"),
        (T::LargeUtf8, "string"),
        (T::FixedSizeBinary(16), "binary"),
        (T::Date64, "date"),
        (T::Timestamp(TimeUnit::Nanosecond, None), "timestamp"),
        (T::Time32(TimeUnit::Second), "string"),
        (T::Null, "string"),
        (
            T::Dictionary(Box::new(T::Int8), Box::new(T::Utf8)),
            "string",
        ),
        (nested, "struct<tags:array<string>,n:decimal(20,0)>"),
    ] {
        assert_eq!(type_string(&data_type).unwrap(), text);
    }
}

#[test]
fn other_programs_types_are_read() {
    for (text, same) in [
        ("INTEGER", "int"),
        ("varchar(20)", "string"),
        ("char( 3 )", "string"),
        ("Double Precision", "double"),
        ("decimal", "decimal(10,0)"),
        ("numeric(7)", "decimal(7,0)"),
        ("decimal( 7 , 2 )", "decimal(7,2)"),
        (" map< string , array<int> > ", "map<string,array<int>>"),
        (
            "struct<a : int, b:struct<c:date>>",
            "struct<a:int,b:struct<c:date>>",
        ),
        ("struct<`a`:int>", "struct<a:int>"),
    ] {
        assert_eq!(
            parse_type(text).unwrap(),
            parse_type(same).unwrap(),
            "{text}"
        );
    }
    let DataType::Struct(fields) = parse_type("struct<`a``:b`:int,Über uns:string>").unwrap()
    else {
        panic!("no struct");
    };
    let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["a`:b", "Über uns"]);
}

#[test]
fn what_is_no_type_is_refused_at_its_place() {
    for (text, position) in [
        ("", 1),
        ("strin", 1),
        ("array<strin>", 7),
        ("array<string", 13),
        ("array string", 7),
        ("map<string>", 11),
        ("struct<>", 8),
        ("struct<a int>", 13),
        ("struct<é:strin>", 10),
        ("struct<a:int,a:int>", 14),
        ("decimal(39,0)", 8),
        ("decimal(3,4)", 8),
        ("decimal(99999999999)", 9),
        ("int int", 5),
        ("struct<`a:int>", 9),
        ("uniontype<int,string>", 1),
    ] {
        let error = parse_type(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Schema, "{text}");
        let told = error.context().iter().find(|(key, _)| *key == "position");
        assert_eq!(
            told.map(|(_, at)| at.as_str()),
            Some(position.to_string().as_str()),
            "{text}: {error}"
        );
    }
    let deep = "array<".repeat(100_000);
    assert!(
        parse_type(&deep)
            .expect_err("too deep")
            .to_string()
            .contains("deeply")
    );
}

#[test]
fn schemas_are_folded_and_what_cannot_be_stored_is_named() {
    let of = |fields: Vec<Field>| storable_schema(&Schema::new(fields));
    let inner = |data_type| DataType::Struct(vec![Field::new("Inner", data_type, false)].into());
    let stored = of(vec![
        Field::new("Id", DataType::UInt8, false),
        Field::new("Rest", inner(DataType::Utf8View), false),
    ]);
    let member = DataType::Struct(vec![Field::new("inner", DataType::Utf8, true)].into());
    let expected = Schema::new(vec![
        Field::new("id", DataType::Int16, true),
        Field::new("rest", member, true),
    ]);
    assert_eq!(*stored.unwrap(), expected);
    for (fields, column) in [
        (vec![Field::new("a-b", DataType::Int8, true)], "a-b"),
        (
            vec![
                Field::new("ID", DataType::Int8, true),
                Field::new("id", DataType::Int8, true),
            ],
            "id",
        ),
        (
            vec![Field::new("d", DataType::Decimal256(39, 0), true)],
            "d",
        ),
        (
            vec![Field::new(
                "List",
                DataType::new_list(inner(DataType::Interval(IntervalUnit::DayTime)), true),
                true,
            )],
            "List.Inner",
        ),
        (
            vec![Field::new(
                "e",
                DataType::Struct(Vec::<Field>::new().into()),
                true,
            )],
            "e",
        ),
    ] {
        let error = of(fields).expect_err(column);
        assert_eq!(error.kind(), ErrorKind::Schema);
        assert!(error.hint_text().is_some(), "{error}");
        let told = error.context().iter().find(|(key, _)| *key == "column");
        assert_eq!(told.map(|(_, path)| path.as_str()), Some(column), "{error}");
    }
}

#[test]
fn a_type_longer_than_glue_takes_is_refused() {
    let members = (0..20_000).map(|n| Field::new(format!("m{n}"), DataType::Int8, true));
    let large = DataType::Struct(members.collect::<Vec<_>>().into());
    let error = type_string(&large).expect_err("too large");
    assert!(error.to_string().contains("131072"), "{error}");
    let schema = Schema::new(vec![Arc::new(Field::new("large", large, true))]);
    let error = storable_schema(&schema).expect_err("too large");
    assert!(error.to_string().contains("column: large"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_stored_comes_back(data_type in any_type()) {
        let Ok(stored) = storable_type(&data_type) else {
            // Only keys of maps and decimals can be refused here.
            let text = data_type.to_string();
            prop_assert!(text.contains("Map") || text.contains("Decimal"), "{text}");
            return Ok(());
        };
        prop_assert_eq!(parse_type(&type_string(&data_type).unwrap()).unwrap(), stored.clone());
        prop_assert_eq!(storable_type(&stored).unwrap(), stored);
    }

    #[test]
    fn any_text_is_answered(text in "(array<|map<|struct<|int|string|decimal|a:|`|,|>|\\(|\\)|1|é| ){0,20}") {
        if let Ok(data_type) = parse_type(&text) {
            prop_assert_eq!(parse_type(&text.to_uppercase()).is_ok(), true);
            let _ = storable_type(&data_type);
        }
    }
}
