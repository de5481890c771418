//! Answers to the source `rest`, as bytes over a socket: heads, bodies, next pages, cursors, totals,
//! `Retry-After`, packed bodies. The first byte says how pages follow each other; the answers are
//! separated by the bytes FF FE, and `@@` in one is the token, if we have sent it. It shows in no
//! error, and no position holds it.

#![no_main]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};
use tidegate_core::{Error, Scan};
use tidegate_fuzz::{context, open, read, wait};
use tidegate_rest as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "s3cr3t-t0ken/%41";

/// The bit by which the token is sent.
const AUTH: u8 = 32;

type Script = Arc<Mutex<VecDeque<Vec<u8>>>>;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_fuzz::case(data, |data| {
        if let [how, rest @ ..] = data {
            wait(run(*how, rest));
        }
    });
});

async fn run(how: u8, answers: &[u8]) {
    let (port, script) = server().await;
    *script.lock().unwrap_or_else(PoisonError::into_inner) = split(answers, how & AUTH != 0);
    let cx = context(json!({"http": {
        "attempts": 2, "backoff": "1ms", "max_backoff": "1ms", "max_retry_after": "1ms",
        "request_timeout": "5s", "max_response": "1 MB",
    }}));
    let source = match open(&cx, "rest", config(how, port)).await {
        Ok(source) => source,
        Err(error) => return check(&error),
    };
    let scans: Vec<_> = source
        .streams()
        .iter()
        .map(|stream| Scan::all(stream.name.clone()))
        .collect();
    let seen = read(&*source, &scans, |decoded| {
        for row in &decoded.rejected.rows {
            hidden(&row.reason);
        }
    })
    .await;
    for position in &seen.positions {
        hidden(&format!("{position:?}"));
    }
    if let Some(error) = seen.error {
        check(&error);
    }
}

fn check(error: &Error) {
    hidden(&format!("{error} {error:?}"));
}

fn hidden(text: &str) {
    assert!(!text.contains(TOKEN), "the token shows: {text}");
}

fn config(how: u8, port: u16) -> Value {
    let mut config = json!({"url": format!("http://127.0.0.1:{port}/v1/items")});
    let more = match how & 15 {
        0 => json!({}),
        1 => {
            json!({"records": "/items", "pagination": {"type": "page", "size_param": "n", "size": 2,
            "total": {"pointer": "/total"}}})
        }
        2 => json!({"records": "/items", "pagination": {"type": "page", "has_more": "/more",
            "previous": "/prev"}}),
        3 => json!({"pagination": {"type": "offset", "size": 2, "total": {"header": "x-total"}}}),
        4 => json!({"records": "/items", "pagination": {"type": "cursor", "cursor": "/next",
            "param": "cursor"}}),
        5 => json!({"pagination": {"type": "cursor", "cursor": "/id", "from": "last_record",
            "param": "after"}}),
        6 => json!({"pagination": {"type": "link"}}),
        7 => json!({"records": "/items", "pagination": {"type": "next_url", "next": "/next"}}),
        8 => json!({"conditional": true, "pagination": {"type": "link"},
            "incremental": {"param": "since", "field": "/at", "format": "rfc3339"}}),
        9 => json!({"records_object": true, "records_optional": true, "ends_at": [404],
            "pagination": {"type": "page", "size": 2, "short_page_ends": true}}),
        10 => json!({"records": "/items", "method": "POST", "body": {"q": 1},
            "pagination": {"type": "cursor", "cursor": "/next", "param": "cursor",
                "has_more": "/more", "in": "body"}}),
        11 => json!({"incremental": {"param": "since", "field": "/at", "format": "epoch_millis",
            "overlap": "1s"}, "records": "/0"}),
        12 => json!({"pagination": {"type": "page", "total": {"pages_header": "x-pages"}}}),
        13 => json!({"incremental": {"param": "since", "field": "/id"}}),
        14 => {
            json!({"quota": {"left": "x-left", "max": "x-max", "resets": "x-reset"}, "on_quota": "stop"})
        }
        _ => json!({"raw": "only", "pagination": {"type": "link"}}),
    };
    let mut add = |more: Value| {
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
            config.extend(more);
        }
    };
    add(more);
    if how & 16 != 0 {
        add(
            json!({"schema": [{"name": "id", "type": "int64"}, {"name": "at", "type": "timestamp"},
            {"name": "v", "type": "json"}]}),
        );
    }
    if how & AUTH != 0 {
        add(json!({"auth": {"type": "bearer", "token": {"file": token()}}}));
    }
    if how & 64 != 0 && how & 15 != 15 {
        add(json!({"raw": true}));
    }
    config
}

/// The file that holds the token.
fn token() -> String {
    static FILE: OnceLock<String> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let name = format!("tidegate-fuzz-token-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, TOKEN).expect("a file");
        file.to_string_lossy().into_owned()
    });
    file.clone()
}

fn split(answers: &[u8], echo: bool) -> VecDeque<Vec<u8>> {
    let mut script = VecDeque::from([Vec::new()]);
    let mut rest = answers;
    while let Some(first) = rest.first() {
        let (taken, put): (usize, &[u8]) = match rest {
            [0xFF, 0xFE, ..] => {
                script.push_back(Vec::new());
                (2, b"")
            }
            [b'@', b'@', ..] if echo => (2, TOKEN.as_bytes()),
            _ => (1, std::slice::from_ref(first)),
        };
        if let Some(last) = script.back_mut() {
            last.extend_from_slice(put);
        }
        rest = &rest[taken..];
    }
    script
}

/// The port at which the script is played: one answer a connection, and behind the last that there
/// is nothing.
async fn server() -> (u16, Script) {
    static SERVER: OnceLock<(u16, Script)> = OnceLock::new();
    if let Some(server) = SERVER.get() {
        return server.clone();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let script = Script::default();
    let server = (port, Arc::clone(&script));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(play(socket, Arc::clone(&script)));
        }
    });
    SERVER.get_or_init(|| server).clone()
}

async fn play(mut socket: TcpStream, script: Script) {
    let mut heard = Vec::new();
    while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
        match socket.read_buf(&mut heard).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let answer = {
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        script.pop_front()
    };
    let answer =
        answer.unwrap_or_else(|| b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n".to_vec());
    let _ = socket.write_all(&answer).await;
    let _ = socket.shutdown().await;
}
