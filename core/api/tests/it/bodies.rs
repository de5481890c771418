//! Bodies in odd encodings and forms, and those that are no JSON.

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde_json::{Value, json};
use tidegate_api::{ApiSource, Endpoint};
use tidegate_core::{Error, ErrorKind, Result};

use crate::support::{Asked, Run, Server, client, endpoint, paged, run, source};

/// A server that gives these bytes as of this type.
fn giving(media: &'static str, body: impl Into<Vec<u8>>) -> Server {
    let body = body.into();
    Server::new(move |_: &Asked| ([(CONTENT_TYPE, media)], body.clone()))
}

fn whole(server: &Server, records: &str) -> Endpoint {
    endpoint(server.at("/"), paged(json!({ "type": "none" })), records)
}

async fn names(server: &Server, records: &str) -> Result<Vec<Value>> {
    let read = run(&source(whole(server, records)), None).await?;
    let rows = read.rows.get("records").map_or(&[][..], Vec::as_slice);
    Ok(rows.iter().map(|row| row["name"].clone()).collect())
}

async fn refused(server: &Server, records: &str) -> Error {
    let error = names(server, records).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
    error
}

/// The bytes of a text in an encoding that `encode` knows.
fn utf16(text: &str, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(encode).collect()
}

const ZOE: &str = r#"[{ "id": 1, "name": "Zoë" }]"#;

#[tokio::test]
async fn c6_json_is_read_in_the_encodings_that_servers_send() {
    let latin1: Vec<u8> = ZOE
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let with_mark = |text: &str| format!("\u{feff}{text}");
    for (media, body) in [
        ("application/json", ZOE.as_bytes().to_vec()),
        ("application/json", with_mark(ZOE).into()),
        ("application/json; charset=utf-8", with_mark(ZOE).into()),
        ("application/json; charset=ISO-8859-1", latin1.clone()),
        ("application/json;charset=\"windows-1252\"", latin1.clone()),
        // It says latin1, and isn't: what is valid UTF-8 is UTF-8.
        ("application/json; charset=latin1", ZOE.as_bytes().to_vec()),
        ("application/json; charset=utf-16", ZOE.as_bytes().to_vec()),
        ("application/json", utf16(&with_mark(ZOE), u16::to_le_bytes)),
        ("application/json", utf16(&with_mark(ZOE), u16::to_be_bytes)),
        ("application/json", utf16(ZOE, u16::to_le_bytes)),
        (
            "application/json; charset=utf-16be",
            utf16(ZOE, u16::to_be_bytes),
        ),
    ] {
        let read = names(&giving(media, body.clone()), "").await;
        let read = read.unwrap_or_else(|error| panic!("{media} {body:?}: {error:?}"));
        assert_eq!(read, [json!("Zoë")], "{media} {body:?}");
    }
    let error = refused(&giving("application/json", latin1), "").await;
    assert!(error.message().contains("not in UTF-8"), "{error:?}");
    assert!(
        error.hint_text().unwrap().contains("`charset`"),
        "{error:?}"
    );
}

#[tokio::test]
async fn c6_a_mark_before_the_text_stays_in_the_raw_stream() {
    let body = "\u{feff}[{ \"id\": 1 }]";
    let server = giving("application/json", body);
    let source = ApiSource::new(client(), vec![whole(&server, "")]).raw(true);
    let read = run(&source, None).await.unwrap();
    assert_eq!(read.ids(), [1]);
    assert_eq!(read.rows["raw"].len(), 1);
    let raw = read.rows["raw"][0]["body"].as_str().unwrap().to_owned();
    assert!(raw.starts_with("77u/"), "in base64: {raw}");
}

