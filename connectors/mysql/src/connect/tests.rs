//! Every way in, against a real server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_core::{Context, Error, ErrorKind, Result, Secret, Span};
use tidegate_testkit::servers::{Certificates, MariaDb, mariadb, mariadb_plugins};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{ConnectionKeys, Connector};
use crate::wire::{ServerError, TlsMode};

mod mysql;

fn context() -> Context {
    Context::detached(Path::new("/"), Arc::default()).unwrap()
}

async fn open(keys: &ConnectionKeys) -> Result<Arc<Connector>> {
    Connector::open(keys, &context()).await
}

fn at(host: &str, port: u16) -> ConnectionKeys {
    ConnectionKeys {
        host: Some(host.to_owned()),
        port: Some(port),
        user: Some("root".to_owned()),
        connect_timeout: Some(Span(Duration::from_secs(5))),
        ..ConnectionKeys::default()
    }
}

fn code(error: &Error) -> Option<u16> {
    ServerError::code_of(error)
}

#[tokio::test]
async fn sessions_are_set_up_alike() {
    let server = MariaDb::with(&[
        "--default-time-zone=+05:00",
        "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
        "--autocommit=0",
        "--max-statement-time=1",
        "--net-write-timeout=1",
        "--wait-timeout=10",
        "--character-set-server=latin1",
    ]);
    let keys = ConnectionKeys {
        url: Some(server.url("mysql")),
        ..ConnectionKeys::default()
    };
    let connector = open(&keys).await.unwrap();
    assert!(connector.server().mariadb);
    assert_eq!(connector.database(), Some("mysql"));
    let mut connection = connector.connect().await.unwrap();
    let set = "SELECT @@time_zone, @@autocommit, @@max_statement_time, @@net_write_timeout, \
               @@net_read_timeout, @@wait_timeout, @@character_set_results, \
               @@character_set_client, @@group_concat_max_len, DATABASE(), 'ä'";
    let rows = connection.query("ask", set).await.unwrap();
    let row: Vec<_> = rows[0].iter().flatten().map(String::as_str).collect();
    let expected = [
        "+00:00", "1", "0.000000", "600", "600", "28800", "utf8mb4", "utf8mb4", "1048576", "mysql",
        "ä",
    ];
    assert_eq!(row, expected);
    let rows = connection.query("ask", "SELECT @@sql_mode").await.unwrap();
    let mut modes: Vec<_> = rows[0][0].as_deref().unwrap().split(',').collect();
    modes.sort_unstable();
    let expected = [
        "ERROR_FOR_DIVISION_BY_ZERO",
        "NO_AUTO_VALUE_ON_ZERO",
        "NO_ENGINE_SUBSTITUTION",
        "STRICT_ALL_TABLES",
    ];
    assert_eq!(modes, expected);
}

