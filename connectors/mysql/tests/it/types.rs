//! A stream's types are its table's, exactly.

use arrow_schema::{DataType, TimeUnit};
use serde_json::json;
use tidegate_core::{Result, Scan};
use tidegate_testkit::servers::mariadb;

use crate::support::{Seen, config, open, plan, read, scans};

/// All that a source gives.
async fn everything(source: &dyn tidegate_core::Source, scans: &[Scan]) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for split in &plan(source, scans, None).await?.new {
        seen.extend(read(source, split, scans, None).await?);
    }
    Ok(seen)
}

#[tokio::test]
async fn a_streams_schema_is_its_tables() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; CREATE TABLE shop.t (
         id BIGINT UNSIGNED PRIMARY KEY, flag TINYINT(1) NOT NULL, number TINYINT(1) UNSIGNED, medium MEDIUMINT,
         money DECIMAL(38,2) NOT NULL, wide DECIMAL(65,30), bit1 BIT, bit9 BIT(9), year YEAR, day DATE NOT NULL,
         span TIME(6), moment DATETIME(6), stamp TIMESTAMP NOT NULL, latin VARCHAR(9) CHARACTER SET latin1,
         bytes VARBINARY(9), choice ENUM('a','b'), doc JSON, place POINT, uuid UUID)",
    );
    let micros = TimeUnit::Microsecond;
    let types = [
        ("id", DataType::UInt64, false, "bigint(20) unsigned"),
        ("flag", DataType::Boolean, false, "tinyint(1)"),
        ("number", DataType::UInt8, true, "tinyint(1) unsigned"),
        ("medium", DataType::Int32, true, "mediumint(9)"),
        ("money", DataType::Decimal128(38, 2), false, "decimal(38,2)"),
        ("wide", DataType::Decimal256(65, 30), true, "decimal(65,30)"),
        ("bit1", DataType::Boolean, true, "bit(1)"),
        ("bit9", DataType::UInt64, true, "bit(9)"),
        ("year", DataType::UInt16, true, "year(4)"),
        ("day", DataType::Date32, false, "date"),
        ("span", DataType::Duration(micros), true, "time(6)"),
        (
            "moment",
            DataType::Timestamp(micros, None),
            true,
            "datetime(6)",
        ),
        (
            "stamp",
            DataType::Timestamp(micros, Some("UTC".into())),
            false,
            "timestamp",
        ),
        ("latin", DataType::Utf8, true, "varchar(9)"),
        ("bytes", DataType::Binary, true, "varbinary(9)"),
        ("choice", DataType::Utf8, true, "enum('a','b')"),
        ("doc", DataType::Utf8, true, "json"),
        ("place", DataType::Binary, true, "point"),
        ("uuid", DataType::Utf8, true, "uuid"),
    ];
    let (source, _cx) = open(&config(&server, "shop", &json!({ "tables": ["t"] }))).await;
    let stream = source.streams().remove(0);
    assert_eq!(stream.key, ["id"]);
    let fields = stream.schema.fields().iter();
    let ours: Vec<_> = fields
        .map(|field| {
            let declared = field.metadata()["mysql.type"].clone();
            let kind = field.data_type().clone();
            (field.name().clone(), kind, field.is_nullable(), declared)
        })
        .collect();
    let expected = types.map(|(name, kind, nullable, declared)| {
        (name.to_owned(), kind, nullable, declared.to_owned())
    });
    assert_eq!(ours, expected);
}

#[tokio::test]
async fn what_a_date_of_no_calendar_becomes_is_the_users_choice() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; SET sql_mode = ''; CREATE TABLE shop.t (id INT PRIMARY KEY, day DATE NOT NULL);
         INSERT INTO shop.t VALUES (1, '2020-02-29'), (2, '0000-00-00'), (3, '2020-00-15')",
    );
    let cases = [
        ("error", vec!["day=2020-02-29, id=1"]),
        (
            "null",
            vec!["day=2020-02-29, id=1", "day=∅, id=2", "day=∅, id=3"],
        ),
        (
            "text",
            vec![
                "day=2020-02-29, id=1",
                "day=0000-00-00, id=2",
                "day=2020-00-15, id=3",
            ],
        ),
    ];
    for (policy, expected) in cases {
        let keys = json!({ "tables": ["t"], "zero_dates": policy });
        let (source, _cx) = open(&config(&server, "shop", &keys)).await;
        let scans = scans(source.as_ref());
        let seen = everything(source.as_ref(), &scans).await.unwrap();
        let rows: Vec<_> = seen.iter().flat_map(Seen::rows).collect();
        assert_eq!(rows, expected, "{policy}");
        let rejected: Vec<_> = seen.iter().flat_map(|seen| &seen.rejected).collect();
        assert_eq!(rejected.len(), 3 - expected.len(), "{policy}: {rejected:?}");
        assert!(
            rejected
                .iter()
                .all(|reason| reason.contains("column `day` holds `"))
        );
        let schema = &source.streams()[0].schema;
        assert_eq!(schema.field(1).is_nullable(), policy == "null");
    }
}

#[tokio::test]
async fn a_number_in_a_truth_value_is_never_lost() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, flag TINYINT(1));
         INSERT INTO shop.t VALUES (1, 1), (2, 7), (3, NULL), (4, 0)",
    );
    let truths = ["flag=true, id=1", "flag=∅, id=3", "flag=false, id=4"];
    let numbers = [
        "flag=1, id=1",
        "flag=7, id=2",
        "flag=∅, id=3",
        "flag=0, id=4",
    ];
    for (mapped, expected) in [(true, &truths[..]), (false, &numbers)] {
        let keys = json!({ "tables": ["t"], "map_tinyint1_to_bool": mapped });
        let (source, _cx) = open(&config(&server, "shop", &keys)).await;
        let scans = scans(source.as_ref());
        let seen = everything(source.as_ref(), &scans).await.unwrap();
        let rows: Vec<_> = seen.iter().flat_map(Seen::rows).collect();
        assert_eq!(rows, expected);
        let rejected: Vec<_> = seen.iter().flat_map(|seen| &seen.rejected).collect();
        assert_eq!(rejected.len(), usize::from(mapped));
        assert!(rejected.iter().all(|reason| reason.contains("but holds 7")));
    }
}
