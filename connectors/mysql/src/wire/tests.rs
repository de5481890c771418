use std::time::Duration;

use tidegate_testkit::servers::mariadb;

use super::{Address, Connection, Login, Tls, TlsMode};

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
