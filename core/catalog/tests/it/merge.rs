use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use proptest::prelude::*;
use tidegate_catalog::{guessed_columns, is_guessed, mark_guessed, merge_tables, widen};
use tidegate_core::{CatalogTable, ErrorKind, TableFormat, TableName};

use crate::types::{any_type, two_types};

fn table(columns: &[(&str, DataType)]) -> CatalogTable {
    let columns = columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    CatalogTable {
        name: TableName::new("shop", "sales"),
        location: "s3://lake/sales".into(),
        format: TableFormat::Parquet,
        columns: Arc::new(Schema::new(columns.collect::<Vec<_>>())),
        partition_keys: vec![Arc::new(Field::new("day", DataType::Date32, true))],
        properties: [("comment".to_owned(), "theirs".to_owned())].into(),
    }
}

fn shape(table: &CatalogTable) -> Vec<(&str, &DataType)> {
    let fields = table.columns.fields().iter();
    fields.map(|f| (f.name().as_str(), f.data_type())).collect()
}

#[test]
fn the_table_of_widenings() {
    use DataType as T;
    let utc = |unit| T::Timestamp(unit, Some("UTC".into()));
    let berlin = |unit| T::Timestamp(unit, Some("Europe/Berlin".into()));
    for (a, b, wide) in [
        (T::Int8, T::Int64, Some(T::Int64)),
        (T::UInt8, T::Int8, Some(T::Int16)),
        (T::UInt32, T::Int16, Some(T::Int64)),
        (T::UInt64, T::Int8, Some(T::Decimal128(20, 0))),
        (T::Int16, T::Float32, Some(T::Float32)),
        (T::Int32, T::Float32, Some(T::Float64)),
        (T::Int64, T::Float64, None),
        (T::UInt32, T::Float64, Some(T::Float64)),
        (T::Float32, T::Float64, Some(T::Float64)),
        (T::Int32, T::Decimal128(5, 2), Some(T::Decimal128(12, 2))),
        (T::Int64, T::Decimal128(38, 30), None),
        (
            T::Decimal128(10, 2),
            T::Decimal128(8, 4),
            Some(T::Decimal128(12, 4)),
        ),
        (T::Decimal128(38, 0), T::Decimal128(38, 1), None),
        (
            T::Decimal32(9, 0),
            T::Decimal32(9, 4),
            Some(T::Decimal64(13, 4)),
        ),
        (T::Decimal128(5, 2), T::Float64, None),
        (T::Date32, utc(TimeUnit::Microsecond), None),
        (T::Date32, T::Date64, Some(T::Date64)),
        (
            utc(TimeUnit::Second),
            utc(TimeUnit::Microsecond),
            Some(utc(TimeUnit::Microsecond)),
        ),
        (utc(TimeUnit::Nanosecond), utc(TimeUnit::Microsecond), None),
        (
            berlin(TimeUnit::Second),
            utc(TimeUnit::Second),
            Some(utc(TimeUnit::Second)),
        ),
        (
            T::Timestamp(TimeUnit::Second, None),
            utc(TimeUnit::Second),
            None,
        ),
        (T::Utf8, T::Utf8View, Some(T::Utf8)),
        (T::Utf8, T::LargeUtf8, Some(T::LargeUtf8)),
        (T::Utf8, T::Binary, None),
        (T::Utf8, T::Int32, None),
        (T::Boolean, T::Int8, None),
        (T::Null, T::Int8, Some(T::Int8)),
        (
            T::FixedSizeBinary(4),
            T::FixedSizeBinary(8),
            Some(T::Binary),
        ),
        (
            T::Time32(TimeUnit::Second),
            T::Time64(TimeUnit::Nanosecond),
            Some(T::Time64(TimeUnit::Nanosecond)),
        ),
    ] {
        assert_eq!(widen(&a, &b), wide, "{a} and {b}");
        assert_eq!(widen(&b, &a), wide, "{b} and {a}");
    }
}

#[test]
fn members_are_widened_and_added() {
    let a = DataType::Struct(
        vec![
            Field::new("id", DataType::Int32, false),
            Field::new("a", DataType::Utf8, false),
        ]
        .into(),
    );
    let b = DataType::Struct(
        vec![
            Field::new("b", DataType::Utf8, false),
            Field::new("id", DataType::Int64, false),
        ]
        .into(),
    );
    let both = DataType::Struct(
        vec![
            Field::new("id", DataType::Int64, false),
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Utf8, true),
        ]
        .into(),
    );
    assert_eq!(widen(&a, &b), Some(both.clone()));
    let list = |of: &DataType| DataType::List(Arc::new(Field::new("item", of.clone(), true)));
    assert_eq!(widen(&list(&a), &list(&b)), Some(list(&both)));
    assert_eq!(widen(&list(&a), &a), None);
}

