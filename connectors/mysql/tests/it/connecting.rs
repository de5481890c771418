//! Connections, as a pipeline file asks for them. Every way in is tested beside `src/connect`.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use tidegate_core::{ErrorKind, SourceConfig};
use tidegate_mysql::MySqlConfig;
use tidegate_testkit::servers::{MariaDb, mariadb};
use tidegate_testkit::suites::context;

use crate::support::{config, ids, open, plan, read_all, run, scans};

/// A server's certificate for `localhost` that signs itself, and its key.
fn certificate(directory: &Path) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args([
            "-subj",
            "/CN=server",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "server.key", "-out", "server.pem"])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_source_logs_in_with_a_password_over_tls() {
    let directory = TempDir::new().unwrap();
    certificate(directory.path());
    let file = |name: &str| directory.path().join(name);
    let server = MariaDb::with(&[
        &format!("--ssl-cert={}", file("server.pem").display()),
        &format!("--ssl-key={}", file("server.key").display()),
    ]);
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); \
         INSERT INTO shop.t VALUES (1), (2); \
         CREATE USER reader IDENTIFIED BY 's3cr€t' REQUIRE SSL; GRANT SELECT ON shop.* TO reader",
    );
    std::fs::write(file("password"), "s3cr€t\n").unwrap();
    let keys = |ssl: &str| {
        json!({
            "url": null,
            "host": "localhost",
            "port": server.port(),
            "user": "reader",
            "database": "shop",
            "password": { "file": file("password") },
            "ssl": ssl,
        })
    };
    let mut strict = keys("verify_identity");
    strict["ca_file"] = json!(file("server.pem"));
    for keys in [strict, keys("required"), keys("preferred")] {
        let (rows, _) = run(&config(&server, "shop", &keys), None).await.unwrap();
        assert_eq!(rows["t"], ids(1..=2));
    }
    let plain = config(&server, "shop", &keys("disabled"));
    let error = plain.open(&context().source()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.hint_text().unwrap().contains("TLS"), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_was_lost_is_made_again() {
    let mut server = mariadb();
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY) \
         SELECT seq AS id FROM shop.seq_1_to_1000",
    );
    let (source, _cx) = open(&config(&server, "shop", &json!({}))).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    server.restart();
    let rows = read_all(source.as_ref(), &plan.new, &scans).await.unwrap();
    assert_eq!(rows["t"], ids(1..=1_000));
    source.close().await.unwrap();
}

#[tokio::test]
async fn a_login_that_is_refused_is_refused_when_the_source_is_opened() {
    let server = mariadb();
    let user = json!({ "url": format!("mysql://nobody@localhost:{}/shop", server.port()) });
    let config: MySqlConfig = serde_json::from_value(user).unwrap();
    config.validate().unwrap();
    let error = config.open(&context().source()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.to_string().contains("server: localhost:"), "{error}");
    assert!(error.hint_text().is_some());

    let shared = json!({ "url": "mysql://root:hunter2@localhost/shop" });
    let config: MySqlConfig = serde_json::from_value(shared).unwrap();
    let error = config.validate().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}
