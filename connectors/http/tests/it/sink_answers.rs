//! What the `http` sink keeps of the server's answers.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt64Type};
use serde_json::{Value, json};
use tidegate_core::{Input, SinkConfig as _, Written};

use crate::sink_far::{Answer, Far, answer, cx, deliver, keys, rows, with_origins};

/// What is given where somebody reads the answers.
async fn written(keys: Value, rows: RecordBatch) -> Written {
    let config: tidegate_connector_http::HttpSinkConfig = serde_json::from_value(keys).unwrap();
    let test = cx();
    let mut cx = test.sink(vec![Input {
        name: "rows".into(),
        schema: rows.schema(),
    }]);
    cx.answers = true;
    let sink = config.open(&cx).await.unwrap();
    let written = deliver(&sink, vec![with_origins(rows, "s", 0)])
        .await
        .unwrap();
    for answers in &written.answers {
        assert_eq!(answers.schema(), sink.answers().unwrap());
    }
    written
}

fn texts(written: &Written, column: &str) -> Vec<Option<String>> {
    let batches = written.answers.iter();
    let texts = batches.flat_map(|batch| {
        let column = batch.column_by_name(column).unwrap().as_string::<i32>();
        let texts = column.iter().map(|text| text.map(str::to_owned));
        texts.collect::<Vec<_>>()
    });
    texts.collect()
}

#[tokio::test]
async fn each_answer_is_a_row_with_what_was_sent() {
    let far = Far::start(|seen, _| match seen.json()["id"].as_i64().unwrap() {
        1 => answer(422, "no"),
        2 => answer(200, b"\xff\x00".to_vec()),
        3 => answer(204, ""),
        id => Answer {
            headers: vec![
                ("location", format!("/things/{id}")),
                ("x-tag", "a".to_owned()),
                ("x-tag", "b".to_owned()),
            ],
            ..answer(201, format!(r#"{{"made":{id}}}"#))
        },
    })
    .await;
    let written = written(keys(&far.url, json!({ "concurrency": 1 })), rows(0, 4)).await;
    assert_eq!(written.rejected.len(), 1);
    let bodies = texts(&written, "body");
    let bodies: Vec<_> = bodies.iter().map(Option::as_deref).collect();
    assert_eq!(bodies, [Some(r#"{"made":0}"#), Some("no"), None, Some("")]);
    let sent = texts(&written, "row");
    let ids = sent.iter().map(|row| {
        let row: Value = serde_json::from_str(row.as_ref().unwrap()).unwrap();
        row["id"].as_i64().unwrap()
    });
    assert_eq!(ids.collect::<Vec<_>>(), [0, 1, 2, 3]);
    let statuses = written.answers.iter().flat_map(|batch| {
        let column = batch.column_by_name("status").unwrap();
        column.as_primitive::<Int32Type>().values().to_vec()
    });
    assert_eq!(statuses.collect::<Vec<_>>(), [201, 422, 200, 204]);
    let bytes = written.answers.iter().flat_map(|batch| {
        let column = batch.column_by_name("body_bytes").unwrap();
        let column = column.as_binary::<i32>();
        column
            .iter()
            .map(|bytes| bytes.map(<[u8]>::to_vec))
            .collect::<Vec<_>>()
    });
    let bytes: Vec<_> = bytes.collect();
    assert_eq!(bytes, [None, None, Some(b"\xff\x00".to_vec()), None]);
    let headers = texts(&written, "headers");
    let first: Value = serde_json::from_str(headers[0].as_ref().unwrap()).unwrap();
    assert_eq!(first["location"], "/things/0");
    assert_eq!(first["x-tag"], "a, b");
}

#[tokio::test]
async fn a_request_of_many_rows_has_one_answer() {
    // The second half of the rows is refused together, then row by row.
    let far = Far::start(|seen, _| {
        let rows = seen.json();
        let bad = |row: &Value| row["id"].as_i64().unwrap() == 3;
        match rows.as_array().unwrap().iter().any(bad) {
            true => answer(400, "3 is bad"),
            false => answer(200, "ok"),
        }
    })
    .await;
    let body = json!({ "body": "array", "batch_rows": 10, "concurrency": 1 });
    let written = written(keys(&far.url, body), rows(0, 4)).await;
    let counts = written.answers.iter().flat_map(|batch| {
        let column = batch.column_by_name("rows").unwrap();
        column.as_primitive::<UInt64Type>().values().to_vec()
    });
    assert_eq!(counts.collect::<Vec<_>>(), [4, 2, 2, 1, 1]);
    let rows = texts(&written, "row");
    let alone: Vec<bool> = rows.iter().map(Option::is_some).collect();
    assert_eq!(alone, [false, false, false, true, true]);
    let urls = texts(&written, "url");
    assert!(
        urls.iter()
            .all(|url| url.as_deref() == Some(&*format!("{}/", far.url)))
    );
    assert_eq!(written.rejected.len(), 1);
}

#[tokio::test]
async fn answers_after_which_a_request_is_made_again_are_left_out() {
    let far = Far::start(|_, number| match number {
        0 => answer(503, "later"),
        _ => answer(200, "now"),
    })
    .await;
    let written = written(keys(&far.url, json!({})), rows(0, 1)).await;
    assert_eq!(texts(&written, "body"), [Some("now".to_owned())]);
    assert_eq!(far.seen().len(), 2);
}
