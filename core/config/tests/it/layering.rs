//! Which value wins, and what it becomes.

use serde_json::json;
use tidegate_config::pipeline_schema;
use tidegate_core::{Guarantee, Kind, Registry};

use crate::{Files, GOOD};

fn config(files: &Files, id: &str) -> serde_json::Value {
    let loaded = files.loaded();
    let found = loaded
        .spec
        .components
        .into_iter()
        .find(|one| one.id.as_str() == id);
    found.unwrap().config.into()
}

#[test]
fn a_right_file_becomes_a_spec() {
    let text = format!(
        "name = \"shop-weekly\"\nguarantee = \"exactly_once\"\nrejected_limit = 3\n[checkpoint]\n\
         interval = \"60s\"\nbytes = \"5 MB\"\n{GOOD}guarantee = \"at_least_once\"\n"
    );
    let files = Files::new(text);
    let spec = files.loaded().spec;
    assert_eq!(spec.name, "shop-weekly");
    assert_eq!(spec.base, files.path());
    assert_eq!(spec.options.guarantee, Some(Guarantee::ExactlyOnce));
    assert_eq!(spec.options.rejected_limit, Some(3));
    assert_eq!(spec.options.checkpoint.bytes.unwrap().0, 5_000_000);
    assert_eq!(spec.options.checkpoint.interval.unwrap().0.as_secs(), 60);
    let lake = spec.of_kind(Kind::Sink).next().unwrap();
    assert_eq!(lake.inputs, ["weekly"]);
    assert_eq!(lake.tag, "parquet");
    assert_eq!(lake.guarantee, Some(Guarantee::AtLeastOnce));
    assert_eq!(
        serde_json::Value::from(lake.config.clone()),
        json!({ "url": "out" })
    );
}

#[test]
fn the_name_is_the_files_unless_given() {
    assert_eq!(Files::new(GOOD).loaded().spec.name, "pipeline");
}

#[test]
fn components_and_array_items_keep_their_order() {
    let files = Files::new(
        r#"
        [sinks.z]
        type = "console"
        inputs = ["b", "a"]

        [sources.b]
        type = "files"
        url = "x"
        format = "ndjson"
        [[sources.b.columns]]
        name = "zebra"
        type = "int"
        [[sources.b.columns]]
        name = "ant"
        type = "text"

        [sources.a]
        type = "generate"
        "#,
    );
    let spec = files.loaded().spec;
    let ids: Vec<_> = spec.components.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["z", "b", "a"]);
    assert_eq!(spec.components[0].inputs, ["b", "a"]);
    let columns = &spec.components[1].config["columns"];
    assert_eq!(columns[0]["name"], "zebra");
    assert_eq!(columns[1]["name"], "ant");
    let keys: Vec<_> = spec.components[1].config.keys().collect();
    assert_eq!(keys, ["url", "format", "columns"]);
}

#[test]
fn later_layers_win() {
    let with = |files: Files| config(&files, "lake")["url"].clone();
    let overlay = "[sinks.lake]\nurl = \"overlay\"\n";
    let base = || Files::new(GOOD).with("pipeline.prod.toml", overlay);
    assert_eq!(with(base()), "out");
    assert_eq!(with(base().profile("prod")), "overlay");
    assert_eq!(with(base().env("TIDEGATE_PROFILE", "prod")), "overlay");
    let base = || {
        base()
            .profile("prod")
            .env("TIDEGATE_SET__sinks__lake__url", "variable")
    };
    assert_eq!(with(base()), "variable");
    assert_eq!(with(base().set("sinks.lake.url=flag")), "flag");
    let twice = base().set("sinks.lake.url=flag").set("sinks.lake.url=a=b");
    assert_eq!(with(twice), "a=b");
}

#[test]
fn overlays_merge_tables_replace_arrays_and_add_components() {
    let files = Files::new(GOOD.replace("url = \"out\"", "url = \"out\"\npartition_by = [\"a\", \"b\"]"))
        .with(
            "pipeline.prod.toml",
            "[sinks.lake]\npartition_by = [\"c\"]\n[sinks.screen]\ntype = \"console\"\ninputs = [\"shop\"]\n",
        )
        .profile("prod");
    assert_eq!(
        config(&files, "lake"),
        json!({ "url": "out", "partition_by": ["c"] })
    );
    let ids: Vec<_> = files
        .loaded()
        .spec
        .components
        .into_iter()
        .map(|one| one.id.to_string())
        .collect();
    assert_eq!(ids, ["shop", "weekly", "lake", "screen"]);
}

#[test]
fn set_texts_become_what_their_key_wants() {
    let files = Files::new(GOOD)
        .set("sinks.lake.account=00123")
        .set("sources.shop.rows=00123")
        .set("sources.shop.sample=1")
        .set("sources.shop.watch=true")
        .set("sources.shop.chunk=64 MiB")
        .set("sources.shop.table=true")
        .set("sources.shop.csv={ header = true }")
        .set("sinks.lake.partition_by=[\"a\"]")
        .set("sinks.lake.inputs=[\"shop.sales\", \"weekly\"]")
        .set("sinks.lake.api_key={ env = \"KEY\" }");
    let shop = config(&files, "shop");
    assert_eq!(shop["rows"], 123);
    assert_eq!(shop["sample"], 1);
    assert_eq!(shop["watch"], true);
    assert_eq!(shop["chunk"], "64 MiB");
    assert_eq!(shop["table"], "true");
    assert_eq!(shop["csv"], json!({ "header": true }));
    let lake = config(&files, "lake");
    assert_eq!(lake["account"], "00123");
    assert_eq!(lake["partition_by"], json!(["a"]));
    assert_eq!(lake["api_key"], json!({ "env": "KEY" }));
}

