//! Bad input around S3 and the catalog gets a clear error before anything is published, or a
//! correct escape.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_testkit::servers::{Proxy, READER_ACCESS_KEY, Reply};

use super::lake::{BUCKET, Environment, Lake};
use super::support::Site;

/// A pipeline of one row from a local file to `url`.
fn write_to(url: &str, more: &str) -> Site {
    let site = Site::with(&format!(
        r#"
        name = "bad"

        [sources.rows]
        type = "files"
        url = "rows.ndjson"

        [sinks.lake]
        type = "parquet"
        inputs = ["rows"]
        url = "{url}"
        {more}
        "#
    ));
    site.write("rows.ndjson", "{\"id\":1,\"name\":\"a\"}\n");
    site
}

/// A pipeline from `url` to a local directory.
fn read_from(url: &str) -> Site {
    Site::with(&format!(
        r#"
        name = "bad"

        [sources.rows]
        type = "files"
        url = "{url}"
        schema = [{{ name = "id", type = "int64" }}]

        [sinks.local]
        type = "parquet"
        inputs = ["rows"]
        url = "out"
        "#
    ))
}

/// Runs it; it must fail with one of these codes, and say these texts.
#[track_caller]
fn fails(aws: &Environment, site: &Site, code: i32, texts: &[&str]) {
    let ended = aws.tidegate(site, &["run", "pipeline.toml"]);
    ended.expect_code(code).expect_said(texts);
    assert!(!site.path("out").exists(), "something was written");
}

#[test]
fn a_bucket_that_is_not_there() {
    let lake = Lake::new();
    let aws = lake.environment();
    let texts = [
        "there is no such bucket",
        "no-such-bucket",
        "hint: make the bucket",
    ];
    fails(&aws, &write_to("s3://no-such-bucket/rows", ""), 1, &texts);
    fails(
        &aws,
        &read_from("s3://no-such-bucket/rows/*.ndjson"),
        1,
        &texts,
    );
}

#[test]
fn keys_that_are_not_right() {
    let lake = Lake::new();
    lake.s3.put(BUCKET, "rows/a.ndjson", "{\"id\":1}\n");
    let right = lake.environment();
    let sink = || write_to(&format!("s3://{BUCKET}/table"), "");
    let source = || read_from(&format!("s3://{BUCKET}/rows/*.ndjson"));

    let wrong = right
        .clone()
        .with("AWS_SECRET_ACCESS_KEY", "not-the-secret");
    let texts = [
        "the secret key doesn't belong to the access key",
        "hint: check AWS_SECRET_ACCESS_KEY",
    ];
    fails(&wrong, &sink(), 1, &texts);
    fails(&wrong, &source(), 1, &texts);

    let unknown = right.clone().with("AWS_ACCESS_KEY_ID", "nobody");
    let texts = [
        "the access key isn't known there",
        "hint: check AWS_ACCESS_KEY_ID",
    ];
    fails(&unknown, &sink(), 1, &texts);
    fails(&unknown, &source(), 1, &texts);

    let reader = right.with("AWS_ACCESS_KEY_ID", READER_ACCESS_KEY);
    let texts = [
        "access denied",
        "hint: the credentials are known but lack this permission",
    ];
    fails(&reader, &sink(), 1, &texts);
    let site = source();
    reader
        .tidegate(&site, &["run", "pipeline.toml"])
        .expect_done();

    assert_eq!(lake.s3.objects(BUCKET, "table/"), []);
    assert_eq!(lake.s3.uploads(BUCKET), []);
}

#[test]
fn no_keys_at_all() {
    let lake = Lake::new();
    let aws = Environment::empty()
        .with("AWS_REGION", "us-east-1")
        .with("AWS_ENDPOINT_URL", &lake.s3.url());
    let texts = ["credentials", "hint: "];
    fails(
        &aws,
        &write_to(&format!("s3://{BUCKET}/table"), ""),
        1,
        &texts,
    );
    fails(
        &aws,
        &read_from(&format!("s3://{BUCKET}/rows/*.ndjson")),
        1,
        &texts,
    );
}

/// A server that says this to everything, and the environment that leads to it.
fn one_that_says(reply: Reply) -> (Proxy, Environment) {
    let server = Proxy::that_answers(move |_| reply.clone());
    let aws = Environment::empty()
        .with("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .with(
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        )
        .with("AWS_REGION", "us-east-1")
        .with("AWS_ENDPOINT_URL", &server.url());
    (server, aws)
}

