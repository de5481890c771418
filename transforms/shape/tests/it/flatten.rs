//! `flatten`.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Fields, Schema};
use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Result, TransformConfig};
use tidegate_formats::{JsonRows, SchemaSpec};
use tidegate_testkit::suites::context;
use tidegate_transform_shape::FlattenConfig;

use super::support::{inputs, map, open, rows, suite, told};

/// Rows of these documents, in columns of these types.
fn batch(columns: &[(&str, &str)], documents: &[Value]) -> RecordBatch {
    let columns: Vec<Value> = columns
        .iter()
        .map(|(name, of)| json!({ "name": name, "type": of }))
        .collect();
    let spec: SchemaSpec = serde_json::from_value(columns.into()).unwrap();
    let mut rows = JsonRows::new(spec.to_arrow().unwrap(), documents.len(), true).unwrap();
    for document in documents {
        rows.push(document.to_string().as_bytes()).unwrap();
    }
    rows.finish().unwrap()
}

/// Users as `https://jsonplaceholder.typicode.com/users` gives them.
fn users() -> RecordBatch {
    let columns = [
        ("id", "int64"),
        ("name", "string"),
        ("username", "string"),
        ("email", "string"),
        (
            "address",
            "struct<street:string,suite:string,city:string,zipcode:string,geo:struct<lat:string,lng:string>>",
        ),
        ("phone", "string"),
        ("website", "string"),
        (
            "company",
            "struct<name:string,catchPhrase:string,bs:string>",
        ),
    ];
    let ada = json!({
        "id": 1, "name": "Ada", "username": "ada", "email": "ada@example.com",
        "address": { "street": "St. James's Square", "suite": "12", "city": "London", "zipcode": "W1",
            "geo": { "lat": "51.5", "lng": "-0.13" } },
        "phone": "1-770", "website": "example.com",
        "company": { "name": "Engines", "catchPhrase": "It computes", "bs": "analytical" },
    });
    let bob = json!({ "id": 2, "address": { "city": "Paris", "geo": null }, "company": null });
    batch(&columns, &[ada, bob, json!({ "id": 3, "address": null })])
}

async fn names(config: Value, batch: &RecordBatch) -> Vec<String> {
    let map = map::<FlattenConfig>(config, batch).await.unwrap();
    map.schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

#[tokio::test]
async fn users_have_fifteen_columns() {
    let users = users();
    let names = names(json!({}), &users).await;
    assert_eq!(
        names,
        [
            "id",
            "name",
            "username",
            "email",
            "address_street",
            "address_suite",
            "address_city",
            "address_zipcode",
            "address_geo_lat",
            "address_geo_lng",
            "phone",
            "website",
            "company_name",
            "company_catchPhrase",
            "company_bs",
        ]
    );
    let map = map::<FlattenConfig>(json!({}), &users).await.unwrap();
    let (rows, rejected) = rows(map.as_ref(), &users);
    assert!(rejected.is_empty());
    assert!(rows[0].starts_with(
        "address_city=London, address_geo_lat=51.5, address_geo_lng=-0.13, address_street=St. James's"
    ));
    assert!(rows[1].starts_with("address_city=Paris, address_geo_lat=∅, address_geo_lng=∅"));
    assert!(rows[2].starts_with("address_city=∅, address_geo_lat=∅") && rows[2].contains("id=3"));
    assert_eq!(
        map.scan(0).columns,
        None,
        "all columns pass, so all are needed"
    );
}

#[tokio::test]
async fn depth_separator_and_columns_are_chosen() {
    let users = users();
    let of = |config| names(config, &users);
    assert!(
        of(json!({ "depth": 1 }))
            .await
            .contains(&"address_geo".to_owned())
    );
    assert!(
        of(json!({ "depth": 2 }))
            .await
            .contains(&"address_geo_lat".to_owned())
    );
    assert!(
        of(json!({ "separator": "." }))
            .await
            .contains(&"address.geo.lat".to_owned())
    );
    assert!(
        of(json!({ "separator": "" }))
            .await
            .contains(&"addressgeolat".to_owned())
    );
    let chosen = of(json!({ "columns": ["company"] })).await;
    assert_eq!(chosen[4..6], ["address", "phone"]);
    assert_eq!(
        chosen[7..],
        ["company_name", "company_catchPhrase", "company_bs"]
    );
}

#[tokio::test]
async fn lists_and_maps_stay_as_they_are() {
    let map = DataType::Map(
        Arc::new(Field::new(
            "entries",
            DataType::Struct(Fields::from(vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", DataType::Int64, true),
            ])),
            false,
        )),
        false,
    );
    let item = Field::new_struct("item", vec![Field::new("x", DataType::Int64, true)], true);
    let fields = vec![
        Field::new("list", DataType::List(Arc::new(item)), true),
        Field::new("map", map, true),
        Field::new_struct("empty", Fields::empty(), true),
    ];
    let batch = RecordBatch::new_empty(Arc::new(Schema::new(fields)));
    assert_eq!(names(json!({}), &batch).await, ["list", "map"]);
}

