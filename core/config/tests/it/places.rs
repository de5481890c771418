//! Places for errors that come after loading.

use tidegate_core::Error;

use crate::{Files, GOOD};

fn with_query(query: &str) -> Files {
    Files::new(GOOD.replace("\"SELECT 1\"", query))
}

#[test]
fn values_and_headers_are_found() {
    let document = Files::new(GOOD).loaded().document;
    let at = |path| {
        let found = document.locate(path).unwrap();
        (found.line, found.column)
    };
    assert_eq!(at("sources.shop.url"), (4, 7));
    assert_eq!(at("transforms.weekly"), (7, 1));
    assert_eq!(at("sinks.lake.inputs.0"), (14, 11));
    assert_eq!(document.locate("sinks.lake.nothing"), None);
}

#[test]
fn positions_inside_a_text_are_found() {
    let files = with_query("\"\"\"\nSELECT \\\"a\\\",\n  wrong\nFROM ${TABLE:-shop} WHERE x\"\"\"");
    let document = files.loaded().document;
    let at = |line, column| {
        let found = document
            .locate_in("transforms.weekly.query", line, column)
            .unwrap();
        (found.line, found.column)
    };
    assert_eq!(at(1, 1), (11, 1));
    // After `\"a\"`, which is shorter in the value.
    assert_eq!(at(1, 11), (11, 13));
    assert_eq!(at(2, 3), (12, 3));
    // The default stands at its own place.
    assert_eq!(at(3, 6), (13, 15));
    // `WHERE`, after a variable that is shorter in the value.
    assert_eq!(at(3, 11), (13, 21));
}

#[test]
fn values_from_elsewhere_are_found_there() {
    let files = Files::new(GOOD)
        .set("sinks.lake.url=x")
        .env("TIDEGATE_SET__sources__shop__rows", "5");
    let document = files.loaded().document;
    assert_eq!(
        document.locate("sinks.lake.url").unwrap().file,
        "--set sinks.lake.url"
    );
    assert_eq!(
        document.locate("sources.shop.rows").unwrap().file,
        "TIDEGATE_SET__sources__shop__rows"
    );
}

#[test]
fn a_components_error_is_shown_in_its_text() {
    let files = with_query("'''\nSELECT day,\n       pirce\nFROM shop'''");
    let document = files.loaded().document;
    let error = Error::schema("there is no column `pirce`")
        .with("key", "query")
        .with("line", 2)
        .with("column", 8)
        .hint("did you mean `price`?");
    let shown = document.explain("weekly", &error).to_string();
    let directory = format!("{}/", files.path().display());
    insta::assert_snapshot!(shown.replace(&directory, ""));
}

#[test]
fn a_components_error_never_tells_a_password() {
    let document = Files::new(GOOD).loaded().document;
    let error = Error::auth("mysql://me:hunter2@host/db refused us").with("url", "x://a:hunter2@b");
    assert!(
        !document
            .explain("shop", &error)
            .to_string()
            .contains("hunter2")
    );
}

#[test]
fn a_components_error_without_a_place_is_shown_at_its_header() {
    let document = Files::new(GOOD).loaded().document;
    let error = Error::not_found("no such directory").with("path", "/data");
    let shown = document.explain("shop", &error);
    assert_eq!((shown.line(), shown.column()), (2, 1));
    assert_eq!(shown.message(), "no such directory (path: /data)");
}
