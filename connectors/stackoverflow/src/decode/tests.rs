#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_schema::DataType;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::fields::Member;

const PAGE: &str = "https://api.stackexchange.com/2.3/questions?page=1";

fn decode_as(kind: Kind, scan: &Scan, entities: bool, rows: &Value) -> Decoded {
    let decoder = Arc::new(RowDecoder::new(kind, scan, entities).unwrap());
    let rows = Bytes::from(rows.to_string());
    decoder.rows(rows, PAGE.into()).decode().unwrap()
}

fn decode(kind: Kind, rows: &Value) -> Decoded {
    decode_as(kind, &Scan::all(kind.name()), true, rows)
}

/// All rows are taken, in one batch.
fn taken(kind: Kind, rows: &Value) -> RecordBatch {
    let decoded = decode(kind, rows);
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let [batch] = &decoded.batches[..] else {
        panic!("{} batches", decoded.batches.len());
    };
    assert_eq!(batch.schema(), kind.schema());
    batch.clone()
}

fn times<'a>(batch: &'a RecordBatch, column: &str) -> &'a arrow_array::TimestampMicrosecondArray {
    batch[column].as_primitive::<TimestampMicrosecondType>()
}

fn texts<'a>(batch: &'a RecordBatch, column: &str) -> &'a arrow_array::StringArray {
    batch[column].as_string()
}

#[test]
fn a_question_comes_with_times_and_plain_texts() {
    let batch = taken(
        Kind::Questions,
        &json!([{
            "question_id": 17, "title": "Who eats &quot;&lt;T&gt;&quot; &amp; why?",
            "tags": ["rust", "c++"], "score": -2, "view_count": 5_000_000_000_i64,
            "is_answered": true, "creation_date": 1_700_000_000, "last_activity_date": 1_700_000_100,
            "body": "<p>a &lt; b &amp;&amp; c</p>",
            "link": "https://stackoverflow.com/questions/17/x?a=1&amp;b=2",
            "owner": { "user_id": 3, "user_type": "registered", "display_name": "D&#39;Artagnan",
                "badge_counts": { "gold": 1, "silver": 2, "bronze": 3 } },
            "bounty_user": { "display_name": "A &amp; B" },
        }]),
    );
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(texts(&batch, "title").value(0), "Who eats \"<T>\" & why?");
    assert_eq!(
        texts(&batch, "body").value(0),
        "<p>a &lt; b &amp;&amp; c</p>"
    );
    assert!(texts(&batch, "link").value(0).contains("&amp;"));
    assert_eq!(
        times(&batch, "creation_date").value(0),
        1_700_000_000_000_000
    );
    assert_eq!(times(&batch, "creation_date").timezone(), Some("UTC"));
    assert!(times(&batch, "last_edit_date").is_null(0));
    let views = batch["view_count"].as_primitive::<Int64Type>();
    assert_eq!(views.value(0), 5_000_000_000);
    let owner = batch["owner"].as_struct();
    let name = owner.column_by_name("display_name").unwrap();
    assert_eq!(name.as_string::<i32>().value(0), "D'Artagnan");
    let tags = batch["tags"].as_list::<i32>().value(0);
    assert_eq!(tags.as_string::<i32>().value(1), "c++");
}

#[test]
fn without_decoding_texts_stay_as_they_were_sent() {
    let scan = Scan::all("questions");
    let rows = json!([{ "question_id": 1, "title": "a &amp;lt; b" }]);
    for (entities, title) in [(true, "a &lt; b"), (false, "a &amp;lt; b")] {
        let decoded = decode_as(Kind::Questions, &scan, entities, &rows);
        assert_eq!(texts(&decoded.batches[0], "title").value(0), title);
    }
}

