//! Real servers: both generations of json-server, with JSONPlaceholder's data.

use serde_json::{Value, json};
use tidegate_testkit::servers::{json_server, jsonplaceholder, jsonplaceholder_data};
use tidegate_testkit::suites::source_suite;

use crate::support::{Pipeline, impatient, open};

fn data(resource: &str) -> Vec<Value> {
    let data = std::fs::read(jsonplaceholder_data()).unwrap();
    let mut data: Value = serde_json::from_slice(&data).unwrap();
    serde_json::from_value(data[resource].take()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_that_json_server_pages_gives_the_servers_data() {
    let server = jsonplaceholder();
    let posts = data("posts");
    let page = |more: Value| {
        let mut page =
            json!({ "type": "page", "param": "_page", "size_param": "_limit", "size": 30 });
        page.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        page
    };
    for (params, pagination) in [
        (json!({}), json!({ "type": "none" })),
        (json!({}), page(json!({}))),
        (
            json!({}),
            page(json!({ "total": { "header": "X-Total-Count" } })),
        ),
        (json!({}), page(json!({ "short_page_ends": true }))),
        (
            json!({}),
            json!({ "type": "offset", "param": "_start", "size_param": "_limit", "size": 30 }),
        ),
        (
            json!({ "_page": 1, "_limit": 30 }),
            json!({ "type": "link" }),
        ),
    ] {
        let config = json!({ "url": format!("{}/posts", server.url()), "params": params,
            "pagination": pagination, "key": ["id"] });
        let read = Pipeline::new(config).run().await;
        let read = read.unwrap_or_else(|error| panic!("{pagination}: {error:?}"));
        let mut rows = read.of("records").to_vec();
        rows.sort_by_key(|row| row["id"].as_i64());
        assert_eq!(rows, posts, "{pagination}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_within_an_object_and_nested_records_are_read() {
    let server = json_server();
    let config = json!({ "url": format!("{}/users", server.url()), "records": "/data",
        "pagination": { "type": "page", "param": "_page", "size_param": "_per_page", "size": 3,
            "total": { "pointer": "/items" }, "previous": "/prev" } });
    let read = Pipeline::new(config.clone()).run().await.unwrap();
    let mut rows = read.of("records").to_vec();
    rows.sort_by_key(|row| row["id"].as_str().and_then(|id| id.parse::<u64>().ok()));
    let mut users = data("users");
    for user in &mut users {
        user["id"] = json!(user["id"].to_string());
    }
    assert_eq!(rows, users, "with address, geo and company within");
    source_suite(move || {
        let config = config.clone();
        async move { open(&config, &impatient(&[]).source()).await }
    })
    .rows("records", 10)
    .check()
    .await;
}
