use tidegate_core::ErrorKind;
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::*;
use crate::decode::tests::open;

async fn found(server: &MariaDb, patterns: &[&str]) -> Result<Vec<Table>> {
    let patterns: Vec<_> = patterns.iter().map(|text| (*text).to_owned()).collect();
    tables(&mut open(server).await, "t", &patterns, Mapping::default()).await
}

fn names(tables: &[Table]) -> Vec<&str> {
    tables.iter().map(|table| table.name.as_str()).collect()
}

#[tokio::test]
async fn tables_are_found_by_names_and_globs() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE t; USE t; CREATE TABLE sales (id INT PRIMARY KEY, v JSON, w LONGTEXT);
         INSERT INTO sales VALUES (1, '{}', ''); CREATE TABLE sales_2020 (id INT);
         CREATE TABLE `odd*'`` name` (`c``'` INT); CREATE VIEW best AS SELECT id FROM sales;
         CREATE SEQUENCE counter",
    );
    let all = found(&server, &[]).await.unwrap();
    assert_eq!(names(&all), ["odd*'` name", "sales", "sales_2020"]);
    assert_eq!(all[0].columns[0].name, "c`'");
    assert_eq!(all[1].engine.as_deref(), Some("InnoDB"));
    let kinds: Vec<_> = all[1].columns.iter().map(|column| column.kind).collect();
    assert_eq!(
        kinds,
        [Type::Int { unsigned: false }, Type::Json, Type::Text]
    );
    let some = found(&server, &["sales*"]).await.unwrap();
    assert_eq!(names(&some), ["sales", "sales_2020"]);
    let some = found(&server, &["odd*'` name", "best"]).await.unwrap();
    assert_eq!(names(&some), ["best", "odd*'` name"]);
    assert_eq!(some[0].engine, None);
    assert_eq!(some[0].key, None);
    for (pattern, hint) in [
        ("sale", "`sales`"),
        ("Sales", "did you mean `sales`"),
        ("x*", "`best`"),
    ] {
        let error = found(&server, &["sales", pattern]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
    }
    let error = tables(&mut open(&server).await, "mysql", &[], Mapping::default()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_key_tells_rows_apart_and_orders_them_exactly() {
    let server = mariadb();
    server.sql("CREATE DATABASE t CHARACTER SET utf8mb4");
    let cases = [
        (
            "a INT PRIMARY KEY, b INT NOT NULL UNIQUE",
            Some(("PRIMARY", vec![0])),
        ),
        ("a INT, b INT NOT NULL UNIQUE", Some(("b", vec![1]))),
        ("a INT UNIQUE, b INT", None),
        (
            "a FLOAT PRIMARY KEY, b VARCHAR(9) NOT NULL UNIQUE",
            Some(("b", vec![1])),
        ),
        ("a DOUBLE PRIMARY KEY", None),
        ("a SET('x') PRIMARY KEY", None),
        ("a ENUM('x', 'y') PRIMARY KEY", None),
        (
            "a INT, b ENUM('x', 'y'), PRIMARY KEY (a, b)",
            Some(("PRIMARY", vec![0, 1])),
        ),
        ("a TEXT NOT NULL, PRIMARY KEY (a(10))", None),
        ("a LONGTEXT NOT NULL, UNIQUE (a)", None),
        (
            "a VARCHAR(9) NOT NULL, b INT NOT NULL, c INT NOT NULL, UNIQUE x (b, c), UNIQUE y (a), UNIQUE z (c)",
            Some(("z", vec![2])),
        ),
        (
            "a DOUBLE PRIMARY KEY, b INT NOT NULL, UNIQUE x (b) IGNORED",
            None,
        ),
        (
            "b INT, A INT, PRIMARY KEY (a, B)",
            Some(("PRIMARY", vec![1, 0])),
        ),
    ];
    for (at, (columns, _)) in cases.iter().enumerate() {
        server.sql(&format!("CREATE TABLE t.k{at} ({columns})"));
    }
    server.sql("CREATE TABLE t.m (a INT PRIMARY KEY) ENGINE = MEMORY");
    let all = found(&server, &[]).await.unwrap();
    for (at, (columns, key)) in cases.iter().enumerate() {
        let name = format!("k{at}");
        let table = all.iter().find(|table| table.name == name).unwrap();
        let ours = table
            .key
            .as_ref()
            .map(|key| (key.index.as_str(), key.columns.clone()));
        assert_eq!(&ours, key, "{columns}");
    }
    // Its index is a hash, which has no order.
    assert_eq!(
        all.last().map(|table| (table.name.as_str(), &table.key)),
        Some(("m", &None))
    );
}

#[tokio::test]
async fn a_thousand_tables_are_found_in_a_few_queries() {
    let server = MariaDb::with(&["--innodb-file-per-table=0", "--skip-log-bin"]);
    let create: Vec<_> = (0..1_000)
        .map(|at| {
            format!("CREATE TABLE t{at:04} (id INT PRIMARY KEY, v VARCHAR(20)) ENGINE = MyISAM;")
        })
        .collect();
    server.sql(&format!("CREATE DATABASE t; USE t; {}", create.concat()));
    let mut connection = open(&server).await;
    let asked = async |connection: &mut Connection| -> u64 {
        let rows = connection
            .query("count", "SHOW SESSION STATUS LIKE 'Questions'")
            .await
            .unwrap();
        cell(&rows[0], 1).unwrap().parse().unwrap()
    };
    let before = asked(&mut connection).await;
    let all = tables(&mut connection, "t", &[], Mapping::default())
        .await
        .unwrap();
    let after = asked(&mut connection).await;
    assert_eq!(all.len(), 1_000);
    assert!(
        all.iter()
            .all(|table| table.columns.len() == 2 && table.key.is_some())
    );
    assert!(after - before <= 6, "{} queries", after - before - 1);
}
