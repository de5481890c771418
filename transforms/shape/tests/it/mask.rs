//! `mask`.

use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    StructArray,
};
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Secret, TransformConfig};
use tidegate_testkit::suites::context;
use tidegate_transform_shape::MaskConfig;

use super::support::{map, open, rows, suite, told};

/// A file with this key, and the directory that it is in.
fn key(text: &str) -> (Value, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, text).unwrap();
    (json!({ "file": path }), directory)
}

/// What becomes of one column.
async fn masked(column: ArrayRef, mask: Value, secret: &str) -> Vec<String> {
    let field = Field::new("x", column.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap();
    let (key, _folder) = key(secret);
    let config = json!({ "columns": { "x": mask }, "key": key });
    let map = map::<MaskConfig>(config, &batch).await.unwrap();
    let (rows, rejected) = rows(map.as_ref(), &batch);
    assert_eq!(rejected, [""; 0]);
    rows.iter()
        .map(|row| row.trim_start_matches("x=").to_owned())
        .collect()
}

fn words(words: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(words))
}

#[tokio::test]
async fn hashes_are_hmac_sha_256() {
    // RFC 4231, test cases 2 and 1 (whose key is bytes, and so not made here).
    let hashed = masked(
        words(&["what do ya want for nothing?"]),
        json!("hash"),
        "Jefe\n",
    )
    .await;
    assert_eq!(
        hashed,
        ["5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"]
    );
}

#[tokio::test]
async fn equal_values_have_equal_hashes_whatever_column_they_are_in() {
    let of = |column: ArrayRef| masked(column, json!("hash"), "secret");
    let text = of(words(&["7", "", "1.50", "2024-02-29", "true"])).await;
    assert!(text.iter().all(|hash| hash.len() == 64));
    assert_eq!(
        of(Arc::new(Int64Array::from(vec![Some(7), None]))).await,
        [text[0].as_str(), "∅"]
    );
    let decimal = Decimal128Array::from(vec![150])
        .with_precision_and_scale(10, 2)
        .unwrap();
    assert_eq!(of(Arc::new(decimal)).await, text[2..3]);
    assert_eq!(
        of(Arc::new(Date32Array::from(vec![19_782]))).await,
        text[3..4]
    );
    assert_eq!(
        of(Arc::new(BooleanArray::from(vec![true]))).await,
        text[4..5]
    );
    assert_eq!(
        of(Arc::new(BinaryArray::from_vec(vec![b"7", b"\xFF"]))).await[0],
        text[0]
    );
    assert_eq!(
        of(Arc::new(LargeStringArray::from(vec!["7"]))).await,
        text[..1]
    );
    assert_eq!(
        of(Arc::new(StringViewArray::from(vec!["7"]))).await,
        text[..1]
    );
    let dictionary: DictionaryArray<Int8Type> = [Some("7"), None, Some("7")].into_iter().collect();
    assert_eq!(
        of(Arc::new(dictionary)).await,
        [text[0].as_str(), "∅", &text[0]]
    );
    // Another key, other hashes.
    assert_ne!(
        masked(words(&["7"]), json!("hash"), "Secret").await,
        text[..1]
    );
    let field = Arc::new(Field::new("a", DataType::Int64, true));
    let nested = StructArray::from(vec![(
        field,
        Arc::new(Int64Array::from(vec![7])) as ArrayRef,
    )]);
    assert_eq!(of(Arc::new(nested)).await, of(words(&[r#"{"a":7}"#])).await);
}

#[tokio::test]
async fn characters_are_kept_at_one_end() {
    let column = words(&["4111 1111", "café😀!", "1234", "12", ""]);
    let last = masked(Arc::clone(&column), json!({ "keep_last": 4 }), "k").await;
    assert_eq!(last, ["*****1111", "**fé😀!", "****", "**", ""]);
    let first = masked(Arc::clone(&column), json!({ "keep_first": 2 }), "k").await;
    assert_eq!(first, ["41*******", "ca****", "12**", "**", ""]);
    assert_eq!(
        masked(column, json!({ "keep_last": 0 }), "k").await[3],
        "**"
    );
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(-12345), None]));
    assert_eq!(
        masked(numbers, json!({ "keep_last": 2 }), "k").await,
        ["****45", "∅"]
    );
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.25, f64::NAN]));
    assert_eq!(
        masked(floats, json!({ "keep_first": 1 }), "k").await,
        ["0***", "N**"]
    );
}

#[tokio::test]
async fn values_are_replaced_and_null_stays_null() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let of = |mask| masked(Arc::clone(&column), mask, "k");
    assert_eq!(of(json!("redact")).await, ["***", "∅"]);
    assert_eq!(of(json!({ "redact": "" })).await, ["", "∅"]);
    assert_eq!(of(json!({ "redact": "gone" })).await, ["gone", "∅"]);
    assert_eq!(of(json!("null")).await, ["∅", "∅"]);
}