#[test]
fn variables_of_the_environment_keep_their_case() {
    // The key is unknown, and is told as it was written.
    let wrong = Files::new(GOOD)
        .env("TIDEGATE_SET__sinks__lake__URL", "x")
        .mistakes();
    assert!(wrong.contains("unknown key `URL`"), "{wrong}");
}

#[test]
fn interpolation_happens_after_parsing_and_by_type() {
    let text = GOOD
        .replace("format = \"csv\"", "format = \"${FORMAT}\"\nrows = \"${ROWS:-500}\"\ntable = \"${ZEROS}\"\nwatch = \"${WATCH}\"")
        .replace("\"out\"", "\"s3://${BUCKET}/$${kept}/${DAY:-{date}}\"");
    let files = Files::new(text)
        .env("FORMAT", "ndjson")
        .env("ZEROS", "00123")
        .env("WATCH", "false")
        .env("BUCKET", "a\"b\n[x]");
    let shop = config(&files, "shop");
    assert_eq!(shop["format"], "ndjson");
    assert_eq!(shop["rows"], 500);
    assert_eq!(shop["table"], "00123");
    assert_eq!(shop["watch"], false);
    assert_eq!(
        config(&files, "lake")["url"],
        "s3://a\"b\n[x]/${kept}/{date}"
    );
}

#[test]
fn dates_become_strings() {
    let files = Files::new(GOOD.replace("format =", "since = 2024-02-29\nformat ="));
    assert_eq!(config(&files, "shop")["since"], "2024-02-29");
}

#[test]
fn settings_come_from_the_file_and_the_environment() {
    let files = Files::new(GOOD)
        .with(
            "tidegate.toml",
            "[http]\ntimeout = \"30s\"\nretries = 3\nproxy = \"${PROXY:-none}\"\n",
        )
        .env("TIDEGATE_HTTP__RETRIES", "5")
        .env("TIDEGATE_AWS__REGION", "eu-central-1")
        .env("TIDEGATE_AWS__ACCOUNT", "00123")
        .env("TIDEGATE_SET__sinks__lake__url", "elsewhere");
    assert_eq!(
        serde_json::Value::from(files.loaded().settings),
        json!({
            "http": { "timeout": "30s", "retries": 5, "proxy": "none" },
            "aws": { "region": "eu-central-1", "account": "00123" },
        })
    );
}

#[test]
fn the_schema_for_editors_accepts_what_loads_and_refuses_what_does_not() {
    let schema = pipeline_schema(&Registry::linked().unwrap());
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut right = json!({
        "name": "x",
        "guarantee": "exactly_once",
        "sources": { "shop": { "type": "files", "url": "x", "format": "csv", "columns": [{ "name": "a", "type": "int" }] } },
        "sinks": { "lake": { "type": "parquet", "inputs": ["shop"], "url": "y", "api_key": { "env": "K" } } },
    });
    let errors: Vec<_> = validator
        .iter_errors(&right)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    right["sources"]["shop"]["tabel"] = "x".into();
    assert!(!validator.is_valid(&right));
}

#[test]
fn the_schema_for_editors_takes_variables_and_tells_mistakes_where_they_stand() {
    let schema = pipeline_schema(&Registry::linked().unwrap());
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut file = json!({
        "name": "daily-${DAY}",
        "guarantee": "${GUARANTEE}",
        "checkpoint": { "interval": "${INTERVAL:-60s}", "bytes": "${BYTES}" },
        "sources": { "shop": { "type": "files", "url": "${DIR}/x", "format": "${FORMAT}", "rows": "${ROWS}", "csv": { "header": "${HEADER}" } } },
        "sinks": { "lake": { "type": "parquet", "inputs": ["shop"], "url": "y" } },
    });
    let places = |file: &serde_json::Value| -> Vec<_> {
        let errors = validator.iter_errors(file);
        errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    };
    assert_eq!(places(&file), [""; 0]);
    // Only a variable whole becomes a number, and a secret is never put in.
    for (section, id, key, value) in [
        ("sources", "shop", "rows", json!("1${ROWS}")),
        ("sources", "shop", "rows", json!("many")),
        ("sinks", "lake", "api_key", json!("${KEY}")),
        ("sinks", "lake", "ulr", json!("x")),
        ("sources", "shop", "csv", json!({ "haeder": true })),
        ("sources", "shop", "type", json!("filez")),
    ] {
        let mut wrong = file.clone();
        wrong[section][id][key] = value;
        let told = places(&wrong);
        assert!(!told.is_empty(), "{key}");
        for one in told {
            assert!(one.starts_with(&format!("/{section}/{id}")), "{one}");
        }
    }
    file["sinks"]["lake"]["ulr"] = json!("x");
    let told = places(&file).concat();
    assert!(told.contains("'ulr' was unexpected"), "{told}");
    assert!(!told.contains("any of the"), "{told}");
}
