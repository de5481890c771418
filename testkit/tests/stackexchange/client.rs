//! A client that does what it is told to, and thinks of nothing.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use flate2::read::GzDecoder;
use serde_json::Value;
use tidegate_testkit::servers::StackExchange;
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Client {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) encoding: Option<String>,
    pub(crate) date: String,
    pub(crate) bytes: Vec<u8>,
}

impl Client {
    pub(crate) fn new(api: &StackExchange) -> Self {
        Self::at(&api.url())
    }

    pub(crate) fn at(url: &str) -> Self {
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            client: reqwest::Client::new(),
            url: url.to_owned(),
        }
    }

    /// Asks for a path and query, as they stand in a URL.
    pub(crate) fn get(&self, path: &str) -> Got {
        self.try_get(path).unwrap()
    }

    pub(crate) fn try_get(&self, path: &str) -> reqwest::Result<Got> {
        let sent = self.client.get(format!("{}{path}", self.url));
        self.runtime.block_on(Got::of(sent))
    }

    pub(crate) fn post(&self, path: &str, form: &str) -> Got {
        let sent = self.client.post(format!("{}{path}", self.url));
        let sent = sent.header("content-type", "application/x-www-form-urlencoded");
        self.runtime
            .block_on(Got::of(sent.body(form.to_owned())))
            .unwrap()
    }

    /// The rows, of an answer that must have some.
    pub(crate) fn items(&self, path: &str) -> Vec<Value> {
        self.get(path).items()
    }
}

/// Sends a request and doesn't wait for its answer, after which the connection is not used again.
pub(crate) fn send(api: &StackExchange, path: &str) -> TcpStream {
    let origin = api.origin();
    let host = origin.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(host).unwrap();
    write!(
        connection,
        "GET /2.3{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    )
    .unwrap();
    connection.shutdown(Shutdown::Write).unwrap();
    connection
}

impl Got {
    async fn of(sent: reqwest::RequestBuilder) -> reqwest::Result<Self> {
        let answer = sent.send().await?;
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        Ok(Self {
            status: answer.status().as_u16(),
            encoding: header("content-encoding"),
            date: header("date").unwrap(),
            bytes: answer.bytes().await?.to_vec(),
        })
    }

    pub(crate) fn text(&self) -> String {
        if !self.bytes.starts_with(&[0x1f, 0x8b]) {
            return String::from_utf8(self.bytes.clone()).unwrap();
        }
        let mut text = String::new();
        GzDecoder::new(&*self.bytes)
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    pub(crate) fn items(&self) -> Vec<Value> {
        let json = self.json();
        json["items"]
            .as_array()
            .unwrap_or_else(|| panic!("{json}"))
            .clone()
    }

    /// The id and message of an error.
    pub(crate) fn error(&self) -> (i64, String) {
        let json = self.json();
        let id = json["error_id"]
            .as_i64()
            .unwrap_or_else(|| panic!("{json}"));
        (id, json["error_message"].as_str().unwrap().to_owned())
    }
}
