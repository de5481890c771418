//! Servers that say they speak S3 and do what none does: each ends in an error, soon and small.

#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tidegate_core::{Context, Error, ErrorKind, Metrics};
use tidegate_storage::{Access, FileMeta, Location, Names, StagedToken, Storage};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// No test sends more; who takes all of it has no limit.
const ENDLESS: u64 = 512 << 20;

/// What a server answers: its status, headers besides the length, and a body.
#[derive(Debug, Clone, Default)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The length that it says; `None`: it is sent in chunks.
    length: Option<u64>,
    /// The body is sent again and again, in chunks.
    endless: bool,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status,
            length: Some(body.len() as u64),
            body,
            ..Self::default()
        }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    fn in_chunks(mut self) -> Self {
        self.length = None;
        self
    }

    /// Bytes `first` to `last` of a file of ten, or so it says.
    fn part(first: u64, last: u64, body: impl Into<Vec<u8>>) -> Self {
        Self::new(206, body)
            .with("Content-Range", format!("bytes {first}-{last}/10"))
            .of_file()
    }

    fn of_file(self) -> Self {
        self.with("ETag", "\"e\"")
            .with("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
    }
}

/// A server on a port of 127.0.0.1.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicU64>,
    /// The keys that it is asked with.
    secret: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// One that answers the request of this number, from 0, with this head.
    async fn start(answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let sent: Arc<AtomicU64> = Arc::default();
        let (seen, counted, answer) = (requests.clone(), sent.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (seen, counted, answer) = (seen.clone(), counted.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut client = BufReader::new(client);
                    let Some(head) = request(&mut client).await else {
                        return;
                    };
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(head.clone());
                        seen.len() - 1
                    };
                    let answer = answer(number, &head);
                    // Who has gone has gone.
                    let _ = send(client.into_inner(), &head, answer, &counted).await;
                });
            }
        });
        let secret = tempfile::tempdir().unwrap();
        for name in ["secret", "token"] {
            std::fs::write(secret.path().join(name), name).unwrap();
        }
        Self {
            url,
            requests,
            sent,
            secret,
            task,
        }
    }

    async fn storage(&self) -> Storage {
        let aws = json!({ "aws": {
            "endpoint_url": self.url,
            "credentials": {
                "access_key_id": "name",
                "secret_access_key": { "file": self.secret.path().join("secret") },
                "session_token": { "file": self.secret.path().join("token") },
            },
        } });
        let serde_json::Value::Object(settings) = aws else {
            unreachable!();
        };
        let mut cx = Context::detached(Path::new("/"), Arc::new(settings)).unwrap();
        cx.metrics = Arc::new(Metrics::default());
        let access = Access::of(&cx, None).unwrap();
        let location = Location::parse("s3://lake/in", Path::new("/")).unwrap();
        Storage::open(&location, &access).await.unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Reads a request; gives its head.
async fn request(client: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.ok()?;
        let lower = line.to_lowercase();
        if let Some(bytes) = lower.strip_prefix("content-length:") {
            length = bytes.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.ok()?;
    (!head.is_empty()).then_some(head)
}

async fn send(
    mut client: TcpStream,
    request: &str,
    answer: Answer,
    sent: &AtomicU64,
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    match answer.length {
        Some(length) => head += &format!("Content-Length: {length}\r\n\r\n"),
        None => head += "Transfer-Encoding: chunked\r\n\r\n",
    }
    client.write_all(head.as_bytes()).await?;
    if request.starts_with("HEAD") {
        return client.shutdown().await;
    }
    let mut chunk = answer.body.clone();
    if answer.length.is_none() {
        chunk = format!("{:x}\r\n", chunk.len()).into_bytes();
        chunk.extend(&answer.body);
        chunk.extend(b"\r\n");
    }
    loop {
        client.write_all(&chunk).await?;
        let sent = sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        if !answer.endless || sent > ENDLESS {
            break;
        }
    }
    if answer.length.is_none() {
        client.write_all(b"0\r\n\r\n").await?;
    }
    client.shutdown().await
}

/// A file of ten bytes, as a listing has told of it.
fn file() -> FileMeta {
    FileMeta {
        key: "f".into(),
        size: 10,
        modified: "2026-01-01T00:00:00Z".parse().unwrap(),
        etag: Some("\"e\"".into()),
    }
}

async fn read(server: &Server) -> Result<Vec<u8>, Error> {
    let storage = server.storage().await;
    soon(storage.read(&file(), 0..10)).await.map(Vec::from)
}

/// What must come to an end within a minute.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(60), what);
    ended.await.unwrap()
}

fn is_refused(error: &Error, because: &str) {
    assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
    assert!(format!("{error:?}").contains(because), "{error:?}");
    assert!(error.to_string().contains("s3://lake/in"), "{error:?}");
    assert!(
        error.hint_text().unwrap().contains("endpoint_url"),
        "{error:?}"
    );
}

const ALL: &[u8] = b"0123456789";

#[tokio::test]
async fn a_redirect_is_not_followed_and_takes_no_token_elsewhere() {
    for status in [301, 302, 307, 308] {
        let other = Server::start(|_, _| Answer::part(0, 9, ALL)).await;
        // Another name is another host.
        let address = other.url.replace("127.0.0.1", "localhost");
        let server =
            Server::start(move |_, _| Answer::new(status, "").with("Location", &address)).await;
        let read = read(&server).await.unwrap_err();
        let head = soon(server.storage().await.head("f")).await.unwrap_err();
        for error in [read, head] {
            assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
            assert!(error.to_string().contains("redirects"), "{error:?}");
            let hint = error.hint_text().unwrap();
            assert!(
                hint.contains("region") && hint.contains("endpoint_url"),
                "{hint}"
            );
        }
        let asked = server.requests();
        let token = "x-amz-security-token: token";
        assert!(asked[0].to_lowercase().contains(token), "{asked:?}");
        assert_eq!(other.requests(), [""; 0], "{status}");
    }
}

#[tokio::test]
async fn more_or_fewer_bytes_than_a_range_has_are_refused() {
    let twice = ALL.repeat(2);
    for answer in [
        Answer::part(0, 9, twice.clone()),
        Answer::part(0, 9, &ALL[1..]),
        Answer::part(0, 9, twice).in_chunks(),
    ] {
        let server = Server::start(move |_, _| answer.clone()).await;
        let error = read(&server).await.unwrap_err();
        is_refused(&error, "more or fewer bytes");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_range_without_an_end_is_not_read() {
    let endless = Answer {
        endless: true,
        ..Answer::part(0, 9, vec![b'x'; 1 << 16]).in_chunks()
    };
    // After one that broke off, nobody looks at the next answer's length.
    let broken = Answer {
        length: Some(10),
        ..Answer::part(0, 9, &ALL[..4])
    };
    let rest = Answer {
        headers: Answer::part(4, 9, "").headers,
        ..endless.clone()
    };
    let refusal = Answer {
        status: 400,
        ..endless.clone()
    };
    for (first, next, because) in [
        (endless.clone(), endless, "more or fewer bytes"),
        (broken, rest, "more or fewer bytes"),
        (refusal.clone(), refusal, "no end"),
    ] {
        let server = Server::start(move |number, _| match number {
            0 => first.clone(),
            _ => next.clone(),
        })
        .await;
        let error = read(&server).await.unwrap_err();
        is_refused(&error, because);
        // What lies in the buffers of connections.
        assert!(server.sent() < 64 << 20, "{}", server.sent());
    }
}

#[tokio::test]
async fn another_part_than_was_asked_for_is_refused() {
    let whole = Answer::new(200, ALL).of_file();
    let unsaid = Answer::new(206, ALL).of_file();
    for (answer, because) in [
        (whole, "whole file"),
        (unsaid, "another part"),
        (Answer::part(1, 9, &ALL[1..]), "another part"),
        (Answer::part(0, 10, "0123456789A"), "another part"),
        (Answer::part(9, 0, ALL), "another part"),
        (Answer::part(0, u64::MAX, ALL), "another part"),
    ] {
        let server = Server::start(move |_, _| answer.clone()).await;
        let error = read(&server).await.unwrap_err();
        is_refused(&error, because);
    }
}

#[tokio::test]
async fn a_range_that_broke_off_goes_on_where_it_broke() {
    let broken = Answer {
        length: Some(10),
        ..Answer::part(0, 9, &ALL[..4])
    };
    let rest = Answer::part(4, 9, &ALL[4..]);
    let whole = Answer::new(200, ALL).of_file();
    let again = Answer::part(0, 9, ALL);
    for (next, because) in [
        (rest, None),
        (whole, Some("whole file")),
        (again, Some("another part")),
    ] {
        let first = broken.clone();
        let server = Server::start(move |number, _| match number {
            0 => first.clone(),
            _ => next.clone(),
        })
        .await;
        let read = read(&server).await;
        match because {
            None => assert_eq!(read.unwrap(), ALL),
            Some(because) => is_refused(&read.unwrap_err(), because),
        }
        assert!(server.requests()[1].contains("bytes=4-9"));
    }
}

#[tokio::test]
async fn a_size_that_no_object_has_is_refused() {
    let server = Server::start(|_, _| {
        let head = Answer::new(200, "").of_file();
        Answer {
            length: Some(i64::MAX as u64),
            ..head
        }
    })
    .await;
    let error = soon(server.storage().await.head("f")).await.unwrap_err();
    is_refused(&error, "9223372036854775807 bytes");
    for (size, because) in [
        ("4611686018427387904", "4611686018427387904 bytes"),
        ("-1", "without its size"),
    ] {
        let server = Server::start(move |_, _| page(&[("in/a", size)], None)).await;
        let error = list(&server).await.unwrap_err();
        is_refused(&error, because);
        assert!(error.to_string().contains("key: a"), "{error:?}");
    }
}

/// A page of a listing: keys with sizes, and the token of the next.
fn page(files: &[(&str, &str)], next: Option<&str>) -> Answer {
    let mut text = String::from("<ListBucketResult>");
    for (key, size) in files {
        text += &format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>e</ETag><Size>{size}</Size></Contents>"
        );
    }
    text += &format!("<IsTruncated>{}</IsTruncated>", next.is_some());
    if let Some(next) = next {
        text += &format!("<NextContinuationToken>{next}</NextContinuationToken>");
    }
    Answer::new(200, text + "</ListBucketResult>")
}

async fn list(server: &Server) -> Result<Vec<FileMeta>, Error> {
    let storage = server.storage().await;
    soon(storage.list("", Names::Visible)).await
}

#[tokio::test]
async fn a_listing_that_repeats_itself_ends() {
    // Pages of new keys under the same token, then the same page under new tokens.
    let token = Server::start(|number, _| page(&[(&format!("in/{number}"), "1")], Some("t"))).await;
    let keys = Server::start(|number, _| page(&[("in/a", "1")], Some(&format!("{number}")))).await;
    for server in [token, keys] {
        let error = list(&server).await.unwrap_err();
        is_refused(&error, "again and again");
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn pages_may_be_empty_and_in_any_order() {
    let server = Server::start(|number, _| match number {
        0 => page(&[("in/b", "1")], Some("1")),
        1 => page(&[], Some("2")),
        2 => page(&[], Some("3")),
        _ => page(&[("in/a", "2")], None),
    })
    .await;
    let keys: Vec<_> = list(&server).await.unwrap();
    let keys: Vec<_> = keys.into_iter().map(|file| file.key).collect();
    assert_eq!(keys, ["a", "b"]);
}

#[tokio::test]
async fn a_listing_of_uploads_that_repeats_itself_ends() {
    let server = Server::start(|_, _| {
        let text = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>\
                    <NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>\
                    <Upload><Key>in/a</Key><UploadId>u</UploadId></Upload>\
                    </ListMultipartUploadsResult>";
        Answer::new(200, text)
    })
    .await;
    let storage = server.storage().await;
    let token = storage.begin("a").await.unwrap();
    let tokens: [StagedToken; 1] = [token];
    let error = soon(storage.discard(&tokens)).await.unwrap_err();
    is_refused(&error, "again and again");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_page_without_an_end_is_read_no_further_than_pages_are_long() {
    let server = Server::start(|_, _| Answer {
        endless: true,
        ..Answer::new(200, "<ListBucketResult>".repeat(5_000)).in_chunks()
    })
    .await;
    let error = list(&server).await.unwrap_err();
    is_refused(&error, "longer than 16 MiB");
    assert_eq!(server.requests().len(), 1);
    assert!(server.sent() < 64 << 20, "{}", server.sent());
}

#[tokio::test]
async fn an_error_in_place_of_a_listing_is_not_an_empty_one() {
    let server = Server::start(|_, _| {
        let text = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        Answer::new(200, text)
    })
    .await;
    let error = list(&server).await.unwrap_err();
    assert!(error.to_string().contains("list files"), "{error:?}");
}