fn customers() -> RecordBatch {
    let json = [("ARROW:extension:name".to_owned(), "arrow.json".to_owned())];
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("email", DataType::Utf8, false).with_metadata(json.into()),
        Field::new("born", DataType::Date32, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3])),
        words(&["\"ada@example.com\"", "\"b\"", "\"c\""]),
        Arc::new(Date32Array::from(vec![0, 1, 2])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[tokio::test]
async fn only_what_is_masked_changes_its_type() {
    let config = json!({ "columns": { "email": "redact", "born": "null" } });
    let map = map::<MaskConfig>(config, &customers()).await.unwrap();
    let schema = map.schema();
    assert_eq!(schema.field(0), customers().schema().field(0));
    assert_eq!(
        *schema.field(1),
        Field::new("email", DataType::Utf8, false),
        "it is no JSON now"
    );
    assert_eq!(*schema.field(2), Field::new("born", DataType::Date32, true));
    assert_eq!(
        rows(map.as_ref(), &customers()).0[0],
        "born=∅, email=***, id=1"
    );
}

#[tokio::test]
async fn mistakes_are_refused_before_anything_is_read() {
    let field = Arc::new(Field::new("city", DataType::Utf8, true));
    let address: ArrayRef = Arc::new(StructArray::from(vec![(field, words(&["x"]))]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"x"]));
    let batch = RecordBatch::try_from_iter([
        ("email", words(&["x"])),
        ("address", address),
        ("bytes", bytes),
    ])
    .unwrap();
    let (good, _folder) = key("k");
    let (empty, _other) = key("\n");
    for (config, text) in [
        (json!({ "columns": {} }), "no columns to mask"),
        (
            json!({ "columns": { "email": "hash" } }),
            "a `key` is needed",
        ),
        (
            json!({ "columns": { "email": "hash" }, "key": empty }),
            "is empty",
        ),
        (
            json!({ "columns": { "mail": "redact" } }),
            "did you mean `email`?",
        ),
        (
            json!({ "columns": { "address.city": "redact" } }),
            "of `address`, `flatten` makes columns",
        ),
        (
            json!({ "columns": { "address": { "keep_last": 1 } } }),
            "no characters",
        ),
        (
            json!({ "columns": { "bytes": { "keep_last": 1 } } }),
            "use `hash`, `redact` or `null`",
        ),
        (
            json!({ "columns": { "email": "redact" }, "key": { "file": "/nowhere" } }),
            "can't be read",
        ),
        (
            json!({ "columns": { "email": "hash" }, "key": "in clear" }),
            "can't stand in the file",
        ),
    ] {
        let told = told(map::<MaskConfig>(config, &batch).await);
        assert!(told.contains(text), "{told}");
        assert!(!told.contains("in clear"), "{told}");
    }
    let fine = json!({ "columns": { "address": "hash", "bytes": "hash" }, "key": good });
    assert!(map::<MaskConfig>(fine, &batch).await.is_ok());
}

#[tokio::test]
async fn the_key_is_nowhere_to_be_seen() {
    let (key, _folder) = key("quite a secret");
    let config = json!({ "columns": { "email": "hash" }, "key": key });
    let map = map::<MaskConfig>(config.clone(), &customers())
        .await
        .unwrap();
    assert!(!format!("{map:?}").contains("secret"));
    let config: MaskConfig = serde_json::from_value(config).unwrap();
    assert!(matches!(config.key, Some(Secret::File(_))));
    let stored = serde_json::to_value(Box::new(config) as Box<dyn TransformConfig>).unwrap();
    assert_eq!(
        stored,
        json!({ "type": "mask", "columns": { "email": "hash" }, "key": key })
    );
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let (key, _folder) = key("k");
    let columns = json!({ "email": "hash", "id": { "keep_last": 1 }, "born": "null" });
    for config in [
        json!({ "columns": columns, "key": key }),
        json!({ "columns": { "born": { "redact": "-" }, "email": { "keep_first": 3 } } }),
    ] {
        suite::<MaskConfig>(config, vec![customers(), customers().slice(1, 1)])
            .refuses("a column that isn't there", ErrorKind::Schema, || async {
                let inputs = super::support::inputs(&[&customers()]);
                let cx = context().transform(inputs);
                open::<MaskConfig>(json!({ "columns": { "x": "redact" } }), cx)
                    .await
                    .map(drop)
            })
            .check()
            .await;
    }
}

proptest! {
    #[test]
    fn no_more_is_shown_than_was_said(text in "\\PC{0,12}", count in 0_usize..14) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let characters: Vec<char> = text.chars().collect();
        let stars = match characters.len() > count {
            true => characters.len() - count,
            false => characters.len(),
        };
        for (mask, last) in [("keep_last", true), ("keep_first", false)] {
            let masked = runtime.block_on(masked(words(&[&text]), json!({ mask: count }), "k"));
            let masked: Vec<char> = masked[0].chars().collect();
            prop_assert_eq!(masked.len(), characters.len());
            let hidden = match last {
                true => 0..stars,
                false => characters.len() - stars..characters.len(),
            };
            for (at, (now, before)) in masked.iter().zip(&characters).enumerate() {
                let want = if hidden.contains(&at) { '*' } else { *before };
                prop_assert_eq!(*now, want);
            }
        }
    }
}
