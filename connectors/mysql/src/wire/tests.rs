use std::time::Duration;

use tidegate_testkit::servers::mariadb;

use tidegate_core::ErrorKind;

use super::{Address, Connection, Done, Login, ServerError, Tls, TlsMode};

async fn open(port: u16, mode: TlsMode) -> Connection {
    let address = Address {
        host: "127.0.0.1".to_owned(),
        port,
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(60),
    };
    let login = Login {
        user: "root".to_owned(),
        password: None,
        database: None,
        clear: false,
    };
    let tls = Tls::new(mode, None).unwrap();
    Connection::open(&address, &login, &tls).await.unwrap()
}

#[tokio::test]
async fn rows_come_as_texts_and_in_chunks() {
    let server = mariadb();
    let mut connection = open(server.port(), TlsMode::Preferred).await;
    assert!(connection.server().mariadb);
    let rows = connection
        .query("ask", "SELECT 1, NULL, 'ä'")
        .await
        .unwrap();
    assert_eq!(rows, [[Some("1".to_owned()), None, Some("ä".to_owned())]]);
    server.sql("CREATE DATABASE shop");
    let select = "SELECT seq, repeat('x', 100) FROM shop.seq_1_to_100000";
    let mut rows = connection.rows("read", select).await.unwrap();
    let mut count = 0;
    while let Some(chunk) = rows.next(64 << 10, 1_000).await.unwrap() {
        assert!((1..=1_000).contains(&chunk.len()));
        count += chunk.len();
    }
    assert_eq!(count, 100_000);
    let mut connection = rows.into_connection().unwrap();
    let two = connection.query("ask", "SELECT 2").await.unwrap();
    assert_eq!(two, [[Some("2".to_owned())]]);
}

#[tokio::test]
async fn statements_say_what_they_did_and_errors_why_not() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, v CHAR(3))",
    );
    let mut connection = open(server.port(), TlsMode::Preferred).await;
    let sql = "INSERT INTO shop.t (v) VALUES ('a'), ('b')";
    let done = connection.execute("write", sql).await.unwrap();
    let expected = Done {
        rows: 2,
        last_insert_id: 1,
        warnings: 0,
    };
    assert_eq!(done, expected);
    let done = connection
        .execute(
            "write",
            "INSERT IGNORE INTO shop.t VALUES (2, 'c'), (3, 'long')",
        )
        .await
        .unwrap();
    assert_eq!((done.rows, done.warnings), (1, 2));
    let sql = "INSERT INTO shop.t VALUES (2, 'd')";
    let error = connection.execute("write", sql).await.unwrap_err();
    let cause = ServerError::of(&error).unwrap();
    assert_eq!((cause.code, cause.state.as_str()), (1062, "23000"));
    // An error that the server tells leaves the connection as it was.
    let error = connection.execute("write", "DROP TABLE nothing.x").await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    let ten = [&b"INSERT INTO shop.t VALUES (10, "[..], b"_latin1'\xE4')"].concat();
    assert_eq!(connection.execute("write", ten).await.unwrap().rows, 1);
    assert_eq!(
        server.sql("SELECT HEX(v) FROM shop.t WHERE id = 10"),
        "C3A4\n".to_owned()
    );
}
