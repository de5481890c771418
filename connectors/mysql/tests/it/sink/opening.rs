//! What is refused before a row moves.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array};
use arrow_schema::{DataType, Field, Schema};
use serde_json::json;
use tidegate_core::{ErrorKind, SinkConfig};

use super::{Site, batch, config, ints, named, texts};

#[tokio::test]
async fn what_does_not_fit_is_refused_in_open() {
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE t (id BIGINT NOT NULL, name TEXT);
         CREATE TABLE keyed (id BIGINT PRIMARY KEY, name VARCHAR(9), must INT NOT NULL);
         CREATE TABLE lax (id BIGINT, name TEXT) ENGINE = MyISAM;
         CREATE VIEW seen AS SELECT * FROM t;
         CREATE TABLE parent (id BIGINT PRIMARY KEY, name TEXT);
         CREATE TABLE child (of BIGINT, FOREIGN KEY (of) REFERENCES parent (id) ON DELETE CASCADE);
         CREATE TABLE made (id BIGINT, name TEXT AS (id))",
    );
    let tables = site.sql("SHOW TABLES");
    let rows = named(&[]).schema();
    use ErrorKind::{Config, NotFound, Schema as Columns, Unsupported};
    for (more, kind, word) in [
        (json!({ "table": "none" }), NotFound, "isn't there"),
        (json!({ "table": "seen" }), Unsupported, "no table"),
        (json!({ "table": "lax" }), Unsupported, "no transactions"),
        (json!({ "table": "keyed" }), Columns, "`must` must have"),
        (json!({ "table": "made" }), Columns, "computes"),
        (json!({ "mode": "upsert" }), Config, "isn't clear"),
        (
            json!({ "mode": "upsert", "key": ["id"] }),
            Config,
            "no unique",
        ),
        (
            json!({ "table": "parent", "mode": "replace" }),
            Unsupported,
            "foreign keys",
        ),
        (
            json!({ "table": "new", "create": true, "key": ["x"] }),
            Config,
            "no input has",
        ),
    ] {
        let error = site.open(more.clone(), &rows).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{more}: {error:?}");
        assert!(error.to_string().contains(word), "{more}: {error:?}");
        assert!(error.hint_text().is_some(), "{error:?}");
    }
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    let floats = batch(&[("id", floats), ("name", ints([1]))]).schema();
    let error = site.open(json!({}), &floats).await.unwrap_err();
    assert!(error.to_string().contains("can't hold"), "{error}");
    assert_eq!(error.kind(), Columns);

    let field = |n: usize, data_type| Field::new(format!("c{n}"), data_type, false);
    let many: Vec<_> = (0..2000).map(|n| field(n, DataType::Int8)).collect();
    let create = json!({ "table": "new", "create": true });
    let error = site.open(create, &Schema::new(many)).await.unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    // The server itself says what it can't make: here, a key that is too long.
    let wide: Vec<_> = (0..20).map(|n| field(n, DataType::Utf8)).collect();
    let key: Vec<_> = (0..20).map(|n| format!("c{n}")).collect();
    let create = json!({ "table": "new", "create": true, "key": key });
    let error = site.open(create, &Schema::new(wide)).await.unwrap_err();
    assert_eq!(error.kind(), Columns, "{error:?}");
    assert_eq!(site.sql("SHOW TABLES"), tables);
}

#[tokio::test]
async fn missing_rights_are_noticed_in_open() {
    let site = Site::new();
    site.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)");
    let rows = named(&[(1, "a")]);
    let all = [
        "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP",
    ];
    for missing in all.iter().copied().chain(["none"]) {
        let granted = all.iter().copied().filter(|right| *right != missing);
        site.sql(&format!(
            "CREATE OR REPLACE USER writer@'127.0.0.1'; GRANT {} ON shop.* TO writer@'127.0.0.1'",
            granted.collect::<Vec<_>>().join(", ")
        ));
        let url = site.server.url("shop").replace("root@", "writer@");
        let input = site.input(&rows.schema());
        let opened = config(&url, json!({ "mode": "upsert" }))
            .open(&site.cx.sink(vec![input]))
            .await;
        if missing == "none" {
            let sink = opened.unwrap();
            let rows = std::slice::from_ref(&rows);
            assert!(site.write(sink.as_ref(), 1, rows).await.is_empty());
            continue;
        }
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        assert!(
            error.to_string().to_uppercase().contains(missing),
            "{missing}: {error:?}"
        );
        assert!(error.hint_text().unwrap().contains("GRANT"));
    }
}

#[tokio::test]
async fn names_of_columns_have_no_case_and_any_letter() {
    let site = Site::on(super::server());
    site.sql(r"CREATE TABLE `a``b` (`ID` BIGINT PRIMARY KEY, `so ``to'say\` TEXT)");
    let rows = batch(&[("id", ints([1])), (r"so `to'say\", texts([Some("x")]))]);
    let upsert = json!({ "table": "a`b", "mode": "upsert" });
    let sink = site.open(upsert, &rows.schema()).await.unwrap();
    assert!(site.write(sink.as_ref(), 1, &[rows]).await.is_empty());
    assert_eq!(site.sql("SELECT * FROM `a``b`"), "1\tx\n");
}