#[test]
fn new_columns_stand_at_the_end_and_all_else_stays() {
    let have = table(&[("b", DataType::Utf8), ("a", DataType::Int32)]);
    let mut want = table(&[("a", DataType::Int64), ("c", DataType::Boolean)]);
    want.location = "s3://elsewhere".into();
    want.properties.clear();
    let merged = merge_tables(&have, &want).unwrap().expect("a change");
    let columns = [
        ("b", &DataType::Utf8),
        ("a", &DataType::Int64),
        ("c", &DataType::Boolean),
    ];
    assert_eq!(shape(&merged), columns);
    let rest = CatalogTable {
        columns: Arc::clone(&have.columns),
        ..merged
    };
    assert_eq!(rest, have);
}

#[test]
fn what_the_table_can_hold_already_changes_nothing() {
    let have = table(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    for want in [
        table(&[]),
        table(&[("a", DataType::Int8)]),
        table(&[("b", DataType::Utf8View), ("a", DataType::UInt32)]),
    ] {
        assert_eq!(
            merge_tables(&have, &want).unwrap(),
            None,
            "{:?}",
            shape(&want)
        );
    }
}

#[test]
fn what_was_guessed_twice_is_text_rather_than_a_contradiction() {
    use DataType as T;
    let list = |of: T| T::List(Arc::new(Field::new("item", of, true)));
    let object = |members: &[(&str, T)]| {
        let members = members.iter();
        let members = members.map(|(name, of)| Field::new(*name, of.clone(), true));
        T::Struct(members.collect())
    };
    let naive = T::Timestamp(TimeUnit::Microsecond, None);
    let utc = T::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let money = T::Decimal128(38, 2);
    let guessed = |data_type: &T, quoted| {
        let mut table = table(&[("a", data_type.clone())]);
        table.format = TableFormat::Csv {
            delimiter: ',',
            header: true,
            quoted,
        };
        mark_guessed(&mut table, None);
        table
    };
    for (a, b, both) in [
        (T::Int64, T::Utf8, T::Utf8),
        (T::Int64, T::Float64, T::Float64),
        (T::Int64, money.clone(), T::Utf8),
        (T::Int64, T::Decimal128(38, 0), T::Decimal128(38, 0)),
        (T::Boolean, T::Date32, T::Utf8),
        (naive.clone(), utc.clone(), T::Utf8),
        (list(T::Int64), list(T::Boolean), list(T::Utf8)),
        (list(T::Int64), T::Int64, T::Utf8),
        (
            object(&[("x", T::Int64)]),
            object(&[("x", T::Utf8), ("y", T::Int64)]),
            object(&[("x", T::Utf8), ("y", T::Int64)]),
        ),
    ] {
        for (one, other) in [(&a, &b), (&b, &a)] {
            let (one, other) = (guessed(one, false), guessed(other, true));
            let merged = merge_tables(&one, &other).unwrap().expect("a change");
            let TableFormat::Csv { quoted, .. } = merged.format else {
                panic!("another format");
            };
            assert!(quoted && is_guessed(&merged));
            assert_eq!(merged.columns.field(0).data_type(), &both, "{a} and {b}");
            assert_eq!(merge_tables(&merged, &one).unwrap(), None);
            assert_eq!(merge_tables(&merged, &other).unwrap(), None);
        }
    }
    // A catalog with one type of times still knows how they were written.
    let mut kept = guessed(&naive, false);
    let column = Field::new("a", utc, true);
    kept.columns = Arc::new(Schema::new(vec![column]));
    assert_eq!(guessed_columns(&kept)[0].data_type(), &naive);
    // Others' types are no guesses.
    let theirs = CatalogTable {
        properties: Default::default(),
        ..guessed(&T::Int64, false)
    };
    assert!(merge_tables(&theirs, &guessed(&T::Utf8, false)).is_err());
}

#[test]
fn contradictions_name_what_is_there_and_what_comes() {
    let have = table(&[("a", DataType::Int64)]);
    let refused = |want: &CatalogTable, says: [&str; 2]| {
        let error = merge_tables(&have, want).expect_err("a contradiction");
        assert_eq!(error.kind(), ErrorKind::Schema);
        assert!(error.hint_text().is_some());
        for text in says {
            assert!(error.to_string().contains(text), "{error}");
        }
    };
    refused(&table(&[("a", DataType::Utf8)]), ["Int64", "Utf8"]);
    refused(
        &table(&[("day", DataType::Date32)]),
        ["`day`", "partition key"],
    );
    let csv = TableFormat::Csv {
        delimiter: ';',
        header: true,
        quoted: false,
    };
    let mut other = have.clone();
    other.format = csv;
    refused(&other, ["parquet", "csv"]);
    let mut other = have.clone();
    other.partition_keys.clear();
    refused(&other, ["day Date32", "nothing"]);
    let mut other = have.clone();
    other.partition_keys = vec![Arc::new(Field::new("day", DataType::Utf8, true))];
    refused(&other, ["day Date32", "day Utf8"]);
}

#[test]
fn a_key_that_holds_what_is_wanted_agrees() {
    let keyed = |data_type| {
        let mut table = table(&[("a", DataType::Int64)]);
        table.partition_keys = vec![Arc::new(Field::new("n", data_type, true))];
        table
    };
    let (wide, narrow) = (keyed(DataType::Int64), keyed(DataType::Int32));
    assert_eq!(merge_tables(&wide, &narrow).unwrap(), None);
    assert!(merge_tables(&narrow, &wide).is_err());
}

/// The type with the members of its structs in the order of their names.
fn in_order(data_type: &DataType) -> DataType {
    use DataType as T;
    let item = |field: &Arc<Field>| {
        let inner = in_order(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(inner))
    };
    match data_type {
        T::Struct(fields) => {
            let mut fields: Vec<_> = fields.iter().map(item).collect();
            fields.sort_by(|a, b| a.name().cmp(b.name()));
            T::Struct(fields.into())
        }
        T::List(of) => T::List(item(of)),
        T::LargeList(of) => T::LargeList(item(of)),
        T::Map(entries, sorted) => {
            let T::Struct(pair) = entries.data_type() else {
                panic!("a map of {entries}");
            };
            // Key and value have their places.
            let pair: Fields = pair.iter().map(item).collect();
            let entries = entries.as_ref().clone().with_data_type(T::Struct(pair));
            T::Map(Arc::new(entries), *sorted)
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_type_holds_itself(a in any_type()) {
        prop_assert_eq!(widen(&a, &a), Some(a));
    }

    #[test]
    fn the_order_does_not_matter((a, b) in two_types()) {
        let ordered = |wide: Option<DataType>| wide.map(|wide| in_order(&wide));
        prop_assert_eq!(ordered(widen(&a, &b)), ordered(widen(&b, &a)));
    }

    #[test]
    fn what_is_wide_enough_is_not_widened_again((a, b) in two_types()) {
        if let Some(wide) = widen(&a, &b) {
            prop_assert_eq!(widen(&wide, &a), Some(wide.clone()));
            prop_assert_eq!(widen(&wide, &b), Some(wide));
        }
    }

    #[test]
    fn merging_drops_nothing_and_is_done_once(
        have in prop::collection::btree_map("[a-e]", any_type(), 0..5),
        want in prop::collection::btree_map("[a-e]", any_type(), 0..5),
    ) {
        let of = |columns: &std::collections::BTreeMap<String, DataType>| {
            let columns = columns.iter().map(|(n, t)| (n.as_str(), t.clone()));
            table(&columns.collect::<Vec<_>>())
        };
        let (have, want) = (of(&have), of(&want));
        match merge_tables(&have, &want) {
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Schema),
            Ok(merged) => {
                let merged = merged.unwrap_or_else(|| have.clone());
                let names = |table: &CatalogTable| -> Vec<String> {
                    shape(table).into_iter().map(|(name, _)| name.to_owned()).collect()
                };
                prop_assert!(names(&merged).starts_with(&names(&have)));
                prop_assert!(names(&want).iter().all(|name| names(&merged).contains(name)));
                prop_assert!(merged.columns.fields().iter().all(|field| field.is_nullable()));
                prop_assert_eq!(merge_tables(&merged, &want).unwrap(), None);
                prop_assert_eq!(merge_tables(&merged, &have).unwrap(), None);
            }
        }
    }
}
