//! `tidegate query` and `tidegate catalog`, over tables that a pipeline has made.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tidegate::core::{CatalogTable, Context, TableFormat, TablePartition};

use super::support::{Ended, Site, batches_of, lines_of};

/// Sales of three days, two of them alike, in a table of the local catalog.
const SALES: &str = r#"
name = "sales"

[sources.raw]
type = "files"
url = "raw.ndjson"
schema = [
    { name = "id", type = "int64" },
    { name = "item", type = "string" },
    { name = "price", type = "decimal(10, 2)" },
    { name = "day", type = "date" },
]

[sinks.lake]
type = "parquet"
inputs = ["raw"]
url = "lake/sales"
partition_by = ["day"]
catalog = { type = "local", database = "shop", table = "sales" }
"#;

const ROWS: &str = r#"{"id":1,"item":"tea","price":2.50,"day":"2024-02-28"}
{"id":2,"item":"milk","price":1.10,"day":"2024-02-28"}
{"id":3,"item":"tea","price":0.10,"day":"2024-02-29"}
{"id":4,"item":null,"price":0.20,"day":"2024-02-29"}
{"id":5,"item":"sugar","price":12345678.99,"day":"2024-03-01"}
"#;

fn site() -> Site {
    let site = Site::with(SALES);
    site.write("raw.ndjson", ROWS);
    site.run(&[]).expect_done();
    site
}

fn query(site: &Site, args: &[&str]) -> Ended {
    site.tidegate(&[&["query"], args].concat())
}

#[test]
fn rows_go_into_a_pipe_as_ndjson_and_exact() {
    let site = site();
    let sql = "SELECT id, item, price, day FROM shop.sales WHERE id > 3 ORDER BY id";
    let ended = query(&site, &[sql])
        .expect_done()
        .expect_said(&["2 rows in", "read in"]);
    assert_eq!(
        ended.stdout,
        "{\"id\":4,\"price\":0.20,\"day\":\"2024-02-29\"}\n\
         {\"id\":5,\"item\":\"sugar\",\"price\":12345678.99,\"day\":\"2024-03-01\"}\n"
            .replace("{\"id\":4,\"price\"", "{\"id\":4,\"item\":null,\"price\"")
    );
    let sum = query(&site, &["SELECT sum(price) AS s FROM sales"]).expect_done();
    assert_eq!(sum.stdout, "{\"s\":12345682.89}\n");
}

#[test]
fn a_table_is_drawn_for_people_and_says_what_it_leaves_out() {
    let site = site();
    let sql = "SELECT id, item, price FROM sales ORDER BY id";
    let all = query(&site, &["--format", "table", sql]).expect_done();
    insta::assert_snapshot!(all.stdout, @r"
    ┌────┬───────┬─────────────┐
    │ id ┆ item  ┆       price │
    ╞════╪═══════╪═════════════╡
    │  1 ┆ tea   ┆        2.50 │
    │  2 ┆ milk  ┆        1.10 │
    │  3 ┆ tea   ┆        0.10 │
    │  4 ┆ NULL  ┆        0.20 │
    │  5 ┆ sugar ┆ 12345678.99 │
    └────┴───────┴─────────────┘
    ");
    let some = query(&site, &["--format", "table", "--rows", "2", sql]).expect_done();
    assert!(
        some.stdout
            .ends_with("the first 2 rows; --rows shows more\n"),
        "{}",
        some.stdout
    );
    assert!(!some.stdout.contains("sugar"));
    let all = query(&site, &["--format", "table", "--rows", "0", sql]).expect_done();
    assert!(all.stdout.contains("sugar"));
}

#[test]
fn rows_go_into_files_of_every_format() {
    let site = site();
    let sql = "SELECT id, price FROM sales WHERE day = '2024-02-28' ORDER BY id";
    query(&site, &["-o", "out.csv", sql]).expect_done();
    assert_eq!(site.read("out.csv"), "id,price\n1,2.50\n2,1.10\n");
    fs::create_dir(site.path("out")).expect("a directory");
    query(&site, &["-o", "out/rows.parquet", sql]).expect_done();
    let rows: usize = batches_of(&site.path("out"))
        .iter()
        .map(|batch| batch.num_rows())
        .sum();
    assert_eq!(rows, 2);
    // What was written can be queried, beside the table that it came from.
    let sql = "SELECT count(*) AS n FROM 'out/rows.parquet' o JOIN sales s ON o.id = s.id";
    assert_eq!(query(&site, &[sql]).expect_done().stdout, "{\"n\":2}\n");
    query(&site, &["--format", "parquet", sql])
        .expect_code(2)
        .expect_said(&["can't be written to standard output", "--output"]);
    query(&site, &["-o", "out.xyz", sql])
        .expect_code(2)
        .expect_said(&["--format"]);
    // A query that fails leaves no file.
    query(
        &site,
        &["-o", "bad.csv", "SELECT 1 / (id - 1) AS x FROM sales"],
    )
    .expect_code(1);
    assert!(!site.path("bad.csv").exists());
    let left = fs::read_dir(site.path(".")).expect("a directory").flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().contains("tidegate-tmp"));
    assert_eq!(left.count(), 0);
}

