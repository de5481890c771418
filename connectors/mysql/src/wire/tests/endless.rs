//! A server that doesn't stop: it is left before it has taken our memory.

use std::io;

use super::super::transport::{FULL, HEADER};
use super::*;

/// The least that `max_row` can be.
const LEAST: usize = 16 << 20;

/// What has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flood {
    /// The answer to the login.
    Login,
    /// The answer to a statement.
    Answer,
    /// The number of columns.
    Columns,
    /// Their definitions.
    Definitions,
    /// Rows of a long text each.
    Texts,
    /// Rows of many NULLs each, of which each takes one byte on its way.
    Nulls,
    /// One row of many, or one event.
    Row,
}

async fn say(socket: &mut TcpStream, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    let packet = [&length[..3], &[1], payload].concat();
    socket.write_all(&packet).await
}

async fn hear(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER];
    socket.read_exact(&mut header).await?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    socket.read_exact(&mut payload).await?;
    Ok(payload)
}

/// A payload that never stops.
async fn endless(socket: &mut TcpStream) -> io::Result<()> {
    let mut packet = vec![0; HEADER + FULL];
    packet[..3].fill(0xFF);
    loop {
        socket.write_all(&packet).await?;
    }
}

/// The definition of a text, whose name is so long.
fn definition(name: usize) -> Vec<u8> {
    let mut definition = b"\x03def\0\0\0".to_vec();
    definition.push(0xFD);
    definition.extend_from_slice(&u32::try_from(name).unwrap().to_le_bytes()[..3]);
    definition.resize(definition.len() + name, b'x');
    definition.extend_from_slice(b"\0\x0c\x2d\0\0\x10\0\0\xfd\0\0\0\0\0");
    definition
}

const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
/// 4096, length-encoded.
const MANY_COLUMNS: [u8; 3] = [0xFC, 0x00, 0x10];

async fn talk(socket: &mut TcpStream, flood: Flood) -> io::Result<()> {
    let flags = (0x010F_F7DFu32 & !0x20).to_le_bytes();
    let mut greeting = b"\x0a8.0.36\0\x07\x00\x00\x00".to_vec();
    greeting.extend_from_slice(b"12345678\0");
    greeting.extend_from_slice(&[flags[0], flags[1], 45, 2, 0, flags[2], flags[3], 21]);
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(b"ABCDEFGHIJKL\0mysql_native_password\0");
    say(socket, &greeting).await?;
    hear(socket).await?;
    if flood == Flood::Login {
        return endless(socket).await;
    }
    say(socket, &OK).await?;
    loop {
        let command = hear(socket).await?;
        match (command[0], flood) {
            (0x03, Flood::Answer) | (0x12, _) => return endless(socket).await,
            (0x03, Flood::Columns) => say(socket, b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF").await?,
            (0x03, Flood::Definitions) => {
                say(socket, &MANY_COLUMNS).await?;
                loop {
                    say(socket, &definition(100_000)).await?;
                }
            }
            (0x03, Flood::Texts) => {
                say(socket, &[1]).await?;
                say(socket, &definition(1)).await?;
                let mut row = b"\xfd\x40\x42\x0f".to_vec();
                row.resize(row.len() + 1_000_000, b'x');
                loop {
                    say(socket, &row).await?;
                }
            }
            (0x03, Flood::Nulls) => {
                say(socket, &MANY_COLUMNS).await?;
                for _ in 0..4_096 {
                    say(socket, &definition(1)).await?;
                }
                loop {
                    say(socket, &[0xFB; 4_096]).await?;
                }
            }
            (0x16, _) => {
                // The statement's number, one column, no parameter, no warning.
                say(socket, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
                say(socket, &definition(1)).await?;
            }
            (0x17, _) => {
                say(socket, &[1]).await?;
                say(socket, &definition(1)).await?;
                return endless(socket).await;
            }
            _ => say(socket, &OK).await?,
        }
    }
}

async fn open(flood: Flood) -> Result<Connection> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        connect_timeout: Duration::from_secs(60),
        read_timeout: Duration::from_secs(60),
        max_row: LEAST,
    };
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        // It ends when the client goes away.
        let _ = talk(&mut socket, flood).await;
    });
    let tls = Tls::new(TlsMode::Disabled, None).unwrap();
    Connection::open(&address, &Login::default(), &tls).await
}

/// The error, which has to name the limit and what sets it.
#[track_caller]
fn limited<T>(result: Result<T>, limit: usize, set: bool) {
    let Err(error) = result else {
        panic!("all of it was taken");
    };
    assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&limit.to_string()), "{text}");
    assert_eq!(text.contains("`max_row`"), set, "{text}");
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_taken() {
    limited(open(Flood::Login).await, 64 << 10, false);
    let mut connection = open(Flood::Answer).await.unwrap();
    limited(connection.run("ask", "DO 1").await, 1 << 20, false);
    // What is left of it is not taken for another's.
    let error = connection.run("ask", "DO 1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
}

#[tokio::test]
async fn columns_without_an_end_are_not_taken() {
    let mut connection = open(Flood::Columns).await.unwrap();
    limited(connection.query("ask", "SELECT 1").await, 4_096, false);
    let mut connection = open(Flood::Definitions).await.unwrap();
    limited(connection.query("ask", "SELECT 1").await, 16 << 20, false);
}

#[tokio::test]
async fn rows_of_a_small_answer_are_taken_up_to_max_row() {
    for flood in [Flood::Texts, Flood::Nulls] {
        let mut connection = open(flood).await.unwrap();
        limited(connection.query("ask", "SELECT 1").await, LEAST, true);
    }
}

#[tokio::test]
async fn one_row_and_one_event_are_taken_up_to_max_row() {
    let connection = open(Flood::Row).await.unwrap();
    let mut rows = connection.rows("read", "SELECT 1").await.unwrap();
    limited(rows.next(1 << 20, usize::MAX).await, LEAST, true);
    assert!(rows.into_connection().is_none());
    let mut connection = open(Flood::Row).await.unwrap();
    connection.command("follow", 0x12, &[]).await.unwrap();
    limited(connection.packet("follow").await, LEAST, true);
}
