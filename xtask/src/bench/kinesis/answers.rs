//! A server that answers as Kinesis does, from one page of records that it makes when it starts.
//!
//! It is a process of its own, so that what it costs isn't counted as Tidegate's.

use std::fmt::Write as _;
use std::io::{self, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Deserialize;

use crate::bench::request::Request;

/// Serve pages as Kinesis does, until standard input is closed
#[derive(Debug, Args)]
pub(in super::super) struct Answers {
    #[arg(long)]
    shards: u32,
    /// Pages of each shard
    #[arg(long)]
    pages: u32,
}

/// GetRecords gives up to 10,000 records or 10 MiB.
pub(super) const PAGE: u32 = 10_000;

/// The data of a record.
pub(super) const DATA: usize = 1024;

/// What is said of when the stream was made and its records came, in seconds since 1970.
const LONG_AGO: u32 = 1_750_000_000;

impl Answers {
    pub(in super::super) fn run(&self) -> Result<()> {
        let stream = Arc::new(Stream {
            shards: self.shards,
            pages: self.pages,
            records: records(0..PAGE)?,
            pushed: pushed()?,
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        println!("http://{}", listener.local_addr()?);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let stream = Arc::clone(&stream);
                thread::spawn(move || {
                    // The client sees that the connection has ended; why is for us.
                    if let Err(error) = stream.serve(&connection) {
                        eprintln!("kinesis: {error:#}");
                    }
                });
            }
        });
        io::copy(&mut io::stdin(), &mut io::sink())?;
        Ok(())
    }
}

/// The stream that there is.
struct Stream {
    shards: u32,
    pages: u32,
    /// Those of a page.
    records: String,
    /// The same as events.
    pushed: Vec<u8>,
}

/// What a request's body may have.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asked {
    shard_id: String,
    /// A shard's name and the number of a page.
    shard_iterator: String,
}

impl Stream {
    fn serve(&self, connection: &TcpStream) -> Result<()> {
        connection.set_nodelay(true)?;
        let mut reader = BufReader::new(connection);
        let mut writer = connection;
        while let Some(request) = Request::read(&mut reader)? {
            let operation = request.target.rsplit('.').next().unwrap_or_default();
            if operation == "SubscribeToShard" {
                return self.push(writer);
            }
            let asked = serde_json::from_slice(&request.body).context("a body that isn't JSON")?;
            let (start, end) = self.answer(operation, &asked)?;
            write!(
                writer,
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n\
                 Content-Length: {}\r\n\r\n",
                start.len() + end.len()
            )?;
            writer.write_all(start.as_bytes())?;
            writer.write_all(end.as_bytes())?;
        }
        Ok(())
    }

    /// All pages of a shard as events, as fast as they are taken. The last one says that the shard is closed.
    fn push(&self, mut writer: &TcpStream) -> Result<()> {
        let start = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n\
                     Connection: close\r\n\r\n";
        writer.write_all(start.as_bytes())?;
        writer.write_all(&event("initial-response", "{}")?)?;
        for _ in 0..self.pages {
            writer.write_all(&self.pushed)?;
        }
        let last = format!(
            r#"{{"Records":[],"ContinuationSequenceNumber":"{}","MillisBehindLatest":0,"ChildShards":[{{"ShardId":"shardId-999999999999","ParentShards":[],"HashKeyRange":{{"StartingHashKey":"0","EndingHashKey":"1"}}}}]}}"#,
            sequence(PAGE)
        );
        writer.write_all(&event("SubscribeToShardEvent", &last)?)?;
        Ok(())
    }

