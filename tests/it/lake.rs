//! The lake: `examples/lake` runs, and everybody reads the same out of what was written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_testkit::servers::{AwsServer, moto, python, seaweedfs};

use super::support::{Ended, Site, workspace};

/// The bucket that tests work in.
pub(crate) const BUCKET: &str = "tidegate-lake";

/// An S3 server with a bucket, and a Glue server.
#[derive(Debug)]
pub(crate) struct Lake {
    pub(crate) s3: AwsServer,
    pub(crate) glue: AwsServer,
}

impl Lake {
    pub(crate) fn new() -> Self {
        let lake = Self {
            s3: seaweedfs(),
            glue: moto(),
        };
        lake.s3.bucket(BUCKET);
        lake
    }

    /// The environment in which the program finds them, as the SDKs do.
    pub(crate) fn environment(&self) -> Environment {
        let mut environment = Environment::of(&self.s3);
        environment.set("AWS_ENDPOINT_URL_S3", &self.s3.url());
        environment.set("AWS_ENDPOINT_URL_GLUE", &self.glue.url());
        environment
    }
}

/// What the program sees of AWS, and nothing that the machine says of it.
#[derive(Debug, Clone)]
pub(crate) struct Environment(BTreeMap<&'static str, String>);

impl Environment {
    /// That of one server for everything.
    pub(crate) fn of(server: &AwsServer) -> Self {
        let mut environment = Self::empty();
        environment.0.extend(server.environment());
        environment
    }

    /// Without credentials, region and servers.
    pub(crate) fn empty() -> Self {
        let mut environment = Self(BTreeMap::new());
        environment.set("AWS_EC2_METADATA_DISABLED", "true");
        environment.set("AWS_CONFIG_FILE", "/dev/null");
        environment.set("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        environment
    }

    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.0.insert(name, value.to_owned());
    }

    /// The same with another value.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// A command of the program in it.
    pub(crate) fn command(&self, site: &Site, args: &[&str]) -> Command {
        let mut command = site.command(args);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command.envs(&self.0);
        command
    }

    /// Runs a command of the program in it, to its end.
    pub(crate) fn tidegate(&self, site: &Site, args: &[&str]) -> Ended {
        site.spawn(self.command(site, args)).wait()
    }

    /// Runs `pipeline.toml`, and reads the report.
    pub(crate) fn run_with_report(&self, site: &Site) -> (Ended, Value) {
        let args = ["run", "pipeline.toml", "--report", "report.json"];
        let ended = self.tidegate(site, &args);
        let report = serde_json::from_str(&site.read("report.json")).expect("JSON");
        (ended, report)
    }

    /// Rows of a query, as the program gives them in NDJSON.
    #[track_caller]
    pub(crate) fn query(&self, site: &Site, sql: &str) -> Vec<Value> {
        let ended = self.tidegate(site, &["query", sql, "--format", "ndjson"]);
        let ended = ended.expect_done();
        let lines = ended.stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
            })
            .collect()
    }
}

/// What a run of the example must have made: lines by day, recomputed from the raw files.
fn lines_by_day(site: &Site) -> BTreeMap<String, (usize, i64)> {
    let mut days = BTreeMap::new();
    for path in super::support::files_under(&site.path("data/raw/orders")) {
        let text = std::fs::read_to_string(path).expect("a raw file");
        for line in text.lines() {
            let Ok(order) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let day = order["placed_at"].as_str().expect("a time")[..10].to_owned();
            for item in order["items"].as_array().expect("items") {
                let price = item["price"].as_str().expect("a price").replace('.', "");
                let price: i64 = price.parse().expect("cents");
                let entry = days.entry(day.clone()).or_insert((0, 0));
                entry.0 += 1;
                entry.1 += price * item["quantity"].as_i64().expect("a quantity");
            }
        }
    }
    days
}

fn put_raw_files(lake: &Lake, site: &Site) {
    for path in super::support::files_under(&site.path("data")) {
        let key = path.strip_prefix(site.path("data")).expect("a raw file");
        let bytes = std::fs::read(&path).expect("a raw file");
        lake.s3
            .put(BUCKET, key.to_str().expect("a plain name"), bytes);
    }
}