/// A struct with a NULL in its middle, whose members have values there.
fn hidden() -> RecordBatch {
    let members: Vec<(Arc<Field>, ArrayRef)> = vec![
        (
            Arc::new(Field::new("n", DataType::Int64, false)),
            Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
        ),
        (
            Arc::new(Field::new("t", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![
                Some("a"),
                Some("b"),
                None,
                Some("d"),
            ])),
        ),
        (
            Arc::new(Field::new("u", DataType::Null, true)),
            arrow_array::new_null_array(&DataType::Null, 4),
        ),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    let nulls = NullBuffer::from(vec![true, false, true, true]);
    let nested = StructArray::new(fields.into(), arrays, Some(nulls));
    RecordBatch::try_from_iter_with_nullable([("s", Arc::new(nested) as ArrayRef, true)]).unwrap()
}

#[tokio::test]
async fn where_a_struct_is_null_its_members_are() {
    let batch = hidden();
    let map = map::<FlattenConfig>(json!({}), &batch).await.unwrap();
    assert!(
        map.schema().field(0).is_nullable(),
        "which `n` alone was not"
    );
    let want = [
        "s_n=1, s_t=a, s_u=∅",
        "s_n=∅, s_t=∅, s_u=∅",
        "s_n=3, s_t=∅, s_u=∅",
        "s_n=4, s_t=d, s_u=∅",
    ];
    assert_eq!(rows(map.as_ref(), &batch).0, want);
    assert_eq!(rows(map.as_ref(), &batch.slice(1, 2)).0, want[1..3]);
}

#[tokio::test]
async fn two_columns_of_one_name_are_refused_with_both_names() {
    let clash = batch(
        &[
            ("a_b", "int64"),
            ("a", "struct<b:int64,b_c:int64>"),
            ("a_b_c", "int64"),
        ],
        &[json!({})],
    );
    let told = told(map::<FlattenConfig>(json!({}), &clash).await);
    assert!(
        told.contains("`a_b` and `a.b` would both be called `a_b`"),
        "{told}"
    );
    assert_eq!(
        names(json!({ "separator": "__" }), &clash).await,
        ["a_b", "a__b", "a__b_c", "a_b_c"]
    );
}

#[tokio::test]
async fn mistakes_are_refused_before_anything_is_read() {
    let union = Field::new(
        "u",
        DataType::Union(
            [(0, Arc::new(Field::new("x", DataType::Int64, true)))]
                .into_iter()
                .collect(),
            arrow_schema::UnionMode::Sparse,
        ),
        false,
    );
    let within = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new_struct(
        "s",
        vec![union],
        true,
    )])));
    let users = users();
    for (config, batch, text) in [
        (json!({ "depth": 0 }), &users, "at least 1"),
        (json!({ "columns": [] }), &users, "no columns to take apart"),
        (
            json!({ "columns": ["adress"] }),
            &users,
            "did you mean `address`",
        ),
        (
            json!({ "columns": ["name"] }),
            &users,
            "is a Utf8, not a struct",
        ),
        (json!({}), &within, "`s.u` is a Union"),
    ] {
        let told = told(map::<FlattenConfig>(config, batch).await);
        assert!(told.contains(text), "{told}");
    }
}

#[tokio::test]
async fn inputs_have_the_same_columns_in_any_order() -> Result<()> {
    let users = users();
    let reversed: Vec<usize> = (0..users.num_columns()).rev().collect();
    let other = users.project(&reversed)?;
    let cx = context().transform(inputs(&[&users, &other]));
    let tidegate_core::Transform::Map(both) = open::<FlattenConfig>(json!({}), cx).await? else {
        panic!("it is a map");
    };
    assert_eq!(rows(both.as_ref(), &users), rows(both.as_ref(), &other));
    let less = users.project(&[0, 4])?;
    let cx = context().transform(inputs(&[&users, &less]));
    let error = open::<FlattenConfig>(json!({}), cx).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`api.users` has no column `name`"),
        "{error}"
    );
    let retyped = batch(&[("id", "string")], &[]);
    let cx = context().transform(inputs(&[&users.project(&[0])?, &retyped]));
    let error = open::<FlattenConfig>(json!({}), cx).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is a Int64 in `shop.users` and a Utf8 in `api.users`"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn it_keeps_the_contract() {
    for config in [
        json!({}),
        json!({ "depth": 1, "separator": "." }),
        json!({ "columns": ["company"] }),
    ] {
        suite::<FlattenConfig>(config, vec![users(), users().slice(1, 2)])
            .refuses("no depth", ErrorKind::Config, || async {
                let cx = context().transform(Vec::new());
                open::<FlattenConfig>(json!({ "depth": 0 }), cx)
                    .await
                    .map(drop)
            })
            .check()
            .await;
    }
    suite::<FlattenConfig>(json!({}), vec![hidden()])
        .check()
        .await;
    let config: FlattenConfig = serde_json::from_value(json!({})).unwrap();
    let stored = serde_json::to_value(Box::new(config) as Box<dyn TransformConfig>).unwrap();
    assert_eq!(stored, json!({ "type": "flatten" }));
}