#[test]
fn explain_shows_what_is_left_out() {
    let site = site();
    let sql = "SELECT item, price FROM sales WHERE day > '2024-02-28' AND price > 1";
    let ended = query(&site, &["--explain", sql]).expect_done();
    for text in [
        "shop.sales  parquet at ",
        "partitions  2 of 3, by day > 2024-02-28",
        "files       2, ",
        "row groups  1 of 2",
        "pushed down price > 1",
        "columns     2 of 4: item, price",
        "\nplan\n",
    ] {
        assert!(
            ended.stdout.contains(text),
            "no `{text}` in:\n{}",
            ended.stdout
        );
    }
}

#[test]
fn mistakes_are_shown_at_their_place() {
    let site = site();
    let ended = query(&site, &["SELECT idd\nFROM sales"]).expect_code(2);
    insta::assert_snapshot!(ended.stderr, @r"
    error: no column `idd` in `shop.sales`; there is `id`
     --> query:1:8
      |
    1 | SELECT idd
      |        ^^^
    ");
    query(&site, &["SELECT 1\nFROM shop.sale"])
        .expect_code(2)
        .expect_said(&[
            "no table `sale` in the database `shop`; there is `sales`",
            "--> query:2:6",
        ]);
    query(&site, &["SELEC 1"])
        .expect_code(2)
        .expect_said(&["not valid SQL"]);
    query(&site, &["DROP TABLE sales"])
        .expect_code(2)
        .expect_said(&["a query reads"]);
    query(&site, &["SELECT 1 FROM 'none.csv'"])
        .expect_code(1)
        .expect_said(&["no file matches `none.csv`"]);
    query(&site, &["--catalog", "hive", "SELECT 1 FROM t"])
        .expect_code(2)
        .expect_said(&["there is no catalog of type `hive`"]);
    query(&site, &["--memory", "lots", "SELECT 1"])
        .expect_code(2)
        .expect_said(&["--memory"]);
}

#[test]
fn a_query_without_tables_of_a_catalog_makes_none() {
    let site = Site::new();
    site.write("a.csv", "x\n1\n2\n");
    let ended = query(&site, &["SELECT sum(x) AS s FROM 'a.csv'"]).expect_done();
    assert_eq!(ended.stdout, "{\"s\":3}\n");
    assert!(!site.path(".tidegate").exists());
}

#[test]
fn the_catalog_lists_shows_and_forgets() {
    let site = site();
    let list = site.tidegate(&["catalog", "list"]).expect_done().stdout;
    assert!(list.contains("shop.sales  parquet"), "{list}");
    let shown = site.tidegate(&["catalog", "show", "shop.sales", "--partitions"]);
    let shown = shown.expect_done().stdout;
    for text in [
        "partitions  3, by day",
        "price",
        "decimal(10,2)",
        "2024-02-29",
    ] {
        assert!(shown.contains(text), "no `{text}` in:\n{shown}");
    }
    let json = site.tidegate(&["catalog", "show", "shop.sales", "--partitions", "--json"]);
    let json: Value = serde_json::from_str(&json.expect_done().stdout).expect("JSON");
    assert_eq!(json["partitions"].as_array().map(Vec::len), Some(3));
    // Types as `schema` of a pipeline file takes them.
    let types = |key: &str| -> Vec<String> {
        let columns = json[key].as_array().expect("columns").iter();
        let types = columns.map(|one| one["type"].as_str().expect("a type").to_owned());
        types.collect()
    };
    assert!(
        types("columns").contains(&"decimal(10,2)".to_owned()),
        "{json}"
    );
    assert_eq!(types("partition_keys").len(), 1);
    assert!(!json.to_string().contains("dict_id"), "{json}");

    site.tidegate(&["catalog", "show", "shop.sale"])
        .expect_code(1)
        .expect_said(&["no table `shop.sale`", "`sales`"]);
    site.tidegate(&["catalog", "drop", "shop.sales"])
        .expect_code(2)
        .expect_said(&["--yes"]);
    site.tidegate(&["catalog", "drop", "shop.sales", "--yes"])
        .expect_done();
    assert_eq!(
        site.tidegate(&["catalog", "list"]).expect_done().stdout,
        "no tables\n"
    );
    assert!(site.path("lake/sales").is_dir(), "files stay");
}

#[test]
fn a_crawl_finds_what_was_forgotten() {
    let site = site();
    site.tidegate(&["catalog", "drop", "shop.sales", "--yes"])
        .expect_done();
    let crawl = ["catalog", "crawl", "lake", "--database", "found"];
    let dry = site
        .tidegate(&[&crawl[..], &["--dry-run"]].concat())
        .expect_done()
        .stdout;
    assert!(dry.contains("found.sales  parquet"), "{dry}");
    assert!(dry.contains("this would change"), "{dry}");
    assert_eq!(
        site.tidegate(&["catalog", "list"]).expect_done().stdout,
        "no tables\n"
    );
    let done = site.tidegate(&crawl).expect_done().stdout;
    assert!(
        done.contains("+ found.sales: 4 columns, 3 partitions"),
        "{done}"
    );
    let rows = query(
        &site,
        &["SELECT count(*) AS n FROM found.sales WHERE day = '2024-02-29'"],
    );
    assert_eq!(rows.expect_done().stdout, "{\"n\":2}\n");
    let again = site.tidegate(&crawl).expect_done().stdout;
    assert!(again.contains("the catalog has all of it"), "{again}");
}

/// A table of the local catalog over the text files in `lake/<name>`.
fn text_table(site: &Site, name: &str, format: TableFormat, columns: &[(&str, DataType)]) {
    let fields = columns.iter();
    let fields = fields.map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    let table = CatalogTable {
        name: format!("shop.{name}").parse().expect("a name"),
        location: site.path(format!("lake/{name}")).display().to_string(),
        format,
        columns: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        partition_keys: vec![Arc::new(Field::new("year", DataType::Int32, true))],
        properties: Default::default(),
    };
    let partitions = [2023, 2024].map(|year| TablePartition {
        values: vec![Some(year.to_string())],
        location: format!("{}/year={year}", table.location),
    });
    let path = site.path(".tidegate/catalog.db");
    let work = async {
        let cx = Context::detached(&site.path(""), Arc::default())?;
        let registry = tidegate::registry()?;
        let catalog = registry
            .catalog("local", json!({ "path": path }))?
            .open(&cx)
            .await?;
        catalog.merge(&table).await?;
        catalog.add_partitions(&table.name, &partitions).await
    };
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(work).expect("a table");
}

fn csv(delimiter: char) -> TableFormat {
    TableFormat::Csv {
        delimiter,
        header: true,
        quoted: true,
    }
}

/// What the `table` source gives of a table, each row as JSON.
fn of_the_source(site: &Site, name: &str) -> Vec<Value> {
    site.write(
        "pipeline.toml",
        format!(
            r#"
            name = "{name}"

            [sources.back]
            type = "table"
            catalog = {{ type = "local", database = "shop", table = "{name}" }}

            [sinks.out]
            type = "files"
            inputs = ["back"]
            url = "out/{name}"
            "#
        ),
    );
    site.run(&[]).expect_done();
    let mut rows = lines_of(&site.path(format!("out/{name}")));
    rows.sort_by_key(Value::to_string);
    rows
}

fn of_the_query(site: &Site, sql: &str) -> Vec<Value> {
    let ended = query(site, &[sql]).expect_done();
    let lines = ended.stdout.lines();
    let mut rows: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    rows.sort_by_key(Value::to_string);
    rows
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory");
    gzip.finish().expect("memory")
}

#[test]
fn a_text_table_gives_a_query_the_rows_that_it_gives_a_pipeline() {
    let site = Site::new();
    let columns = [
        ("userid", DataType::Int64),
        ("price", DataType::Decimal128(10, 2)),
        ("since", DataType::Date32),
    ];
    text_table(&site, "events", TableFormat::Ndjson, &columns);
    site.write(
        "lake/events/year=2023/a.ndjson",
        "{\"since\":\"2024-02-29\",\"userId\":1,\"price\":1.10}\n{\"userId\":2}\n",
    );
    site.write(
        "lake/events/year=2024/b.ndjson.gz",
        gzip("{\"USERID\":3,\"more\":[1]}\n{\"userid\":null,\"price\":0.01}\n"),
    );
    text_table(&site, "sheets", csv(';'), &columns);
    site.write(
        "lake/sheets/year=2023/a.csv",
        "userId;price;since\n1;\"1.10\";2024-02-29\n2;;\n",
    );
    site.write(
        "lake/sheets/year=2024/b.csv.gz",
        gzip("price;userId\n;3\n0.01;\n"),
    );
    for name in ["events", "sheets"] {
        let rows = of_the_query(&site, &format!("SELECT * FROM {name}"));
        assert_eq!(rows.len(), 4, "{name}");
        assert_eq!(rows, of_the_source(&site, name), "{name}");
        let ids = of_the_query(&site, &format!("SELECT year, userid FROM {name}"));
        let expected = json!([
            { "year": 2023, "userid": 1 },
            { "year": 2023, "userid": 2 },
            { "year": 2024, "userid": 3 },
            { "year": 2024, "userid": null },
        ]);
        let mut expected = expected.as_array().expect("rows").clone();
        expected.sort_by_key(Value::to_string);
        assert_eq!(ids, expected, "{name}");
        let count = format!("SELECT count(*) AS n FROM {name} WHERE year = 2024");
        assert_eq!(of_the_query(&site, &count), [json!({ "n": 2 })]);
        let two = of_the_query(&site, &format!("SELECT since FROM {name} LIMIT 2"));
        assert_eq!(two.len(), 2, "{name}");

        let sql = format!("SELECT price FROM {name} WHERE year = 2024 AND price > 0");
        let explained = query(&site, &["--explain", &sql]).expect_done().stdout;
        for text in ["partitions  1 of 2", "files       1, ", "TextExec"] {
            assert!(explained.contains(text), "no `{text}` in:\n{explained}");
        }
    }
}

#[test]
fn a_row_of_text_that_cant_be_read_is_told_with_its_file_and_line() {
    let site = Site::new();
    text_table(&site, "sheets", csv(','), &[("id", DataType::Int64)]);
    site.write("lake/sheets/year=2023/good.csv", "id\n1\n");
    site.write("lake/sheets/year=2024/bad.csv.gz", gzip("id\n1\n2\ntwo\n"));
    let said = query(&site, &["SELECT sum(id) AS s FROM sheets"])
        .expect_code(1)
        .expect_said(&["line 4", "bad.csv.gz", "two"]);
    assert_eq!(said.stdout, "");
    // The file isn't read where nobody asks for it.
    let sql = "SELECT sum(id) AS s FROM sheets WHERE year = 2023";
    assert_eq!(of_the_query(&site, sql), [json!({ "s": 1 })]);
}

#[test]
fn paths_of_text_are_understood_by_their_names_and_contents() {
    let site = Site::new();
    site.write(
        "a.csv",
        "id,name,day\n1,\"Ada\nLovelace\",2024-02-29\n2,,\n",
    );
    site.write("a.tsv", "id\tx\n1\t0.5\n");
    site.write("a.json", "[{\"id\": 1, \"tags\": [\"x\"]}, {\"id\": 2}]");
    site.write(
        "x.ndjson.gz",
        gzip("{\"id\": 1, \"userId\": 7}\n{\"id\": 2}\n"),
    );
    site.write("y/kind=a/1.csv.gz", gzip("x,y\n1,2\n"));
    site.write("y/kind=b/2.csv.gz", gzip("y,x\n4,3\n"));
    for (sql, rows) in [
        (
            "SELECT id + 1 AS next, day FROM 'a.csv'",
            json!([{ "next": 2, "day": "2024-02-29" }, { "next": 3, "day": null }]),
        ),
        ("SELECT id, x FROM 'a.tsv'", json!([{ "id": 1, "x": 0.5 }])),
        ("SELECT id FROM 'a.json'", json!([{ "id": 1 }, { "id": 2 }])),
        (
            "SELECT userid FROM 'x.ndjson.gz' WHERE id = 1",
            json!([{ "userId": 7 }]),
        ),
        (
            "SELECT kind, x, y FROM 'y'",
            json!([{ "kind": "a", "x": 1, "y": 2 }, { "kind": "b", "x": 3, "y": 4 }]),
        ),
    ] {
        assert_eq!(json!(of_the_query(&site, sql)), rows, "{sql}");
    }
    site.write("z/a.csv", "x\n1\n");
    site.write("z/b.tsv", "x\n1\n");
    query(&site, &["SELECT x FROM 'z'"])
        .expect_code(2)
        .expect_said(&["several formats", "b.tsv"]);
}

#[test]
fn columns_whose_names_differ_only_in_case_are_two_columns() {
    let site = Site::new();
    site.write(
        "one/s.ndjson",
        "{\"Name\":\"q\",\"b\":1}\n{\"name\":\"z\",\"b\":2}\n",
    );
    site.write("two/1.csv", "Name,city\nx,Oslo\n");
    site.write("two/2.csv", "name,city\nz,Bergen\n");
    site.write("two/y=1/3.csv", "city,name\nTurku,t\n");
    for (sql, rows) in [
        (
            "SELECT name FROM 'one/s.ndjson' ORDER BY b",
            r#"{"name":null} {"name":"z"}"#,
        ),
        (
            "SELECT b FROM 'one/s.ndjson' WHERE name IS NULL",
            r#"{"b":1}"#,
        ),
        (
            "SELECT city, name FROM 'two' ORDER BY city",
            r#"{"city":"Bergen","name":"z"} {"city":"Oslo","name":null} {"city":"Turku","name":"t"}"#,
        ),
        (
            "SELECT * FROM 'two/*.csv' ORDER BY city",
            r#"{"Name":null,"city":"Bergen","name":"z"} {"Name":"x","city":"Oslo","name":null}"#,
        ),
        ("SELECT y FROM 'two' WHERE name = 't'", r#"{"y":1}"#),
    ] {
        let ended = site.tidegate(&["query", sql, "--format", "ndjson"]);
        let ended = ended.expect_done();
        let lines: Vec<_> = ended.stdout.lines().collect();
        assert_eq!(lines.join(" "), rows, "{sql}");
    }
    // In a catalog's table names of another case count, but a column's own name is its alone.
    site.write(
        "lake/n/s.ndjson",
        "{\"Name\":\"q\",\"name\":\"z\",\"B\":1}\n",
    );
    site.write(
        "tidegate.toml",
        "[catalog]\ntype = \"local\"\npath = \"catalog\"\n",
    );
    let crawl = ["catalog", "crawl", "--database", "d", "lake"];
    site.tidegate(&crawl).expect_done();
    for (sql, row) in [
        ("SELECT name FROM d.n", r#"{"name":"z"}"#),
        ("SELECT \"Name\" FROM d.n", r#"{"Name":"q"}"#),
        ("SELECT b FROM d.n", r#"{"B":1}"#),
    ] {
        let ended = site.tidegate(&["query", sql, "--format", "ndjson"]);
        assert_eq!(ended.expect_done().stdout.trim(), row, "{sql}");
    }
}
