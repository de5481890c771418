use std::time::{Duration, Instant};

use mysql_common::constants::CapabilityFlags;
use tidegate_core::{ErrorKind, Result};
use tidegate_testkit::servers::{MariaDb, mariadb};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::connection::Done;
use super::{Address, Connection, Login, Rows, ServerError, Tls, TlsMode};

mod endless;

/// The most bytes of a row, of an event and of a small answer.
const MOST: usize = 256 << 20;

async fn patient(port: u16, mode: TlsMode, read_timeout: Duration) -> Result<Connection> {
    let address = Address {
        host: "127.0.0.1".to_owned(),
        port,
        connect_timeout: Duration::from_secs(60),
        read_timeout,
        max_row: MOST,
    };
    let login = Login {
        user: "root".to_owned(),
        ..Login::default()
    };
    let tls = Tls::new(mode, None).unwrap();
    Connection::open(&address, &login, &tls).await
}

async fn open(port: u16, mode: TlsMode) -> Connection {
    patient(port, mode, Duration::from_secs(60)).await.unwrap()
}

/// Reads the rest; gives how many rows there were, and how it ended.
async fn drain(rows: &mut Rows) -> (usize, Result<()>) {
    let mut count = 0;
    loop {
        match rows.next(64 << 10, usize::MAX).await {
            Ok(Some(chunk)) => count += chunk.len(),
            Ok(None) => return (count, Ok(())),
            Err(error) => return (count, Err(error)),
        }
    }
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

/// Payloads of 16 MiB - 1 are continued by another packet, which is empty if they end there.
#[tokio::test]
async fn rows_and_statements_may_be_as_long_as_packets_joined() {
    const FULL: usize = (1 << 24) - 1;
    // Beside the text: the byte 0, the bits of NULLs, nine of the text's length.
    const BESIDE: usize = 1 + 1 + 4;
    let server = MariaDb::with(&["--max-allowed-packet=128M"]);
    let mut connection = open(server.port(), TlsMode::Disabled).await;
    for length in [
        FULL - BESIDE - 1,
        FULL - BESIDE,
        FULL - BESIDE + 1,
        60_000_000,
    ] {
        let select = format!(
            "SELECT CASE seq WHEN 1 THEN LEFT(REPEAT(_binary'0123456789', {length} / 10 + 1), {length}) \
             WHEN 2 THEN 'a' ELSE REPEAT(_binary'b', {length}) END FROM mysql.seq_1_to_3"
        );
        let mut rows = connection.rows("read", &select).await.unwrap();
        let mut seen = Vec::new();
        while let Some(chunk) = rows.next(1 << 20, 1_000).await.unwrap() {
            for row in chunk.rows() {
                let mut value = &row[2..];
                let length = super::connection::length(&mut value).unwrap();
                assert_eq!(u64::try_from(value.len()).unwrap(), length);
                seen.push(value.to_vec());
            }
        }
        let digits = "0123456789".repeat(length / 10 + 1);
        let expected = [&digits[..length], "a", &"b".repeat(length)];
        // Compared whole: they are long to print.
        assert!(seen == expected.map(str::as_bytes), "{length}");
        connection = rows.into_connection().unwrap();
        let texts = connection.query("ask", &select).await.unwrap();
        assert!(texts[0][0].as_deref() == Some(expected[0]), "{length}");
    }
    let begin = b"SET @x = _binary'";
    for length in [FULL - 1, FULL, 2 * FULL - 1, 60_000_000] {
        // The command's code is a byte of the payload.
        let text = "0123456789".repeat(length / 10 + 1);
        let text = &text[..length - begin.len() - 1];
        let statement = [begin, text.as_bytes(), b"'"].concat();
        connection.execute("write", statement).await.unwrap();
        let same = format!(
            "SELECT MD5(@x) = MD5(LEFT(REPEAT(_binary'0123456789', {length} / 10 + 1), {}))",
            text.len()
        );
        let rows = connection.query("ask", &same).await.unwrap();
        assert_eq!(rows[0][0].as_deref(), Some("1"), "{length}");
    }
    let long = vec![b' '; 140_000_000];
    let error = connection.execute("write", long).await.unwrap_err();
    // The server says so and closes, perhaps before we have sent all of it.
    assert!(
        matches!(error.kind(), ErrorKind::Data | ErrorKind::Transient),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_error_among_the_rows_comes_after_those_before_it() {
    let server = mariadb();
    server.sql("CREATE DATABASE shop");
    let connection = open(server.port(), TlsMode::Disabled).await;
    let select = "SELECT IF(seq = 90001, (SELECT 1 UNION SELECT 2), seq) FROM shop.seq_1_to_100000";
    let mut rows = connection.rows("read", select).await.unwrap();
    let (count, end) = drain(&mut rows).await;
    let error = end.unwrap_err();
    assert_eq!(
        (count, ServerError::of(&error).unwrap().code),
        (90_000, 1242)
    );
    assert!(rows.into_connection().is_none());
}

/// More than sockets hold on their way.
const MANY: &str = "SELECT seq, repeat('x', 1000) FROM mysql.seq_1_to_1000000";

#[tokio::test]
async fn a_connection_that_is_killed_gives_what_came_and_an_error_that_is_worth_another_try() {
    let mut server = mariadb();
    let connection = open(server.port(), TlsMode::Disabled).await;
    let id = connection.server().connection;
    let mut rows = connection.rows("read", MANY).await.unwrap();
    assert!(rows.next(1 << 20, usize::MAX).await.unwrap().is_some());
    server.sql(&format!("KILL {id}"));
    let (count, end) = drain(&mut rows).await;
    assert!((1..1_000_000).contains(&count));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Transient);

    // In mid-statement, with nothing on its way.
    let mut connection = open(server.port(), TlsMode::Disabled).await;
    let id = connection.server().connection;
    let killed = format!("KILL {id}");
    let asleep = connection.query("wait", "SELECT SLEEP(60)");
    let kill = async {
        let wait = format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id} AND state = 'User sleep'"
        );
        while server.sql(&wait) == "0\n" {
            tokio::task::yield_now().await;
        }
        server.sql(&killed);
    };
    let (slept, ()) = tokio::join!(asleep, kill);
    assert_eq!(slept.unwrap_err().kind(), ErrorKind::Transient);

    let connection = open(server.port(), TlsMode::Disabled).await;
    let mut rows = connection.rows("read", MANY).await.unwrap();
    assert!(rows.next(1 << 20, usize::MAX).await.unwrap().is_some());
    server.restart();
    let (_, end) = drain(&mut rows).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Transient);
    let mut connection = open(server.port(), TlsMode::Disabled).await;
    connection.run("ask", "DO 1").await.unwrap();
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_as_long_as_said() {
    let server = mariadb();
    let time = Duration::from_secs(1);
    let mut connection = patient(server.port(), TlsMode::Disabled, time)
        .await
        .unwrap();
    let begun = Instant::now();
    let error = connection
        .query("wait", "SELECT SLEEP(100)")
        .await
        .unwrap_err();
    assert!((time..time * 50).contains(&begun.elapsed()));
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(
        error.hint_text().unwrap().contains("read_timeout"),
        "{error:?}"
    );
    // The answer that may yet come is not taken for another's.
    let error = connection.query("ask", "SELECT 1").await.unwrap_err();
    assert!(error.to_string().contains("in the middle of"), "{error:?}");
    // So is one that stops among its rows.
    let connection = patient(server.port(), TlsMode::Disabled, time)
        .await
        .unwrap();
    let select = "SELECT seq, IF(seq = 90001, SLEEP(100), 0) FROM mysql.seq_1_to_100000";
    let mut rows = connection.rows("read", select).await.unwrap();
    let (count, end) = drain(&mut rows).await;
    assert!((1..=90_000).contains(&count), "{count}");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Transient);
}