#[test]
fn an_owner_who_was_deleted_has_only_a_type_and_a_name() {
    let batch = taken(
        Kind::Questions,
        &json!([
            { "question_id": 1, "owner": { "user_type": "does_not_exist", "display_name": "user77" } },
            { "question_id": 2, "owner": { "user_type": "does_not_exist" } },
            { "question_id": 3 },
            { "question_id": 4, "owner": null },
        ]),
    );
    let owner = batch["owner"].as_struct();
    assert_eq!(owner.null_count(), 2);
    let id = owner.column_by_name("user_id").unwrap();
    assert_eq!(id.null_count(), 4);
    let kind = owner.column_by_name("user_type").unwrap();
    assert_eq!(kind.as_string::<i32>().value(1), "does_not_exist");
}

#[test]
fn a_closed_question_tells_by_whom_and_for_what() {
    let batch = taken(
        Kind::Questions,
        &json!([{
            "question_id": 9, "closed_date": 1_600_000_000, "closed_reason": "Duplicate",
            "closed_details": {
                "reason": "Duplicate", "on_hold": false,
                "description": "<p>See <a href=\"/x\">there</a>.</p>",
                "by_users": [{ "user_type": "registered", "display_name": "P &amp; Q", "user_id": 5 }],
                "original_questions": [{ "question_id": 4, "title": "1 &lt; 2?", "answer_count": 3 }],
            },
            "migrated_from": { "on_date": 1_500_000_000, "question_id": 7,
                "other_site": { "name": "Q&amp;A", "launch_date": 1_200_000_000 } },
            "notice": { "creation_date": 1_600_000_001, "body": "<b>!</b>" },
        }]),
    );
    assert!(texts(&batch, "content_license").is_null(0));
    let details = batch["closed_details"].as_struct();
    let originals = details.column_by_name("original_questions").unwrap();
    let originals = originals.as_list::<i32>().value(0);
    let title = originals.as_struct().column_by_name("title").unwrap();
    assert_eq!(title.as_string::<i32>().value(0), "1 < 2?");
    let site = batch["migrated_from"].as_struct();
    let site = site.column_by_name("other_site").unwrap().as_struct();
    let launch = site.column_by_name("launch_date").unwrap();
    let launch = launch.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(launch.value(0), 1_200_000_000_000_000);
    let name = site.column_by_name("name").unwrap();
    assert_eq!(name.as_string::<i32>().value(0), "Q&A");
}

#[test]
fn columns_come_as_the_scan_asks() {
    let scan = Scan {
        columns: Some(vec!["creation_date".to_owned(), "title".to_owned()]),
        ..Scan::all("questions")
    };
    // Nobody asks for the score, so nobody minds that it is none.
    let rows = json!([{ "question_id": 1, "title": "x", "creation_date": 5, "score": "many" }]);
    let decoded = decode_as(Kind::Questions, &scan, true, &rows);
    assert!(decoded.rejected.is_empty());
    let schema = scan.schema(&Kind::Questions.schema()).unwrap();
    assert_eq!(decoded.batches[0].schema(), schema);
    assert_eq!(
        times(&decoded.batches[0], "creation_date").value(0),
        5_000_000
    );

    let none = Scan {
        columns: Some(Vec::new()),
        ..Scan::all("questions")
    };
    let decoded = decode_as(Kind::Questions, &none, true, &rows);
    assert_eq!(decoded.batches[0].num_rows(), 1);
    assert!(
        RowDecoder::new(
            Kind::Tags,
            &Scan {
                columns: Some(vec!["title".to_owned()]),
                ..Scan::all("tags")
            },
            true
        )
        .is_err()
    );
}

