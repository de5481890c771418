//! The engine against json-server, both generations.

use serde_json::json;
use tidegate_api::Endpoint;
use tidegate_http::Url;
use tidegate_testkit::servers::{json_server, jsonplaceholder};

use crate::support::{paged, pointer, run, source};

fn todos(url: &str) -> Endpoint {
    let url = Url::parse(&format!("{url}/todos")).unwrap();
    Endpoint::of("records", url, "id:int64,title:string", &["id"]).unwrap()
}

#[tokio::test]
async fn json_server_is_read_by_number_by_count_and_by_link() {
    let old = jsonplaceholder();
    let new = json_server();
    let sized = |param: &str, more: serde_json::Value| {
        let mut config =
            json!({ "type": "page", "param": "_page", "size_param": param, "size": 70 });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        config
    };
    let mut linked = todos(&old.url()).pagination(paged(json!({ "type": "link" })));
    linked.params = vec![("_page".into(), "1".into()), ("_limit".into(), "70".into())];
    let wrapped = |more| {
        let pages = paged(sized("_per_page", more));
        todos(&new.url())
            .pagination(pages)
            .records(pointer("/data"))
    };
    let counted = json!({ "total": { "header": "x-total-count" } });
    for one in [
        linked,
        todos(&old.url()).pagination(paged(sized("_limit", json!({})))),
        todos(&old.url()).pagination(paged(sized("_limit", counted))),
        wrapped(json!({ "previous": "/prev" })),
        wrapped(json!({ "total": { "pointer": "/items" } })),
        wrapped(json!({ "total": { "pages_pointer": "/pages" } })),
    ] {
        let shown = format!("{one:?}");
        let read = run(&source(one), None).await.unwrap();
        assert_eq!(read.ids(), (1..=200).collect::<Vec<_>>(), "{shown}");
    }
}
