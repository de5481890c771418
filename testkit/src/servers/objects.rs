//! What tests do with buckets and tables beside the program that is tested: make, put, list, read.
//!
//! All of it waits for its answer and panics with what the server said if that isn't a good one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::aws::AwsServer;
use super::signed::{Answer, Signed};

/// An object in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A multipart upload that was begun, and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upload {
    /// The key of the object that it would become.
    pub key: String,
    /// Its id.
    pub id: String,
}

impl AwsServer {
    /// Makes a bucket and gives its name back. S3 wants three characters at least.
    pub fn bucket(&self, name: &str) -> String {
        self.s3("PUT", &format!("/{name}"), &[], &[]);
        name.to_owned()
    }

    /// Puts an object.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl AsRef<[u8]>) {
        self.s3("PUT", &format!("/{bucket}/{key}"), &[], bytes.as_ref());
    }

    /// An object's bytes.
    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.s3("GET", &format!("/{bucket}/{key}"), &[], &[]).body
    }

    /// Deletes an object, if it is there.
    pub fn delete(&self, bucket: &str, key: &str) {
        self.s3("DELETE", &format!("/{bucket}/{key}"), &[], &[]);
    }

    /// The objects whose keys begin with `prefix`, by their keys.
    pub fn objects(&self, bucket: &str, prefix: &str) -> Vec<Object> {
        let mut objects = Vec::new();
        let mut token = String::new();
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            if !token.is_empty() {
                query.insert(0, ("continuation-token", &token));
            }
            let page = self.s3("GET", &format!("/{bucket}"), &query, &[]).text();
            objects.extend(elements(&page, "Contents").into_iter().map(|object| {
                let size = text_of(object, "Size").and_then(|size| size.parse().ok());
                Object {
                    key: text_of(object, "Key").unwrap_or_default(),
                    size: size.unwrap_or_default(),
                }
            }));
            match text_of(&page, "NextContinuationToken") {
                Some(next) if !next.is_empty() => token = next,
                _ => break,
            }
        }
        objects.sort();
        objects
    }

    /// The uploads that are begun and neither completed nor aborted, by their keys.
    pub fn uploads(&self, bucket: &str) -> Vec<Upload> {
        let mut uploads = Vec::new();
        let (mut key, mut id) = (String::new(), String::new());
        loop {
            let mut query = Vec::new();
            if !key.is_empty() {
                query.push(("key-marker", key.as_str()));
                query.push(("upload-id-marker", id.as_str()));
            }
            query.push(("uploads", ""));
            let page = self.s3("GET", &format!("/{bucket}"), &query, &[]).text();
            uploads.extend(elements(&page, "Upload").into_iter().map(|upload| Upload {
                key: text_of(upload, "Key").unwrap_or_default(),
                id: text_of(upload, "UploadId").unwrap_or_default(),
            }));
            if text_of(&page, "IsTruncated").as_deref() != Some("true") {
                break;
            }
            key = text_of(&page, "NextKeyMarker").unwrap_or_default();
            id = text_of(&page, "NextUploadIdMarker").unwrap_or_default();
        }
        uploads.sort();
        uploads
    }

    /// Aborts an upload, as a bucket's rule does with old ones.
    pub fn abort(&self, bucket: &str, upload: &Upload) {
        let path = format!("/{bucket}/{}", upload.key);
        self.s3("DELETE", &path, &[("uploadId", &upload.id)], &[]);
    }

    /// Calls an operation of Glue: `glue("GetTable", json!({ … }))`.
    pub fn glue(&self, operation: &str, input: &Value) -> Value {
        let answer = self.try_glue(operation, input);
        self.good(&format!("glue {operation}"), &answer);
        parsed(&answer)
    }

    /// A table as Glue describes it; `None` if there is none.
    pub fn glue_table(&self, database: &str, table: &str) -> Option<Value> {
        let input = json!({ "DatabaseName": database, "Name": table });
        let answer = self.try_glue("GetTable", &input);
        if answer.status == 400 && answer.text().contains("EntityNotFoundException") {
            return None;
        }
        self.good("glue GetTable", &answer);
        Some(parsed(&answer)["Table"].take())
    }

    /// The partitions of a table in Glue: their values in the order of the keys, and their
    /// locations.
    pub fn glue_partitions(&self, database: &str, table: &str) -> BTreeMap<Vec<String>, String> {
        let mut partitions = BTreeMap::new();
        let mut input = json!({ "DatabaseName": database, "TableName": table });
        loop {
            let mut page = self.glue("GetPartitions", &input);
            for partition in page["Partitions"].as_array().into_iter().flatten() {
                let values = partition["Values"].as_array().into_iter().flatten();
                let values = values.map(|value| value.as_str().unwrap_or_default().to_owned());
                let location = partition["StorageDescriptor"]["Location"].as_str();
                partitions.insert(values.collect(), location.unwrap_or_default().to_owned());
            }
            match page["NextToken"].take() {
                Value::Null => return partitions,
                token => input["NextToken"] = token,
            }
        }
    }

    /// Makes a Kinesis stream, and waits until it is there.
    pub fn stream(&self, name: &str, shards: u32) {
        let ask = |operation: &str, input: Value| {
            let target = format!("Kinesis_20131202.{operation}");
            let answer = self.json("kinesis", &target, &input);
            self.good(&target, &answer);
            answer
        };
        ask(
            "CreateStream",
            json!({ "StreamName": name, "ShardCount": shards }),
        );
        let about = json!({ "StreamName": name });
        while !ask("DescribeStreamSummary", about.clone())
            .text()
            .contains("\"ACTIVE\"")
        {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn try_glue(&self, operation: &str, input: &Value) -> Answer {
        let target = format!("AWSGlue.{operation}");
        self.json("glue", &target, input)
    }

    fn json(&self, service: &'static str, target: &str, input: &Value) -> Answer {
        let body = input.to_string();
        self.send(&Signed {
            service,
            method: "POST",
            path: "/",
            query: &[],
            headers: &[
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", target),
            ],
            body: body.as_bytes(),
        })
    }

    fn s3(
        &self,
        method: &'static str,
        path: &str,
        query: &[(&'static str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = self.send(&Signed {
            service: "s3",
            method,
            path,
            query,
            headers: &[],
            body,
        });
        self.good(&format!("{method} {path} {query:?}"), &answer);
        answer
    }

    fn send(&self, request: &Signed<'_>) -> Answer {
        let url = self.url();
        let host = url.strip_prefix("http://").unwrap_or(&url);
        request
            .send(host)
            .unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    #[track_caller]
    fn good(&self, what: &str, answer: &Answer) {
        let status = answer.status;
        assert!(
            (200..300).contains(&status),
            "{what}: {status} {}",
            answer.text()
        );
    }
}

fn parsed(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("{error} in {}", answer.text()))
}

/// What stands between `<name>` and `</name>`, each time. Elements of a name don't nest here.
fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = xml.split(&open).skip(1);
    parts
        .filter_map(|part| part.split_once(&close).map(|(inner, _)| inner))
        .collect()
}

/// The text of the first element with this name.
fn text_of(xml: &str, name: &str) -> Option<String> {
    let text = *elements(xml, name).first()?;
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let (entity, after) = after.split_once(';')?;
        plain.push(match entity {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            number => char::from_u32(code_point(number)?)?,
        });
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

/// `#34` or `#x22`.
fn code_point(entity: &str) -> Option<u32> {
    let number = entity.strip_prefix('#')?;
    match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_out_of_xml() {
        let xml = "<L><C><Key>a&amp;b&#34;&#x41;</Key></C><C><Key>d=1/e</Key></C></L>";
        let keys: Vec<_> = elements(xml, "C")
            .into_iter()
            .filter_map(|object| text_of(object, "Key"))
            .collect();
        assert_eq!(keys, ["a&b\"A", "d=1/e"]);
        assert_eq!(text_of(xml, "Size"), None);
    }
}