#[test]
fn a_row_of_the_wrong_shape_is_rejected_as_it_was_sent() {
    let bad = [
        json!({ "question_id": "none" }),
        json!({ "title": "no id" }),
        json!({ "question_id": null }),
        json!({ "question_id": 1, "owner": "somebody" }),
        json!({ "question_id": 1, "tags": "rust" }),
        json!({ "question_id": 1, "is_answered": "perhaps" }),
        json!({ "question_id": 1, "score": 0.5 }),
        json!({ "question_id": 1, "creation_date": "yesterday" }),
        json!({ "question_id": 1, "creation_date": 1_700_000_000_000_i64 }),
        json!({ "question_id": 1, "creation_date": i64::MAX }),
        json!({ "question_id": 1, "creation_date": -62_135_596_801_i64 }),
        json!({ "question_id": 1, "notice": { "creation_date": i64::MIN } }),
        json!({ "question_id": 1, "comments": [{}, { "creation_date": 1_700_000_000_000_i64 }] }),
    ];
    for bad in bad {
        let good = |id: i64| json!({ "question_id": id, "creation_date": 1_700_000_000 });
        let rows = json!([good(1), bad, good(2), bad, good(3)]);
        let decoded = decode(Kind::Questions, &rows);
        let mut ids: Vec<i64> = Vec::new();
        for batch in &decoded.batches {
            ids.extend(batch["question_id"].as_primitive::<Int64Type>().values());
        }
        assert_eq!(ids, [1, 2, 3], "{bad}");
        let rejected = &decoded.rejected.rows;
        assert_eq!(rejected.len(), 2, "{bad}");
        for row in rejected {
            assert_eq!(serde_json::from_str::<Value>(&row.row).unwrap(), bad);
            assert_eq!(row.origin.file.as_deref(), Some(PAGE));
            let offset = usize::try_from(row.origin.offset.unwrap()).unwrap();
            assert!(rows.to_string()[offset..].starts_with(&row.row));
            assert!(!row.reason.is_empty());
        }
    }
}

#[test]
fn rows_rejected_for_different_reasons_stay_in_order() {
    let rows = json!([
        { "question_id": 1, "score": "x" },
        { "question_id": 2, "owner": { "user_id": 1 }, "notice": { "creation_date": 1e15 } },
        { "question_id": 3 },
        { "question_id": 4, "score": "x" },
        { "question_id": 5, "last_edit_date": 99_999_999_999_999_i64 },
    ]);
    let decoded = decode(Kind::Questions, &rows);
    let reasons: Vec<_> = decoded.rejected.rows.iter().map(|r| &r.reason).collect();
    assert_eq!(reasons.len(), 4);
    assert!(reasons[1].contains("`notice.creation_date` is 1000000000000000"));
    assert!(reasons[3].contains("`last_edit_date`"));
    let ids = decoded.batches[0]["question_id"].as_primitive::<Int64Type>();
    assert_eq!(ids.values(), &[3]);
}

#[test]
fn an_empty_page_has_no_rows() {
    let decoded = decode(Kind::Answers, &json!([]));
    assert!(decoded.batches.is_empty() && decoded.rejected.is_empty());
}

#[test]
fn every_kind_has_its_key_first_and_alone_without_null() {
    for kind in Kind::ALL {
        let schema = kind.schema();
        assert_eq!(schema.field(0).name(), kind.key());
        for field in schema.fields() {
            assert_eq!(field.is_nullable(), field.name() != kind.key());
        }
        let names: BTreeSet<_> = schema.fields().iter().map(|f| f.name()).collect();
        assert_eq!(
            names.len(),
            schema.fields().len(),
            "{kind} has a field twice"
        );
        for by in kind.sorts() {
            let field = schema.field_with_name(by.field).unwrap();
            let fits = match by.values {
                crate::streams::Values::Date => {
                    matches!(field.data_type(), DataType::Timestamp(..))
                }
                crate::streams::Values::Number => field.data_type() == &DataType::Int64,
                crate::streams::Values::Text => field.data_type() == &DataType::Utf8,
            };
            assert!(fits, "{kind} by {}", by.sort);
        }
    }
}

/// A value for a field, and what is expected to come of it.
fn value(of: Type) -> BoxedStrategy<Value> {
    match of {
        Type::Int => any::<i64>().prop_map(Value::from).boxed(),
        Type::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Type::Time => (-62_135_596_800..=253_402_300_799_i64)
            .prop_map(Value::from)
            .boxed(),
        Type::Text | Type::Prose => "[a-z&;<é\u{1F600}]{0,6}".prop_map(Value::from).boxed(),
        Type::List(of) => prop::collection::vec(value(*of), 0..3)
            .prop_map(Value::from)
            .boxed(),
        Type::Object(members) => object(members),
    }
}

