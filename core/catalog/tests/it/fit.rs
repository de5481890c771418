//! Rows brought into a table's columns.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, Decimal128Array, DictionaryArray, Float64Array, Int16Array, Int64Array,
    NullArray, RecordBatch, StringArray, StringViewArray, StructArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tidegate_catalog::{Fit, portable};
use tidegate_core::Result;

fn same(name: &str) -> Result<String> {
    Ok(name.to_owned())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter();
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn wanted(columns: Vec<(&str, DataType)>) -> Schema {
    let fields = columns.into_iter();
    Schema::new(
        fields
            .map(|(name, data_type)| Field::new(name, data_type, true))
            .collect::<Vec<_>>(),
    )
}

/// What becomes of one column in another type: the values, and the rows rejected.
fn one(values: ArrayRef, to: DataType) -> (ArrayRef, Vec<usize>) {
    let batch = batch(vec![("c", values)]);
    let fit = Fit::new(&batch.schema(), &wanted(vec![("c", to)]), same).unwrap();
    let fitted = fit.apply(&batch).unwrap();
    assert_eq!(fitted.batch.num_rows(), fitted.original.num_rows());
    let rows = fitted.rejected.iter().map(|(row, reason)| {
        assert!(reason.contains("column `c`"), "{reason}");
        *row
    });
    (Arc::clone(fitted.batch.column(0)), rows.collect())
}

#[test]
fn values_that_are_the_same_after_a_cast_fit_and_others_are_rejected() {
    let longs = Arc::new(Int64Array::from(vec![
        Some(1),
        Some(70_000),
        None,
        Some(-5),
    ]));
    let (shorts, bad) = one(longs, DataType::Int16);
    assert_eq!(bad, [1]);
    assert_eq!(
        shorts.as_primitive::<Int16Type>(),
        &Int16Array::from(vec![Some(1), None, Some(-5)])
    );

    let floats = Arc::new(Float64Array::from(vec![1.0, 1.5, f64::NAN, 3.0e10]));
    let (ints, bad) = one(floats, DataType::Int32);
    assert_eq!(bad, [1, 2, 3]);
    assert_eq!(ints.as_primitive::<Int32Type>().values(), &[1]);

    let texts = Arc::new(StringArray::from(vec![
        Some("12"),
        Some("x"),
        Some("012"),
        None,
    ]));
    assert_eq!(one(texts, DataType::Int64).1, [1, 2]);

    let unsigned = Arc::new(UInt64Array::from(vec![u64::MAX, 0]));
    let (decimals, bad) = one(unsigned, DataType::Decimal128(20, 0));
    assert!(bad.is_empty());
    let most = i128::from(u64::MAX);
    assert_eq!(
        decimals
            .as_any()
            .downcast_ref::<Decimal128Array>()
            .unwrap()
            .value(0),
        most
    );
}

#[test]
fn times_keep_their_instant_or_are_rejected() {
    let micros =
        |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let nanos = TimestampNanosecondArray::from(vec![Some(1_000), Some(1_001), None]);
    assert_eq!(one(Arc::new(nanos.clone()), micros(None)).1, [1]);
    let berlin = Arc::new(nanos.with_timezone("+02:00"));
    let (utc, bad) = one(berlin, micros(Some("UTC")));
    assert_eq!((bad, utc.len()), (vec![1], 2));
    let seconds = Arc::new(TimestampSecondArray::from(vec![1, i64::MAX / 10]));
    let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
    assert_eq!(one(seconds, millis).1, [1]);
}

#[test]
fn texts_stay_in_their_layout_and_nulls_become_whatever_is_wanted() {
    let (views, _) = one(Arc::new(StringViewArray::from(vec!["a"])), DataType::Utf8);
    assert_eq!(views.data_type(), &DataType::Utf8View);
    let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let (words, _) = one(Arc::new(words), DataType::Utf8);
    assert!(matches!(words.data_type(), DataType::Dictionary(..)));
    let (ints, bad) = one(Arc::new(NullArray::new(2)), DataType::Int64);
    assert_eq!((ints.null_count(), bad.len()), (2, 0));
}

#[test]
fn columns_are_found_by_name_filled_with_null_and_refused_with_a_value() {
    let batch = batch(vec![
        (
            "Extra",
            Arc::new(StringArray::from(vec![None, Some("x"), None])),
        ),
        ("ID", Arc::new(Int64Array::from(vec![1, 2, 3]))),
    ]);
    let to = wanted(vec![("new", DataType::Utf8), ("id", DataType::Int64)]);
    let fit = Fit::new(&batch.schema(), &to, |name| Ok(name.to_lowercase())).unwrap();
    let fitted = fit.apply(&batch).unwrap();
    assert_eq!(fitted.batch.schema().field(1).name(), "id");
    assert_eq!(
        fitted.batch.column(1).as_primitive::<Int64Type>().values(),
        &[1, 3]
    );
    assert_eq!(fitted.batch.column(0).null_count(), 2);
    assert_eq!(fitted.original.schema(), batch.schema());
    let [(1, reason)] = fitted.rejected.as_slice() else {
        panic!("{:?}", fitted.rejected);
    };
    assert!(reason.contains("`Extra`"), "{reason}");
}

#[test]
fn two_columns_that_would_have_one_name_are_refused() {
    let stream = wanted(vec![("Name", DataType::Utf8), ("name", DataType::Utf8)]);
    let error = Fit::new(&stream, &stream, |name| Ok(name.to_lowercase())).unwrap_err();
    assert!(error.message().contains("`Name` and `name`"), "{error}");
}

#[test]
fn what_no_value_can_become_is_refused_before_any() {
    let stream = wanted(vec![("tags", DataType::Int64)]);
    let list = DataType::List(Arc::new(Field::new("element", DataType::Int64, true)));
    let to = wanted(vec![(
        "tags",
        DataType::Struct(vec![Field::new("a", list, true)].into()),
    )]);
    let error = Fit::new(&stream, &to, same).unwrap_err();
    assert!(error.message().contains("`tags`"), "{error}");
}

#[test]
fn a_misfit_deep_inside_rejects_its_row_and_no_other() {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for list in [vec![1], vec![], vec![2, 300_000], vec![3], vec![400_000]] {
        lists.append_value(list.into_iter().map(Some));
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
    let field =
        |name, array: &ArrayRef| Arc::new(Field::new(name, array.data_type().clone(), true));
    let deep = StructArray::from(vec![
        (field("Ids", &ids), Arc::clone(&ids)),
        (field("lists", &lists), lists),
    ]);
    let whole = batch(vec![("deep", Arc::new(deep) as ArrayRef), ("id", ids)]);
    let short = |name| Field::new(name, DataType::Int16, true);
    let items = DataType::List(Arc::new(short("element")));
    let members = vec![
        Field::new("lists", items, true),
        Field::new("ids", DataType::Int64, true),
        Field::new("more", DataType::Utf8, true),
    ];
    let to = wanted(vec![
        ("deep", DataType::Struct(members.into())),
        ("id", DataType::Int64),
    ]);
    let fit = Fit::new(&whole.schema(), &to, |name| Ok(name.to_lowercase())).unwrap();
    // Of a batch that was cut out of another one, too.
    for (from, length, bad, good) in [
        (0, 5, vec![2, 4], vec![0, 1, 3]),
        (1, 3, vec![1], vec![1, 3]),
    ] {
        let fitted = fit.apply(&whole.slice(from, length)).unwrap();
        let rejected: Vec<_> = fitted.rejected.iter().map(|(row, _)| *row).collect();
        assert_eq!(rejected, bad);
        let reason = &fitted.rejected[0].1;
        assert!(reason.contains("`deep.lists`"), "{reason}");
        assert_eq!(
            fitted.batch.column(1).as_primitive::<Int64Type>().values(),
            &good
        );
        let deep = fitted.batch.column(0).as_struct();
        assert_eq!(deep.column(1).as_primitive::<Int64Type>().values(), &good);
        assert_eq!(deep.column(2).null_count(), good.len());
        let last = deep.column(0).as_list::<i32>().value(good.len() - 1);
        assert_eq!(last.as_primitive::<Int16Type>().values(), &[3]);
    }
}

#[test]
fn maps_and_lists_get_the_names_that_every_engine_knows() {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    maps.keys().append_value("a");
    maps.values().append_value(1);
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    let batch = batch(vec![("m", Arc::new(maps.finish()) as ArrayRef)]);
    let to = portable(&batch.schema()).unwrap();
    let fit = Fit::new(&batch.schema(), &to, same).unwrap();
    let fitted = fit.apply(&batch).unwrap();
    assert_eq!(fitted.batch.column(0).data_type(), to.field(0).data_type());
    let map = fitted.batch.column(0).as_map();
    assert_eq!((map.len(), map.null_count(), map.keys().len()), (2, 1, 1));
}