    /// An answer, in two parts: what is made beforehand, and the rest.
    fn answer(&self, operation: &str, asked: &Asked) -> Result<(&str, String)> {
        let end = match operation {
            "DescribeStreamSummary" => format!(
                r#"{{"StreamDescriptionSummary":{{"StreamName":"{0}","StreamARN":"{1}","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":{LONG_AGO},"EnhancedMonitoring":[],"OpenShardCount":0}}}}"#,
                super::STREAM,
                arn()
            ),
            "ListShards" => {
                // All are closed, so that what ends the reading is their end.
                let shards = (0..self.shards).map(|shard| {
                    format!(
                        r#"{{"ShardId":"shardId-{shard:012}","HashKeyRange":{{"StartingHashKey":"0","EndingHashKey":"1"}},"SequenceNumberRange":{{"StartingSequenceNumber":"{}","EndingSequenceNumber":"{}"}}}}"#,
                        sequence(0),
                        sequence(PAGE)
                    )
                });
                format!(r#"{{"Shards":[{}]}}"#, shards.collect::<Vec<_>>().join(","))
            }
            "DescribeStreamConsumer" => format!(
                r#"{{"ConsumerDescription":{{"ConsumerName":"bench","ConsumerARN":"{0}/consumer/bench:1","StreamARN":"{0}","ConsumerStatus":"ACTIVE","ConsumerCreationTimestamp":{LONG_AGO}}}}}"#,
                arn()
            ),
            "GetShardIterator" => format!(r#"{{"ShardIterator":"{} 0"}}"#, asked.shard_id),
            "GetRecords" => {
                let (shard, page) = asked
                    .shard_iterator
                    .split_once(' ')
                    .context("an iterator")?;
                let next = page.parse::<u32>()? + 1;
                let rest = match next < self.pages {
                    true => {
                        format!(r#","NextShardIterator":"{shard} {next}","MillisBehindLatest":1}}"#)
                    }
                    false => r#","MillisBehindLatest":0}"#.to_owned(),
                };
                return Ok((&self.records, rest));
            }
            other => bail!("`{other}` isn't known"),
        };
        Ok(("", end))
    }
}

fn sequence(number: u32) -> String {
    format!(
        "{:056}",
        49_590_338_271_490_256_608_559_u128 * 1_000_000_000 + u128::from(number)
    )
}

fn arn() -> String {
    format!(
        "arn:aws:kinesis:us-east-1:000000000000:stream/{}",
        super::STREAM
    )
}

/// A page as events of 1,000 records.
fn pushed() -> Result<Vec<u8>> {
    let mut events = Vec::new();
    for first in (0..PAGE).step_by(1000) {
        let records = records(first..first + 1000)?;
        let text = format!(
            r#"{records},"ContinuationSequenceNumber":"{}","MillisBehindLatest":1}}"#,
            sequence(first + 1000)
        );
        events.extend(event("SubscribeToShardEvent", &text)?);
    }
    Ok(events)
}

/// A message of an event stream
/// ([encoding](https://smithy.io/2.0/aws/amazon-eventstream.html)).
fn event(kind: &str, payload: &str) -> Result<Vec<u8>> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":event-type", kind),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ] {
        headers.push(u8::try_from(name.len())?);
        headers.extend(name.as_bytes());
        // 7: a text.
        headers.push(7);
        headers.extend(u16::try_from(value.len())?.to_be_bytes());
        headers.extend(value.as_bytes());
    }
    // Two lengths and their checksum before, the checksum of all behind.
    let total = u32::try_from(16 + headers.len() + payload.len())?;
    let mut message = total.to_be_bytes().to_vec();
    message.extend(u32::try_from(headers.len())?.to_be_bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload.as_bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    Ok(message)
}

/// The beginning of a page that has these records, each another one.
fn records(numbers: Range<u32>) -> Result<String> {
    const WORDS: [&str; 16] = [
        "anchor", "breeze", "current", "delta", "estuary", "ferry", "gull", "harbour", "island",
        "jetty", "keel", "lagoon", "mooring", "narrows", "oar", "pier",
    ];
    let mut text = r#"{"Records":["#.to_owned();
    let first = numbers.start;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ u64::from(first);
    for number in numbers {
        let mut data = format!(r#"{{"number":{number},"text":""#);
        while data.len() < DATA - 2 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let word = WORDS.get(usize::try_from(random % 16)?).unwrap_or(&"");
            write!(data, "{word} {} ", random >> 44)?;
        }
        data.truncate(DATA - 2);
        data.push_str("\"}");
        let comma = if number == first { "" } else { "," };
        write!(
            text,
            r#"{comma}{{"SequenceNumber":"{}","ApproximateArrivalTimestamp":{LONG_AGO}.123,"PartitionKey":"user-{}","Data":"{}"}}"#,
            sequence(number),
            number % 1000,
            STANDARD.encode(&data)
        )?;
    }
    text.push(']');
    Ok(text)
}
