//! Servers that do what none does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result};

use crate::bench::request::Request;

/// They run as long as this process.
pub(super) struct Servers {
    http: SocketAddr,
    mysql: SocketAddr,
}

impl Servers {
    pub(super) fn start() -> Result<Self> {
        Ok(Self {
            http: serve(http)?,
            mysql: serve(mysql)?,
        })
    }

    pub(super) fn http(&self, kind: &str) -> String {
        format!("http://{}/{kind}", self.http)
    }

    pub(super) fn mysql(&self, kind: &str) -> String {
        format!("mysql://{kind}@{}/shop", self.mysql)
    }

    /// With which `s3://` leads to the HTTP server.
    pub(super) fn environment(&self) -> BTreeMap<&str, String> {
        BTreeMap::from([
            ("AWS_ENDPOINT_URL_S3", format!("http://{}", self.http)),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "name".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ])
    }
}

fn serve(talk: fn(TcpStream) -> Result<()>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // Who has gone has gone.
            thread::spawn(move || talk(client).ok());
        }
    });
    Ok(address)
}

/// Answers as the first name of the path asks for; with S3, that is the bucket.
fn http(client: TcpStream) -> Result<()> {
    let mut requests = BufReader::new(client.try_clone()?);
    let mut client = client;
    let mut number = 0;
    while let Some(request) = Request::read(&mut requests)? {
        number += 1;
        let (method, path) = request.asks.split_once(' ').unwrap_or_default();
        let kind = path.trim_start_matches('/').split(['/', '?']).next();
        let (mut status, mut body) = ("200 OK", String::new());
        match kind.unwrap_or_default() {
            "keys" => {
                let records: Vec<_> = (0..10_000).map(|n| format!("{{\"k{n}\":{n}}}")).collect();
                body = format!("[{}]", records.join(","));
            }
            "later" => {
                status = "429 No\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT";
            }
            "endless" => return endless(&mut client, "[", "{\"a\":\"xxxxxxxxxxxxxxxx\"},"),
            "page" => return endless(&mut client, "", "<ListBucketResult>"),
            "pages" => {
                // As long as S3 allows.
                let name = format!("{number}/{}", "x".repeat(900));
                let keys = (0..1_000).map(|n| (format!("in/{name}{n}.ndjson"), "1"));
                body = page(
                    keys,
                    &format!("<NextContinuationToken>{number}</NextContinuationToken>"),
                );
            }
            "again" => {
                let keys = [("in/a.ndjson".to_owned(), "1")];
                body = page(
                    keys,
                    &format!("<NextContinuationToken>{number}</NextContinuationToken>"),
                );
            }
            _ => body = page([("in/a.ndjson".to_owned(), "4611686018427387904")], ""),
        }
        let length = body.len();
        write!(
            client,
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )?;
        if method != "HEAD" {
            client.write_all(body.as_bytes())?;
        }
    }
    Ok(())
}

/// A page of a listing of S3.
fn page(files: impl IntoIterator<Item = (String, &'static str)>, next: &str) -> String {
    let mut text = String::from("<ListBucketResult>");
    for (key, size) in files {
        let _ = write!(
            text,
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>e</ETag><Size>{size}</Size></Contents>"
        );
    }
    let truncated = !next.is_empty();
    text + &format!("<IsTruncated>{truncated}</IsTruncated>{next}</ListBucketResult>")
}

/// A body that doesn't end.
fn endless(client: &mut TcpStream, first: &str, then: &str) -> Result<()> {
    let then = then.repeat(4_096);
    write!(
        client,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{first}{then}\r\n",
        first.len() + then.len()
    )?;
    loop {
        write!(client, "{:x}\r\n{then}\r\n", then.len())?;
    }
}

/// Greets, lets anybody in, and answers as the user's name asks for.
fn mysql(mut client: TcpStream) -> Result<()> {
    let flags = (0x010F_F7DF_u32 & !0x20).to_le_bytes();
    let mut greeting = b"\x0a8.0.36\0\x07\x00\x00\x0012345678\0".to_vec();
    greeting.extend([flags[0], flags[1], 45, 2, 0, flags[2], flags[3], 21]);
    greeting.extend([0; 10]);
    greeting.extend(b"ABCDEFGHIJKL\0mysql_native_password\0");
    say(&mut client, 0, &greeting)?;
    let login = hear(&mut client)?;
    // Behind flags, sizes and what is reserved.
    let user = login.get(32..).context("a login")?;
    let user = user.split(|&byte| byte == 0).next().unwrap_or_default();
    if user == b"login" {
        let mut packet = vec![0; 4 + 0xFF_FFFF];
        packet[..3].fill(0xFF);
        packet[3] = 2;
        loop {
            client.write_all(&packet)?;
            packet[3] = packet[3].wrapping_add(1);
        }
    }
    say(&mut client, 2, &[0, 0, 0, 2, 0, 0, 0])?;
    loop {
        let command = hear(&mut client)?;
        let asks = command.first() == Some(&0x03) && !command.starts_with(b"\x03SET");
        match asks {
            true if user == b"rows" => {
                say(&mut client, 1, &[1])?;
                say(&mut client, 2, &definition(1))?;
                let mut row = b"\xfd\x40\x42\x0f".to_vec();
                row.resize(row.len() + 1_000_000, b'x');
                flood(&mut client, 3, &row)?;
            }
            true => {
                // 4096 columns.
                say(&mut client, 1, &[0xFC, 0x00, 0x10])?;
                flood(&mut client, 2, &definition(100_000))?;
            }
            false => say(&mut client, 1, &[0, 0, 0, 2, 0, 0, 0])?,
        }
    }
}

fn flood(client: &mut TcpStream, first: u8, payload: &[u8]) -> Result<()> {
    let mut number = first;
    loop {
        say(client, number, payload)?;
        number = number.wrapping_add(1);
    }
}

/// The definition of a text, whose name is so long.
fn definition(name: u32) -> Vec<u8> {
    let mut definition = b"\x03def\0\0\0\xFD".to_vec();
    definition.extend(&name.to_le_bytes()[..3]);
    definition.extend((0..name).map(|_| b'x'));
    definition.extend(b"\0\x0c\x2d\0\0\x10\0\0\xfd\0\0\0\0\0");
    definition
}

fn say(client: &mut TcpStream, number: u8, payload: &[u8]) -> Result<()> {
    let length = u32::try_from(payload.len())?.to_le_bytes();
    let head = [length[0], length[1], length[2], number];
    Ok(client.write_all(&[&head, payload].concat())?)
}

fn hear(client: &mut TcpStream) -> Result<Vec<u8>> {
    let mut head = [0; 4];
    client.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    let mut payload = vec![0; usize::try_from(length)?];
    client.read_exact(&mut payload)?;
    Ok(payload)
}