#[tokio::test]
async fn c6_lines_of_json_are_records() {
    let lines =
        "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\r\n\n{\"id\":3,\"name\":\"c\"}";
    for media in [
        "application/x-ndjson",
        "application/x-ndjson; charset=utf-8",
        "application/ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/stream+json",
        "Application/JSONL",
    ] {
        let read = names(&giving(media, lines), "").await.unwrap();
        assert_eq!(read, [json!("a"), json!("b"), json!("c")], "{media}");
    }
    let media = "application/x-ndjson";
    let one = "{\"id\":1,\"name\":\"a\"}\n";
    assert_eq!(names(&giving(media, one), "").await.unwrap(), [json!("a")]);
    assert!(names(&giving(media, ""), "").await.unwrap().is_empty());
    // What says so and isn't.
    let array = "[{\"id\":1,\"name\":\"a\"}]";
    assert_eq!(
        names(&giving(media, array), "").await.unwrap(),
        [json!("a")]
    );
    let around = "{\"items\":[{\"id\":1,\"name\":\"a\"}]}";
    assert_eq!(
        names(&giving(media, around), "/items").await.unwrap(),
        [json!("a")]
    );
    // Each text with a mark before it (RFC 7464).
    let marked = "\u{1e}{\"id\":1,\"name\":\"a\"}\n\u{1e}{\"id\":2,\"name\":\"b\"}\n";
    let read = names(&giving("application/json-seq", marked), "")
        .await
        .unwrap();
    assert_eq!(read, [json!("a"), json!("b")]);
    // The last line is cut.
    refused(&giving(media, "{\"id\":1}\n{\"id\":2"), "").await;
}

#[tokio::test]
async fn c6_lines_that_no_type_tells_are_read_where_an_object_is_a_record() {
    let lines = "{\"id\":1}\n{\"id\":2}\n";
    for media in ["application/json", "text/plain"] {
        let server = giving(media, lines);
        let error = refused(&server, "").await;
        assert!(
            error
                .hint_text()
                .unwrap()
                .contains("`records_object = true`"),
            "{error:?}"
        );
        for (lines, ids) in [(lines, &[1, 2][..]), ("{\"id\":1}\n", &[1])] {
            let mut one = whole(&giving(media, lines), "");
            one.records.object = true;
            assert_eq!(run(&source(one), None).await.unwrap().ids(), ids);
        }
    }
}

#[tokio::test]
async fn c6_lines_are_paged_as_well() {
    let server = Server::new(|asked: &Asked| {
        let page = asked.number("page").unwrap();
        let lines = match page {
            1 | 2 => format!("{{\"id\":{page}}}\n{{\"id\":{}}}\n", page + 10),
            _ => String::new(),
        };
        ([(CONTENT_TYPE, "application/x-ndjson")], lines)
    });
    let one = endpoint(server.at("/"), paged(json!({ "type": "page" })), "");
    assert_eq!(run(&source(one), None).await.unwrap().ids(), [1, 11, 2, 12]);
}

#[tokio::test]
async fn c6_what_is_no_json_is_said_to_be_what_it_is() {
    let html = "text/html; charset=utf-8";
    for (media, body, what, hint) in [
        (
            html,
            "<!DOCTYPE html><html>Sign in</html>",
            "(HTML)",
            "`auth`",
        ),
        ("text/plain", "\n <HTML>x</HTML>", "(HTML)", "`url`"),
        (
            "application/json",
            "\u{feff}<!doctype html>x",
            "(HTML)",
            "`url`",
        ),
        (html, "<div>x</div>", "(HTML)", "`url`"),
        (
            "application/xml",
            "<?xml version=\"1.0\"?><a/>",
            "XML",
            "`params",
        ),
        ("application/json", "<soap:Envelope/>", "XML", "`headers`"),
        ("text/csv", "id,name\n1,a\n", "CSV", "`params`"),
        ("text/plain", "busy", "text, not JSON", "`url`"),
        ("application/json", "", "empty", "`records_optional = true`"),
        (
            "application/json",
            "[{\"id\": 1}",
            "ends too early",
            "smaller pages",
        ),
        (
            "application/json",
            "[{\"id\": 1,}]",
            "begins so",
            "line and column",
        ),
        ("application/json", "[{\"v\": NaN}]", "`NaN`", "`params`"),
        (
            "application/json",
            "[{\"v\": Infinity}]",
            "`Infinity`",
            "`params`",
        ),
        (
            "application/json",
            "[{\"v\":\n -Infinity}]",
            "`-Infinity`",
            "`params`",
        ),
        (
            "application/octet-stream",
            "PK\u{3}\u{4}\0\u{1}",
            "neither JSON nor any other text",
            "`url`",
        ),
    ] {
        let error = refused(&giving(media, body), "").await;
        assert!(error.message().contains(what), "{body}: {error:?}");
        assert!(
            error.hint_text().unwrap().contains(hint),
            "{body}: {error:?}"
        );
        assert_eq!(
            error.message().contains("people"),
            what == "(HTML)",
            "{error:?}"
        );
        assert!(!format!("{error}").contains(['\0', '\u{3}']), "{error}");
    }
}