#[tokio::test]
async fn what_is_dropped_in_the_middle_is_gone_on_with_or_closed() {
    let server = mariadb();
    let connection = open(server.port(), TlsMode::Disabled).await;
    let id = connection.server().connection;
    let mut rows = connection.rows("read", MANY).await.unwrap();
    let (mut count, mut dropped) = (0, 0);
    loop {
        match tokio::time::timeout(Duration::ZERO, rows.next(8 << 20, usize::MAX)).await {
            Err(_) => dropped += 1,
            Ok(chunk) => match chunk.unwrap() {
                Some(chunk) => count += chunk.len(),
                None => break,
            },
        }
    }
    assert_eq!(count, 1_000_000);
    assert!(dropped > 0);
    let connection = rows.into_connection().unwrap();
    assert_eq!(connection.server().connection, id);

    let mut rows = connection.rows("read", MANY).await.unwrap();
    rows.next(1 << 20, usize::MAX).await.unwrap();
    drop(rows);
    let there = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id}");
    let begun = Instant::now();
    while server.sql(&there) != "0\n" {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it is still there"
        );
    }
}

#[tokio::test]
async fn statements_are_forgotten_when_they_are_done() {
    let server = MariaDb::with(&["--max-prepared-stmt-count=3"]);
    let mut connection = open(server.port(), TlsMode::Disabled).await;
    for _ in 0..10 {
        assert_eq!(
            connection
                .describe("look", "SELECT 1, 2")
                .await
                .unwrap()
                .len(),
            2
        );
        let error = connection.describe("look", "SELECT ?").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let error = connection
            .describe("look", "SELECT nothing")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let mut rows = connection.rows("read", "SELECT 1").await.unwrap();
        assert_eq!(drain(&mut rows).await.0, 1);
        connection = rows.into_connection().unwrap();
    }
    let error = connection.rows("read", "DO 1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn chunks_are_about_as_large_as_asked() {
    let server = mariadb();
    let mut connection = open(server.port(), TlsMode::Disabled).await;
    let select = "SELECT seq, repeat('x', seq % 5000) FROM mysql.seq_1_to_20000";
    for (bytes, most) in [(1, usize::MAX), (100_000, usize::MAX), (1 << 20, 7), (0, 1)] {
        let mut rows = connection.rows("read", select).await.unwrap();
        let mut last = 0;
        while let Some(chunk) = rows.next(bytes, most).await.unwrap() {
            assert!((1..=most).contains(&chunk.len()));
            let sizes: Vec<_> = chunk.rows().map(<[u8]>::len).collect();
            let but_last: usize = sizes[..sizes.len() - 1].iter().sum();
            assert!(but_last < bytes.max(1));
            for row in chunk.rows() {
                let number = u32::from_le_bytes(row[2..6].try_into().unwrap());
                assert_eq!(number, last + 1);
                last = number;
            }
        }
        assert_eq!(last, 20_000);
        connection = rows.into_connection().unwrap();
    }
}

/// Servers of before MySQL 5.7.5 and MariaDB 10.2 end definitions and rows with other packets.
#[tokio::test]
async fn old_servers_are_understood() {
    const DEPRECATE_EOF: u8 = 1 << 0;
    let server = mariadb();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = server.port();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
        let mut greeting = vec![0; 4];
        server.read_exact(&mut greeting).await.unwrap();
        let length = usize::from(greeting[0]);
        greeting.resize(4 + length, 0);
        server.read_exact(&mut greeting[4..]).await.unwrap();
        // After the version: the connection's number, half of the nonce and a zero, two bytes of
        // flags, the character set, two of status; then the flags' upper bytes.
        let version = greeting[5..].iter().position(|byte| *byte == 0).unwrap();
        let upper = 5 + version + 1 + 4 + 9 + 2 + 1 + 2;
        assert_ne!(greeting[upper + 1] & DEPRECATE_EOF, 0);
        greeting[upper + 1] &= !DEPRECATE_EOF;
        client.write_all(&greeting).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    let mut connection = open(port, TlsMode::Disabled).await;
    assert!(
        !connection
            .capabilities
            .contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
    );
    for _ in 0..2 {
        let rows = connection
            .query("ask", "SELECT 1, 'a' UNION SELECT 2, NULL")
            .await;
        assert_eq!(rows.unwrap().len(), 2);
        let columns = connection.describe("look", "SELECT 1, 2").await.unwrap();
        assert_eq!(columns.len(), 2);
        let error = connection.describe("look", "SELECT ?").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        connection.run("ask", "DO 1").await.unwrap();
        let select = "SELECT seq FROM mysql.seq_1_to_10000";
        let mut rows = connection.rows("read", select).await.unwrap();
        assert_eq!(drain(&mut rows).await.0, 10_000);
        connection = rows.into_connection().unwrap();
    }
}