#[test]
fn a_bucket_in_another_region() {
    let moved = Reply::s3_error(
        301,
        "PermanentRedirect",
        "The bucket you are attempting to access must be addressed using the specified endpoint.",
    );
    let malformed = Reply {
        body: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\
               <Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is \
               malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'</Message>\
               <Region>eu-central-1</Region></Error>"
            .to_owned(),
        ..Reply::s3_error(400, "", "")
    };
    let region = |reply: Reply| reply.with("x-amz-bucket-region", "eu-central-1");
    let wrong = "the bucket is in another region";
    let named = [wrong, "hint: set `region = \"eu-central-1\"` under [aws]"];
    for reply in [region(moved), region(malformed)] {
        let (_server, aws) = one_that_says(reply);
        // An error of the configuration.
        fails(&aws, &write_to("s3://bucket/table", ""), 2, &named);
        fails(&aws, &read_from("s3://bucket/rows/*.ndjson"), 2, &named);
    }
}

#[test]
fn keys_that_have_expired() {
    let reply = Reply::s3_error(400, "ExpiredToken", "The provided token has expired.");
    let (_server, aws) = one_that_says(reply);
    let aws = aws.with("AWS_SESSION_TOKEN", "a-token-of-yesterday");
    let texts = ["the credentials have expired", "hint: get new ones"];
    fails(&aws, &write_to("s3://bucket/table", ""), 1, &texts);
    fails(&aws, &read_from("s3://bucket/rows/*.ndjson"), 1, &texts);

    let reply = Reply::json_error(
        400,
        "ExpiredTokenException",
        "The security token included in the request is expired",
    );
    let (_glue, aws) = one_that_says(reply);
    let lake = Lake::new();
    let aws = aws
        .with("AWS_ENDPOINT_URL_S3", &lake.s3.url())
        .with("AWS_ACCESS_KEY_ID", tidegate_testkit::servers::ACCESS_KEY)
        .with(
            "AWS_SECRET_ACCESS_KEY",
            tidegate_testkit::servers::SECRET_KEY,
        );
    let url = format!("s3://{BUCKET}/table");
    fails(&aws, &write_to(&url, &glue("shop", "sales")), 1, &texts);
    assert_eq!(lake.s3.objects(BUCKET, ""), []);
}