#[test]
fn the_example_makes_a_table_out_of_raw_json() {
    let lake = Lake::new();
    let site = Site::of_example("lake");
    put_raw_files(&lake, &site);
    let aws = lake.environment().with("LAKE_BUCKET", BUCKET);

    let (ended, report) = aws.run_with_report(&site);
    ended.expect_done();
    assert_eq!(report["components"][0]["rejected"], 1, "{report}");
    let days = lines_by_day(&site);
    let partitions = lake.glue.glue_partitions("shop", "order_lines");
    let named: Vec<_> = partitions.keys().map(|values| values[0].clone()).collect();
    assert_eq!(named, days.keys().cloned().collect::<Vec<_>>());
    let rejected = lake.s3.objects(BUCKET, "rejected/");
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    let rejected = String::from_utf8(lake.s3.get(BUCKET, &rejected[0].key)).expect("UTF-8");
    assert!(rejected.contains("2026-11-02.ndjson"), "{rejected}");

    let sql = "SELECT day, count(*) AS lines, sum(amount) AS amount
               FROM shop.order_lines GROUP BY day ORDER BY day";
    let found: BTreeMap<_, _> = aws
        .query(&site, sql)
        .iter()
        .map(|row| {
            let day = row["day"].as_str().expect("a day").to_owned();
            let lines = row["lines"].as_u64().expect("a count");
            let cents = row["amount"].to_string().replace(['.', '"'], "");
            let lines = usize::try_from(lines).expect("a count");
            (day, (lines, cents.parse().expect("cents")))
        })
        .collect();
    assert_eq!(found, days);
    let query = site.read("query.sql");
    let ended = aws.tidegate(&site, &["query", query.trim()]).expect_done();
    assert!(ended.stdout.contains("country"), "{}", ended.stdout);
    let ended = aws
        .tidegate(&site, &["catalog", "list", "shop"])
        .expect_done();
    assert!(ended.stdout.contains("order_lines"), "{}", ended.stdout);

    // Another run takes only what is new.
    let before = lake.s3.objects(BUCKET, "tables/");
    let (ended, report) = aws.run_with_report(&site);
    ended.expect_done();
    assert_eq!(report["components"][0]["rows_out"], 0, "{report}");
    assert_eq!(lake.s3.objects(BUCKET, "tables/"), before);
    let text = site.read("data/raw/orders/2026-11-03.ndjson");
    let text = text.replace("2026-11-03T", "2026-11-04T");
    site.write("data/raw/orders/2026-11-04.ndjson", &text);
    lake.s3.put(BUCKET, "raw/orders/2026-11-04.ndjson", text);
    aws.run_with_report(&site).0.expect_done();
    assert_eq!(lake.glue.glue_partitions("shop", "order_lines").len(), 4);
    let rows = aws.query(&site, "SELECT count(*) AS n FROM shop.order_lines");
    let lines: usize = lines_by_day(&site).values().map(|(lines, _)| lines).sum();
    assert_eq!(rows, [json!({ "n": lines })]);
    assert_eq!(lake.s3.uploads(BUCKET), []);
}

/// How many rows the readers read.
const ROWS: usize = 20_000;

/// A row with a column of every kind, some of them NULL.
fn row(id: usize) -> Value {
    let some = |value: Value| {
        if id.is_multiple_of(7) {
            Value::Null
        } else {
            value
        }
    };
    json!({
        "id": id,
        "small": some(json!(id % 100)),
        "ratio": some(json!(id as f64 / 8.0)),
        "price": some(json!(format!("{}.{:02}", id / 10, id % 100))),
        "active": some(json!(id.is_multiple_of(2))),
        "name": some(json!(format!("n° {id}"))),
        "born": some(json!(format!("2024-{:02}-{:02}", id % 12 + 1, id % 28 + 1))),
        "seen_at": some(json!(format!("2024-01-{:02}T10:{:02}:00.123456Z", id % 28 + 1, id % 60))),
        "tags": some(json!([format!("t{}", id % 3), "x"])),
        "place": some(json!({ "city": format!("c{}", id % 5), "zip": id % 1000 })),
        "dt": format!("2024-06-{:02}", id % 3 + 1),
        "country": (["AT", "CH", "a b/ä"][id % 3]),
    })
}

/// The pipeline that writes them: everything that a table can have.
fn all_kinds(catalog: &str) -> String {
    format!(
        r#"
        name = "kinds"

        [sources.rows]
        type = "files"
        url = "rows.ndjson"
        schema = [
            {{ name = "id", type = "int64" }},
            {{ name = "small", type = "int32" }},
            {{ name = "ratio", type = "float64" }},
            {{ name = "price", type = "decimal(12,2)" }},
            {{ name = "active", type = "bool" }},
            {{ name = "name", type = "string" }},
            {{ name = "born", type = "date" }},
            {{ name = "seen_at", type = "timestamp" }},
            {{ name = "tags", type = "list<string>" }},
            {{ name = "place", type = "struct<city:string,zip:int32>" }},
            {{ name = "dt", type = "date" }},
            {{ name = "country", type = "string" }},
        ]

        [sinks.lake]
        type = "parquet"
        inputs = ["rows"]
        url = "s3://{BUCKET}/tables/kinds"
        partition_by = ["dt", "country"]
        row_group_rows = 2000
        {catalog}
        "#
    )
}