#[tokio::test]
async fn users_come_in_by_their_passwords() {
    let server = MariaDb::with(&[
        &format!("--plugin-dir={}", mariadb_plugins().display()),
        "--plugin-load-add=auth_ed25519",
    ]);
    server.sql(
        "CREATE USER plain; CREATE USER native IDENTIFIED BY 'ä secret'; \
         CREATE USER ed IDENTIFIED VIA ed25519 USING PASSWORD('ä secret'); \
         CREATE USER off IDENTIFIED BY 'ä secret' ACCOUNT LOCK; \
         CREATE USER tls IDENTIFIED BY 'ä secret' REQUIRE SSL; \
         CREATE DATABASE shop; GRANT ALL ON shop.* TO native, ed",
    );
    let directory = TempDir::new().unwrap();
    let secret = |password: &str| {
        let file = directory.path().join(format!("{password}.txt"));
        std::fs::write(&file, password).unwrap();
        Some(Secret::File(file))
    };
    let (right, wrong) = (secret("ä secret"), secret("wrong"));
    let log_in = async |user: &str, password: &Option<Secret>, database: Option<&str>| {
        let keys = ConnectionKeys {
            user: Some(user.to_owned()),
            password: password.clone(),
            database: database.map(str::to_owned),
            ..at("localhost", server.port())
        };
        let connector = open(&keys).await?;
        let mut connection = connector.connect().await?;
        let rows = connection.query("ask", "SELECT CURRENT_USER()").await?;
        Ok::<_, Error>(rows[0][0].clone().unwrap())
    };
    assert_eq!(log_in("plain", &None, None).await.unwrap(), "plain@%");
    assert_eq!(log_in("plain", &secret(""), None).await.unwrap(), "plain@%");
    for user in ["native", "ed"] {
        let expected = format!("{user}@%");
        assert_eq!(log_in(user, &right, Some("shop")).await.unwrap(), expected);
        // The numbers that ed25519 signs may end with a zero; one in 256 does.
        for password in [&wrong, &None] {
            let error = log_in(user, password, None).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
            assert!(error.to_string().contains("server: localhost:"), "{error}");
            assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
        }
    }
    for _ in 0..300 {
        log_in("ed", &right, None).await.unwrap();
    }
    for (user, database, number, kind) in [
        ("nobody", None, 1045, ErrorKind::Auth),
        ("off", None, 4151, ErrorKind::Auth),
        ("tls", None, 1045, ErrorKind::Auth),
        ("native", Some("mysql"), 1044, ErrorKind::Auth),
        ("native", Some("nothing"), 1044, ErrorKind::Auth),
        ("root", Some("nothing"), 1049, ErrorKind::NotFound),
    ] {
        let password = if user == "root" { &None } else { &right };
        let error = log_in(user, password, database).await.unwrap_err();
        assert_eq!(
            (code(&error), error.kind()),
            (Some(number), kind),
            "{error:?}"
        );
        assert!(error.hint_text().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_by_what_is_wrong() {
    let error = open(&at("nowhere.invalid", 3306)).await.unwrap_err();
    // Where nobody resolves names, the resolver says to try again.
    let known = [ErrorKind::NotFound, ErrorKind::Transient];
    assert!(known.contains(&error.kind()), "{error:?}");
    assert!(error.to_string().contains("host is not known"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let cx = context();
    let error = Connector::open(&at("127.0.0.1", port), &cx)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.hint_text().unwrap().contains("host and port"));
    assert_eq!(cx.metrics.total_retries(), 4);
}

#[tokio::test]
async fn a_server_that_says_nothing_or_something_else_is_not_waited_for() {
    // The system accepts for it; nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = ConnectionKeys {
        connect_timeout: Some(Span(Duration::from_secs(1))),
        ..at("127.0.0.1", silent.local_addr().unwrap().port())
    };
    let error = open(&keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("for 1 s"), "{error}");

    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = other.accept().await.unwrap();
        socket
            .write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            .await
            .unwrap();
        socket.flush().await.unwrap();
        std::future::pending::<()>().await;
    });
    let error = open(&at("127.0.0.1", port)).await.unwrap_err();
    assert!(
        error.hint_text().unwrap().contains("MySQL or MariaDB"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_full_server_is_tried_again() {
    // The limit is not one for administrators, and root is one.
    let server = MariaDb::with(&["--max-user-connections=2"]);
    server.sql("CREATE USER u");
    let keys = ConnectionKeys {
        user: Some("u".to_owned()),
        ..at("127.0.0.1", server.port())
    };
    let cx = context();
    let connector = Connector::open(&keys, &cx).await.unwrap();
    let one = connector.connect().await.unwrap();
    let two = connector.connect().await.unwrap();
    let error = connector.connect().await.unwrap_err();
    assert_eq!(
        (code(&error), error.kind()),
        (Some(1203), ErrorKind::Transient)
    );
    assert!(cx.metrics.total_retries() >= 4);
    // Tries go on while a place gets free.
    let free = async {
        while cx.metrics.total_retries() < 6 {
            tokio::task::yield_now().await;
        }
        drop((one, two));
    };
    let (three, ()) = tokio::join!(connector.connect(), free);
    three.unwrap();
}

/// Whether the connection has TLS, as the server sees it.
async fn is_safe(keys: &ConnectionKeys) -> Result<bool> {
    let mut connection = open(keys).await?.connect().await?;
    let rows = connection.query("ask", "SHOW STATUS LIKE 'Ssl_cipher'");
    Ok(rows.await?[0][1].as_deref() != Some(""))
}

#[tokio::test]
async fn tls_is_as_strict_as_asked() {
    use TlsMode::{Disabled, Preferred, Required, VerifyCa, VerifyIdentity};
    let here = Certificates::new("DNS:localhost,IP:127.0.0.1");
    let elsewhere = Certificates::new("DNS:db.example.com");
    let server = MariaDb::with(&here.options());
    server.sql("CREATE USER tls REQUIRE SSL");
    let ask = async |server: &MariaDb, host: &str, ssl, ca: Option<&Certificates>| {
        let keys = ConnectionKeys {
            ssl: Some(ssl),
            ca_file: ca.map(|ca| ca.file("ca.pem")),
            ..at(host, server.port())
        };
        is_safe(&keys).await
    };
    for host in ["localhost", "127.0.0.1"] {
        assert!(!ask(&server, host, Disabled, None).await.unwrap());
        assert!(ask(&server, host, Preferred, None).await.unwrap());
        assert!(ask(&server, host, Required, None).await.unwrap());
        for ssl in [VerifyCa, VerifyIdentity] {
            assert!(ask(&server, host, ssl, Some(&here)).await.unwrap());
            for wrong in [Some(&elsewhere), None] {
                let error = ask(&server, host, ssl, wrong).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Auth);
                assert!(error.hint_text().unwrap().contains("ca_file"), "{error:?}");
            }
        }
    }
    let keys = ConnectionKeys {
        user: Some("tls".to_owned()),
        ca_file: Some(here.file("ca.pem")),
        ..at("localhost", server.port())
    };
    assert!(is_safe(&keys).await.unwrap());

    let other = MariaDb::with(&elsewhere.options());
    for host in ["localhost", "127.0.0.1"] {
        assert!(ask(&other, host, VerifyCa, Some(&elsewhere)).await.unwrap());
        let error = ask(&other, host, VerifyIdentity, Some(&elsewhere)).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.to_string().contains("for another host"), "{error}");
    }

    let plain = mariadb();
    assert!(!ask(&plain, "localhost", Disabled, None).await.unwrap());
    assert!(!ask(&plain, "localhost", Preferred, None).await.unwrap());
    for ssl in [Required, VerifyCa, VerifyIdentity] {
        let error = ask(&plain, "localhost", ssl, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("has no TLS"), "{error}");
    }
    let absent = ConnectionKeys {
        ca_file: Some("/nothing/ca.pem".into()),
        ..at("localhost", plain.port())
    };
    let error = open(&absent).await.unwrap_err();
    assert!(error.to_string().contains("/nothing/ca.pem"), "{error}");
}
