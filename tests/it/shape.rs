//! The transforms that give rows another shape, one after the other in a pipeline.

use serde_json::{Value, json};

use super::support::{Site, lines_of};

const PIPELINE: &str = r#"
name = "shape"

[sources.details]
type = "files"
url = "in/*.json"
format = "raw"

[transforms.people]
type = "extract"
inputs = ["details"]
fields = ["first_name", "last_name", { name = "zip", from = "zip_code" }]

[transforms.once]
type = "dedupe"
inputs = ["people"]
key = ["first_name", "last_name"]

[transforms.masked]
type = "mask"
inputs = ["once"]
key = { file = "key" }
columns = { last_name = "hash", zip = { keep_first = 2 } }

[sinks.out]
type = "files"
inputs = ["masked"]
url = "out/people/{stream}.ndjson"

[sinks.bad]
type = "files"
inputs = ["people.rejected"]
url = "out/bad/{stream}.ndjson"

[sources.users]
type = "files"
url = "users.ndjson"

[transforms.flat]
type = "flatten"
inputs = ["users"]

[sinks.users_out]
type = "files"
inputs = ["flat"]
url = "out/users/{stream}.ndjson"
"#;

fn site(pipeline: &str) -> Site {
    let site = Site::with(pipeline);
    site.write("key", "quite a secret\n");
    site.write(
        "in/a.json",
        r#"{"zip_code": "10115", "people": [
            {"first_name": "Ada", "last_name": "L"},
            {"name": {"first_name": "Bob", "last_name": "M"}, "zip_code": 20095}
        ]}"#,
    );
    site.write(
        "in/b.json",
        r#"{"first_name": "Ada", "last_name": "L", "zip_code": "10115"}"#,
    );
    site.write("in/c.json", r#"{"first_name": "Cyd", }"#);
    site.write("in/d.json", r#"{"nothing": "of interest"}"#);
    site.write(
        "users.ndjson",
        "{\"id\":1,\"address\":{\"city\":\"Paris\",\"geo\":{\"lat\":1.5}}}\n{\"id\":2}\n",
    );
    site
}

#[test]
fn details_of_people_come_out_once_and_masked() {
    let site = site(PIPELINE);
    let (ended, report) = site.run_with_report(&[]);
    let ended = ended.expect_done();
    assert!(!ended.stderr.contains("quite a secret"));
    let mut people = lines_of(&site.path("out/people"));
    people.sort_by_key(|person| person["first_name"].to_string());
    let shown: Vec<_> = people
        .iter()
        .map(|of| (&of["first_name"], &of["zip"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("Ada"), &json!("10***")),
            (&json!("Bob"), &json!("20***"))
        ]
    );
    for person in &people {
        let hash = person["last_name"].as_str().expect("a text");
        assert!(
            hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{hash}"
        );
    }
    let bad = lines_of(&site.path("out/bad"));
    assert_eq!(bad.len(), 1);
    assert_eq!(
        bad[0]["reason"],
        "column `payload`: malformed JSON: expected a key before `}` (at byte 22)"
    );
    // What was dropped is what came in and didn't go out.
    let components = report["components"].as_array().expect("components");
    let once = components
        .iter()
        .find(|of| of["id"] == "once")
        .expect("it is there");
    assert_eq!(
        (&once["rows_in"], &once["rows_out"]),
        (&json!(3), &json!(2))
    );
    let users = lines_of(&site.path("out/users"));
    let want: [Value; 2] = [
        json!({ "id": 1, "address_city": "Paris", "address_geo_lat": 1.5 }),
        json!({ "id": 2, "address_city": null, "address_geo_lat": null }),
    ];
    assert_eq!(users, want);
}

#[test]
fn mistakes_in_their_keys_are_shown_in_the_file() {
    for (right, wrong, said) in [
        (
            "last_name = \"hash\"",
            "last_name = \"hsh\"",
            "must be `hash` or `redact` or `null` or { redact = … }",
        ),
        (
            "last_name = \"hash\"",
            "last_nam = \"hash\"",
            "did you mean `last_name`?",
        ),
        ("{ keep_first = 2 }", "{ keep_firs = 2 }", "`keep_first`"),
        (
            "key = { file = \"key\" }",
            "key = \"quite a secret\"",
            "env",
        ),
        ("fields = [\"first_name\", ", "fields = [7, ", "fields"),
        ("from = \"zip_code\"", "form = \"zip_code\"", "`from`"),
        (
            "type = \"flatten\"",
            "type = \"flatten\"\ncolumns = [\"id\"]",
            "not a struct",
        ),
    ] {
        assert!(PIPELINE.contains(right));
        let ended = site(&PIPELINE.replace(right, wrong)).tidegate(&["check", "pipeline.toml"]);
        // What depends on the columns is an error of another kind.
        let of_columns = ["last_nam =", "[\"id\"]"]
            .iter()
            .any(|it| wrong.contains(it));
        let ended = ended.expect_code(if of_columns { 1 } else { 2 });
        let ended = ended.expect_said(&[said]);
        assert!(!ended.stderr.contains("quite a secret"), "{}", ended.stderr);
    }
}