fn glue(database: &str, table: &str) -> String {
    format!(r#"catalog = {{ type = "glue", database = "{database}", table = "{table}" }}"#)
}

#[test]
fn a_table_that_contradicts_the_rows() {
    let lake = Lake::new();
    let aws = lake.environment();
    let url = format!("s3://{BUCKET}/sales");
    // A first run makes the table.
    let catalog = glue("shop", "sales");
    let site = write_to(&url, &catalog);
    aws.tidegate(&site, &["run", "pipeline.toml"]).expect_done();
    let objects = lake.s3.objects(BUCKET, "");
    let table = lake.glue.glue_table("shop", "sales").expect("a table");
    let unchanged = || {
        assert_eq!(
            lake.s3.objects(BUCKET, ""),
            objects,
            "something was published"
        );
        assert_eq!(lake.s3.uploads(BUCKET), []);
        let now = lake.glue.glue_table("shop", "sales").expect("a table");
        assert_eq!(now["StorageDescriptor"], table["StorageDescriptor"]);
    };

    // A text where the table has a number.
    let site = write_to(&url, &catalog);
    site.write("rows.ndjson", "{\"id\":\"one\",\"name\":\"a\"}\n");
    fails(&aws, &site, 1, &["`id`", "shop.sales", "hint: "]);
    unchanged();

    // Other partition keys.
    let more = format!("partition_by = [\"name\"]\n{catalog}");
    fails(
        &aws,
        &write_to(&url, &more),
        1,
        &["partition", "shop.sales", "hint: "],
    );
    unchanged();

    // Another place.
    let other = format!("s3://{BUCKET}/elsewhere");
    fails(
        &aws,
        &write_to(&other, &catalog),
        2,
        &["shop.sales", &url, "hint: "],
    );
    unchanged();

    // A new column, and a table that is not to change.
    let frozen = catalog.replace(" }", ", schema_policy = \"freeze\" }");
    let site = write_to(&url, &frozen);
    site.write("rows.ndjson", "{\"id\":2,\"name\":\"b\",\"more\":true}\n");
    fails(&aws, &site, 1, &["`more`", "shop.sales", "hint: "]);
    unchanged();
}

#[test]
fn names_that_the_catalog_folds() {
    let lake = Lake::new();
    let aws = lake.environment();
    let url = format!("s3://{BUCKET}/sales");

    // Two columns that would be one.
    let site = write_to(&url, &glue("shop", "sales"));
    site.write("rows.ndjson", "{\"Id\":1,\"id\":2}\n");
    fails(
        &aws,
        &site,
        1,
        &["`Id`", "`id`", "hint: name one of them otherwise"],
    );
    // A table that Athena couldn't name.
    let site = write_to(&url, &glue("shop", "sales of 2024"));
    fails(
        &aws,
        &site,
        2,
        &["sales of 2024", "hint: ", "sales_of_2024"],
    );
    assert_eq!(lake.s3.objects(BUCKET, ""), []);
    assert_eq!(lake.s3.uploads(BUCKET), []);

    // One that is only folded.
    let site = write_to(&url, &glue("Shop", "Sales"));
    site.write("rows.ndjson", "{\"Id\":1,\"firstName\":\"Ada\"}\n");
    site.write("tidegate.toml", "[catalog]\ntype = \"glue\"\n");
    aws.tidegate(&site, &["run", "pipeline.toml"]).expect_done();
    let table = lake.glue.glue_table("shop", "sales").expect("a table");
    let columns = table["StorageDescriptor"]["Columns"]
        .as_array()
        .expect("columns");
    let names: Vec<_> = columns.iter().map(|column| &column["Name"]).collect();
    assert_eq!(names, ["id", "firstname"]);
    let rows = aws.query(&site, "SELECT id, firstname FROM shop.sales");
    assert_eq!(rows, [json!({ "id": 1, "firstname": "Ada" })]);
}

/// Values that a directory's name can't hold as they are.
const ODD: [&str; 12] = [
    "a/b",
    "k=v",
    "10:30",
    " x y ",
    "100%",
    "a+b&c?d#e",
    "ä€😀",
    "..",
    "quote'\"`",
    "back\\slash",
    "tab\tnew\nline",
    "__HIVE_DEFAULT_PARTITION__x",
];

#[test]
fn partition_values_of_all_kinds_come_back_as_they_were() {
    let lake = Lake::new();
    let aws = lake.environment();
    let site = write_to(
        &format!("s3://{BUCKET}/odd"),
        &format!("partition_by = [\"value\"]\n{}", glue("lake", "odd")),
    );
    let mut expected: BTreeSet<String> = ODD.iter().map(|value| json!(value).to_string()).collect();
    expected.insert("null".to_owned());
    let lines: Vec<_> = expected
        .iter()
        .map(|value| format!("{{\"id\":1,\"value\":{value}}}\n"))
        .collect();
    site.write("rows.ndjson", lines.concat());
    site.write("tidegate.toml", "[catalog]\ntype = \"glue\"\n");
    aws.tidegate(&site, &["run", "pipeline.toml"]).expect_done();

    assert_eq!(
        lake.glue.glue_partitions("lake", "odd").len(),
        ODD.len() + 1
    );
    let values = |rows: Vec<Value>| -> BTreeSet<String> {
        rows.iter().map(|row| row["value"].to_string()).collect()
    };
    let rows = aws.query(&site, "SELECT value, id FROM lake.odd");
    assert_eq!(rows.len(), ODD.len() + 1);
    assert_eq!(values(rows), expected);
    let rows = aws.query(&site, "SELECT value FROM lake.odd WHERE value = 'a/b'");
    assert_eq!(rows, [json!({ "value": "a/b" })]);

    let back = Site::with(
        r#"
        name = "back"

        [sources.odd]
        type = "table"
        catalog = { type = "glue", database = "lake", table = "odd" }

        [sinks.local]
        type = "files"
        inputs = ["odd"]
        url = "out"
        "#,
    );
    aws.tidegate(&back, &["run", "pipeline.toml"]).expect_done();
    assert_eq!(
        values(super::support::lines_of(&back.path("out"))),
        expected
    );
}

#[test]
fn a_partition_value_that_no_key_can_hold_is_an_error_before_anything_is_published() {
    let lake = Lake::new();
    let aws = lake.environment();
    let site = write_to(
        &format!("s3://{BUCKET}/odd"),
        &format!("partition_by = [\"value\"]\n{}", glue("lake", "odd")),
    );
    let long = "x".repeat(1000);
    let lines = ["short", &long].map(|value| format!("{{\"id\":1,\"value\":\"{value}\"}}\n"));
    site.write("rows.ndjson", lines.concat());
    fails(
        &aws,
        &site,
        1,
        &["column `value`: too long to name a directory", "hint: "],
    );
    assert_eq!(lake.s3.objects(BUCKET, ""), []);
    assert_eq!(lake.s3.uploads(BUCKET), []);
    assert_eq!(lake.glue.glue_table("lake", "odd"), None);
}