/// What the script of readers prints for each of them, in the same words.
fn expected() -> Value {
    let rows: Vec<_> = (0..ROWS).map(row).collect();
    let known = || rows.iter().filter(|row| !row["small"].is_null());
    let sum = |column: &str| known().filter_map(|row| row[column].as_u64()).sum::<u64>();
    let cents: u64 = known()
        .filter_map(|row| row["price"].as_str()?.replace('.', "").parse::<u64>().ok())
        .sum();
    json!({
        "rows": ROWS,
        "ids": ROWS * (ROWS - 1) / 2,
        "small": sum("small"),
        "ratio": known().filter_map(|row| row["ratio"].as_f64()).sum::<f64>(),
        "price": format!("{}.{:02}", cents / 100, cents % 100),
        "active": known().filter(|row| row["active"] == true).count(),
        "names": known().count(),
        "born": "2024-12-28",
        "seen_at": "2024-01-28T10:59:00.123456",
        "tags": known().count() * 2,
        "zips": known().filter_map(|row| row["place"]["zip"].as_u64()).sum::<u64>(),
        "countries": ["AT", "CH", "a b/ä"],
        "days": ["2024-06-01", "2024-06-02", "2024-06-03"],
    })
}

#[test]
fn every_reader_reads_the_same_table() {
    let lake = Lake::new();
    let aws = lake.environment();
    let site = Site::with(&all_kinds(
        r#"catalog = { type = "glue", database = "lake", table = "kinds" }"#,
    ));
    let mut text = String::new();
    for id in 0..ROWS {
        writeln!(text, "{}", row(id)).expect("a string");
    }
    site.write("rows.ndjson", text);
    site.write("tidegate.toml", "[catalog]\ntype = \"glue\"\n");
    aws.tidegate(&site, &["run", "pipeline.toml"]).expect_done();

    // Ours: DataFusion over the catalog and over the plain path.
    for table in ["lake.kinds", &format!("'s3://{BUCKET}/tables/kinds/'")] {
        let sql = format!(
            "SELECT count(*) AS rows, sum(id) AS ids, sum(small) AS small, sum(ratio) AS ratio,
                CAST(sum(price) AS varchar) AS price, count(*) FILTER (WHERE active) AS active,
                count(name) AS names, CAST(max(born) AS varchar) AS born,
                CAST(sum(cardinality(tags)) AS bigint) AS tags, sum(place['zip']) AS zips
             FROM {table}"
        );
        let [found] = &aws.query(&site, &sql)[..] else {
            panic!("one row")
        };
        let expected = expected();
        for (name, value) in found.as_object().expect("a row") {
            assert_eq!(*value, expected[name], "{name} of {table}");
        }
    }

    // The others, each in its own words, in one process.
    let directory = site.path("copy");
    for object in lake.s3.objects(BUCKET, "tables/kinds/") {
        // The names of partitions stay as they are in the keys, percent-encoded.
        site.write(
            &format!("copy/{}", object.key),
            lake.s3.get(BUCKET, &object.key),
        );
    }
    let script = workspace().join("tests/it/readers.py");
    let mut command = Command::new(python("readers"));
    command
        .arg(script)
        .args([BUCKET, "tables/kinds"])
        .arg(directory.join("tables/kinds"))
        .envs(lake.s3.environment());
    let output = command.output().expect("the readers' Python");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let mut readers = Vec::new();
    for line in stdout.lines() {
        let mut found: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let reader = found["reader"].take();
        let types = found["types"].take();
        let mut expected = expected();
        expected["reader"] = Value::Null;
        expected["types"] = Value::Null;
        assert_eq!(found, expected, "{reader}");
        assert_eq!(
            types,
            types_for(reader.as_str().expect("a name")),
            "{reader}"
        );
        readers.push(reader);
    }
    assert_eq!(readers, ["pyarrow", "duckdb", "polars", "spark"]);
}

/// What each reader must call the columns' types.
fn types_for(reader: &str) -> Value {
    let types = match reader {
        "pyarrow" => [
            "int64",
            "int32",
            "double",
            "decimal128(12, 2)",
            "bool",
            "string",
            "date32[day]",
            "timestamp[us, tz=UTC]",
            "list<element: string>",
            "struct<city: string, zip: int32>",
        ],
        "duckdb" => [
            "BIGINT",
            "INTEGER",
            "DOUBLE",
            "DECIMAL(12,2)",
            "BOOLEAN",
            "VARCHAR",
            "DATE",
            "TIMESTAMP WITH TIME ZONE",
            "VARCHAR[]",
            "STRUCT(city VARCHAR, zip INTEGER)",
        ],
        "polars" => [
            "Int64",
            "Int32",
            "Float64",
            "Decimal(precision=12, scale=2)",
            "Boolean",
            "String",
            "Date",
            "Datetime(time_unit='us', time_zone='UTC')",
            "List(String)",
            "Struct({'city': String, 'zip': Int32})",
        ],
        "spark" => [
            "bigint",
            "int",
            "double",
            "decimal(12,2)",
            "boolean",
            "string",
            "date",
            "timestamp",
            "array<string>",
            "struct<city:string,zip:int>",
        ],
        other => panic!("{other} is not known"),
    };
    let names = [
        "id", "small", "ratio", "price", "active", "name", "born", "seen_at", "tags", "place",
    ];
    let types = names.into_iter().zip(types);
    types
        .map(|(name, of)| (name.to_owned(), json!(of)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