/// An object with some of the members, and one that nobody knows.
fn object(members: &'static [Member]) -> BoxedStrategy<Value> {
    // Deep values are rare, or they would be all there is.
    let member = |(name, of): &Member| {
        let share = if matches!(of, Type::List(_) | Type::Object(_)) {
            0.1
        } else {
            0.4
        };
        (Just(*name), prop::option::weighted(share, value(*of)))
    };
    let members: Vec<_> = members.iter().map(member).collect();
    members
        .prop_map(|members| {
            let known = members
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            let unknown = [("shoe_size".to_owned(), json!([{ "eu": 42 }]))];
            Value::Object(known.chain(unknown).collect::<Map<_, _>>())
        })
        .boxed()
}

/// What a value is expected to be as JSON again; times in microseconds.
fn expected(of: Type, value: Option<&Value>) -> Value {
    match (of, value) {
        (_, None) => Value::Null,
        (Type::Time, Some(time)) => json!(time.as_i64().unwrap() * 1_000_000),
        (Type::Prose, Some(text)) => {
            json!(html_escape::decode_html_entities(text.as_str().unwrap()))
        }
        (Type::List(of), Some(items)) => {
            let items = items.as_array().unwrap();
            items.iter().map(|item| expected(*of, Some(item))).collect()
        }
        (Type::Object(members), Some(object)) => {
            let members = members.iter();
            let members =
                members.map(|(name, of)| ((*name).to_owned(), expected(*of, object.get(name))));
            Value::Object(members.collect())
        }
        (_, Some(value)) => value.clone(),
    }
}

fn found(of: Type, column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match of {
        Type::Int => json!(column.as_primitive::<Int64Type>().value(row)),
        Type::Bool => json!(column.as_boolean().value(row)),
        Type::Time => json!(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        Type::Text | Type::Prose => json!(column.as_string::<i32>().value(row)),
        Type::List(of) => {
            let items = column.as_list::<i32>().value(row);
            (0..items.len()).map(|i| found(*of, &items, i)).collect()
        }
        Type::Object(members) => {
            let columns = members.iter().zip(column.as_struct().columns());
            let columns =
                columns.map(|((name, of), column)| ((*name).to_owned(), found(*of, column, row)));
            Value::Object(columns.collect())
        }
    }
}

fn rows(kind: Kind) -> impl Strategy<Value = Vec<Value>> {
    let key = fields::of(kind)[0];
    let row = (value(key.1), object(fields::of(kind))).prop_map(move |(id, mut row)| {
        row[key.0] = id;
        row
    });
    prop::collection::vec(row, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any subset of the documented fields decodes to just these, on every kind and with a row
    /// among them that must go.
    #[test]
    fn any_documented_fields_are_taken(
        (kind, rows) in prop::sample::select(Kind::ALL.to_vec())
            .prop_flat_map(|kind| (Just(kind), rows(kind))),
        bad in prop::option::of(0_usize..4),
    ) {
        let types = Type::Object(fields::of(kind));
        let mut sent = rows.clone();
        if let Some(at) = bad {
            let mut row = rows[0].clone();
            row[kind.sorts().iter().find(|by| by.grows()).unwrap().field] = json!(i64::MAX);
            sent.insert(at.min(rows.len()), row);
        }
        let decoded = decode(kind, &Value::from(sent));
        prop_assert_eq!(decoded.rejected.len(), usize::from(bad.is_some()));
        prop_assert_eq!(decoded.batches.len(), 1);
        let batch = arrow_array::StructArray::from(decoded.batches[0].clone());
        prop_assert_eq!(batch.len(), rows.len());
        for (i, row) in rows.iter().enumerate() {
            prop_assert_eq!(found(types, &batch, i), expected(types, Some(row)));
        }
    }
}