#[tokio::test]
async fn c6_the_first_bytes_are_shown_and_no_secret() {
    let server = giving("text/plain", "no such token: hunter2");
    let client = client();
    client.hide("hunter2");
    let source = ApiSource::new(client, vec![whole(&server, "")]);
    let text = format!("{:?}", run(&source, None).await.unwrap_err());
    assert!(text.contains("no such token: ***"), "{text}");
    assert!(
        text.contains("text/plain") && !text.contains("hunter2"),
        "{text}"
    );
}

#[tokio::test]
async fn c6_what_stands_in_the_place_of_records_is_told_with_the_key_that_helps() {
    for (body, records, hints) in [
        (
            json!({ "users": null }),
            "/users",
            &["`records_optional = true`"][..],
        ),
        (
            json!({ "more": false }),
            "/users",
            &["`records_optional = true`"],
        ),
        (json!(null), "", &["`records_optional = true`"]),
        (
            json!({ "a": { "b": [] }, "c": [] }),
            "",
            &["`records_object = true`", "`/a/b`, `/c`"],
        ),
        (
            json!({ "users": { "id": 1 } }),
            "/users",
            &["`records_object = true`"],
        ),
        (
            json!({ "users": "none" }),
            "/users",
            &["an object of `users`"],
        ),
        (json!("busy"), "", &["`records`"]),
    ] {
        let error = refused(&giving("application/json", body.to_string()), records).await;
        for hint in hints {
            assert!(
                error.hint_text().unwrap().contains(hint),
                "{body}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn c6_names_that_come_twice_and_deep_records_are_read_as_elsewhere() {
    let body = r#"{ "items": [], "items": [{ "id": 1, "id": 2, "name": "x" }] }"#;
    let one = whole(&giving("application/json", body), "/items");
    assert_eq!(run(&source(one), None).await.unwrap().ids(), [2]);
    // What the schema doesn't have is passed over, however deep.
    for depth in [100, 200, 400] {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!("[{{ \"id\": 1, \"deep\": {deep} }}]");
        let one = whole(&giving("application/json", body), "");
        assert_eq!(run(&source(one), None).await.unwrap().ids(), [1]);
    }
}

/// Pages of one record by a cursor: it is asked for with each of these in turn, and the last page
/// has `end`.
fn cursors(end: Value) -> Server {
    Server::new(move |asked: &Asked| {
        let at = asked.number("c").unwrap_or(1);
        let next = if at < 3 { json!(at + 1) } else { end.clone() };
        let mut body = json!({ "items": [{ "id": at }], "c": next, "more": at < 3 });
        if next == json!("missing") {
            body.as_object_mut().unwrap().remove("c");
        }
        Json(body).into_response()
    })
}

#[tokio::test]
async fn c6_a_cursor_that_is_nothing_is_the_end() {
    for end in [
        json!(null),
        json!(""),
        json!(false),
        json!(0),
        json!(0.0),
        json!([]),
        json!({}),
        json!("missing"),
    ] {
        for way in [
            json!({ "type": "cursor", "cursor": "/c", "param": "c" }),
            json!({ "type": "cursor", "cursor": "/c", "param": "c", "has_more": "/more" }),
        ] {
            let one = endpoint(cursors(end.clone()).at("/"), paged(way), "/items");
            assert_eq!(
                run(&source(one), None).await.unwrap().ids(),
                [1, 2, 3],
                "{end}"
            );
        }
    }
    // A URL likewise.
    for end in [json!(null), json!(""), json!(false), json!(0)] {
        let server = Server::new(move |asked: &Asked| {
            let next = match asked.number("c") {
                None => json!("?c=2"),
                Some(_) => end.clone(),
            };
            Json(json!({ "items": [{ "id": asked.number("c").unwrap_or(1) }], "next": next }))
        });
        let way = json!({ "type": "next_url", "next": "/next" });
        let one = endpoint(server.at("/"), paged(way), "/items");
        assert_eq!(run(&source(one), None).await.unwrap().ids(), [1, 2]);
    }
    // A record may have 0 for a cursor.
    let server = Server::new(|asked: &Asked| {
        let ids = match asked.number("c") {
            None => vec![-1, 0],
            Some(0) => vec![1, 2],
            Some(_) => vec![],
        };
        Json(
            ids.into_iter()
                .map(|id| json!({ "id": id }))
                .collect::<Vec<_>>(),
        )
    });
    let way = json!({ "type": "cursor", "cursor": "/id", "from": "last_record", "param": "c" });
    let one = endpoint(server.at("/"), paged(way), "");
    assert_eq!(run(&source(one), None).await.unwrap().ids(), [-1, 0, 1, 2]);
}

#[tokio::test]
async fn c6_has_more_may_be_a_number_or_a_text_and_is_false_where_it_is_left_out_later() {
    let as_it_is: [fn(bool) -> Value; 5] = [
        |more| json!(more),
        |more| json!(u8::from(more)),
        |more| json!(more.to_string()),
        |more| if more { json!(true) } else { json!(null) },
        |more| if more { json!(true) } else { json!("missing") },
    ];
    for told in as_it_is {
        let server = Server::new(move |asked: &Asked| {
            let page = asked.number("page").unwrap();
            let mut body = json!({ "items": [{ "id": page }], "more": told(page < 3) });
            if body["more"] == json!("missing") {
                body.as_object_mut().unwrap().remove("more");
            }
            Json(body)
        });
        let way = json!({ "type": "page", "has_more": "/more" });
        let one = endpoint(server.at("/"), paged(way), "/items");
        assert_eq!(run(&source(one), None).await.unwrap().ids(), [1, 2, 3]);
    }
}

#[tokio::test]
async fn c6_a_cursor_is_sent_back_as_it_came() {
    for cursor in [
        "7",
        "7.50",
        "12345678901234567890123",
        "1.0",
        "\"a b&c\"",
        "-3",
    ] {
        let first = format!("{{ \"items\": [{{ \"id\": 1 }}], \"c\": {cursor} }}");
        let server = Server::new(move |asked: &Asked| match asked.query.get("c") {
            None => first.clone(),
            Some(_) => "{ \"items\": [] }".to_owned(),
        });
        let way = json!({ "type": "cursor", "cursor": "/c", "param": "c" });
        let one = endpoint(server.at("/"), paged(way), "/items");
        run(&source(one), None).await.unwrap();
        assert_eq!(server.asked()[1].query["c"], cursor.trim_matches('"'));
    }
}

async fn error(server: &Server, way: Value) -> Error {
    let one = endpoint(server.at("/"), paged(way), "/items");
    run(&source(one), None).await.map(|_: Run| ()).unwrap_err()
}

#[tokio::test]
async fn c6_a_circle_is_told_by_its_pages_and_cursor() {
    let circle = |asked: &Asked| -> Response {
        let (id, next) = match asked.query.get("c").map_or("", String::as_str) {
            "" => (1, "a"),
            "a" => (2, "b"),
            _ => (3, "b"),
        };
        let link = [("link", format!("<?c={next}>; rel=next"))];
        let body = json!({ "items": [{ "id": id }], "c": next, "next": format!("?c={next}") });
        (AppendHeaders(link), Json(body)).into_response()
    };
    let server = Server::new(circle);
    for (way, words) in [
        (
            json!({ "type": "cursor", "cursor": "/c", "param": "c" }),
            [
                "page 3 leads to the cursor \"b\", which was page 3",
                "`pagination.has_more`",
            ],
        ),
        (
            json!({ "type": "next_url", "next": "/next" }),
            ["?c=b, which was page 3", "`pagination.next`"],
        ),
        (
            json!({ "type": "link" }),
            ["?c=b, which was page 3", "operator"],
        ),
    ] {
        let text = format!("{:?}", error(&server, way).await);
        for words in words {
            assert!(text.contains(words), "{text}");
        }
    }
}
