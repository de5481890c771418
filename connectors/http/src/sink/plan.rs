//! What is sent of an input's rows.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_core::{Input, Result, SinkBatch};
use tidegate_formats::{RowEncoder, Rows};
use tidegate_http::Url;

use super::config::{Body, HttpSinkConfig};
use super::load::Record;
use super::template::{JsonTemplate, Part, Quoted, UrlTemplate, no_column};

/// The longest partition key of Kinesis, in characters (PutRecord).
const LONGEST_KEY: usize = 256;

/// How the rows of an input become records.
#[derive(Debug)]
pub(super) struct Plan {
    encoder: RowEncoder,
    /// The columns that are needed, where it isn't all of them.
    needed: Option<Vec<usize>>,
    url: UrlTemplate,
    /// The columns of its placeholders.
    url_columns: Vec<usize>,
    shape: Shape,
}

/// What a record holds. Columns are numbers among those that are needed.
#[derive(Debug)]
enum Shape {
    Nothing,
    Object,
    Template(Vec<Piece>),
    Kafka {
        key: Option<usize>,
    },
    /// One of many records.
    Kinesis {
        key: usize,
    },
    /// The only one of its request, for the stream of this name (as JSON).
    KinesisAlone {
        key: usize,
        stream: String,
    },
}

/// A part of a template.
#[derive(Debug)]
enum Piece {
    Text(String),
    Column(usize, Quoted),
}

/// Records, and the rows that have none, with the reason.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub(super) records: Vec<Record>,
    pub(super) refused: Vec<(usize, String)>,
}

impl Plan {
    /// Errors: `Config` for a column that isn't there, `Schema` for one that JSON can't hold.
    pub(super) fn new(config: &HttpSinkConfig, input: &Input) -> Result<Self> {
        let (url, body) = (config.address()?, config.body());
        let template = match (&config.template, body) {
            (Some(text), Body::Template) => Some(JsonTemplate::parse(text)?),
            _ => None,
        };
        let column = |key: &'static str, name: &str| {
            let found = input.schema.index_of(name);
            found.map_err(|_| no_column(key, name, &input.name))
        };
        let in_url: Result<Vec<_>> = url.columns().map(|name| column("url", name)).collect();
        let in_url = in_url?;
        let in_template = template.iter().flat_map(JsonTemplate::columns);
        let in_template: Result<Vec<_>> =
            in_template.map(|name| column("template", name)).collect();
        let in_template = in_template?;
        let whole = !matches!(body, Body::None | Body::Template);
        let needed = (!whole).then(|| {
            let mut needed = [&in_url[..], &in_template[..]].concat();
            needed.sort_unstable();
            needed.dedup();
            needed
        });
        let place = |column: usize| match &needed {
            None => column,
            Some(needed) => needed.partition_point(|one| *one < column),
        };
        let key = config.key.as_deref().map(|name| column("key", name));
        let key = key.transpose()?;
        let shape = match (body, key, template) {
            (Body::None, ..) => Shape::Nothing,
            (Body::Template, _, Some(template)) => {
                let pieces = template.parts.into_iter().map(|part| match part {
                    Part::Text(text) => Ok(Piece::Text(text)),
                    Part::Column(name, quoted) => {
                        Ok(Piece::Column(place(column("template", &name)?), quoted))
                    }
                });
                Shape::Template(pieces.collect::<Result<_>>()?)
            }
            (Body::KafkaRest, key, _) => Shape::Kafka { key },
            (Body::KinesisGateway, Some(key), _) => match config.rows() {
                1 => Shape::KinesisAlone {
                    key,
                    stream: json(config.stream.as_deref().unwrap_or_default()),
                },
                _ => Shape::Kinesis { key },
            },
            _ => Shape::Object,
        };
        let schema: SchemaRef = match &needed {
            None => Arc::clone(&input.schema),
            Some(needed) => Arc::new(input.schema.project(needed)?),
        };
        Ok(Self {
            encoder: RowEncoder::new(&schema)?,
            url_columns: in_url.into_iter().map(place).collect(),
            needed,
            url,
            shape,
        })
    }

    /// The records of a batch.
    pub(super) fn records(&self, batch: SinkBatch) -> Result<Planned> {
        let columns = match &self.needed {
            None => self.encoder.columns(&batch.rows)?,
            Some(needed) => self.encoder.columns(&batch.rows.project(needed)?)?,
        };
        let rows = self.encoder.rows(&columns)?;
        let count = batch.rows.num_rows();
        let batch = Arc::new(batch);
        let mut planned = Planned::default();
        let one = match self.url_columns.is_empty() {
            true => Some(Arc::new(self.url.base().clone())),
            false => None,
        };
        for row in 0..count {
            let url = match &one {
                Some(url) => Ok(Arc::clone(url)),
                None => self.address(&rows, row).map(Arc::new),
            };
            let record = url.and_then(|url| Ok((url, self.write(&rows, row)?)));
            match record {
                Ok((url, text)) => planned.records.push(Record {
                    url,
                    text,
                    batch: Arc::clone(&batch),
                    row,
                }),
                Err(why) => planned.refused.push((row, why)),
            }
        }
        Ok(planned)
    }

    fn address(&self, rows: &Rows<'_>, row: usize) -> Result<Url, String> {
        let values = self
            .url_columns
            .iter()
            .map(|column| text(rows, *column, row));
        self.url.fill(values)
    }

    fn write(&self, rows: &Rows<'_>, row: usize) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        match &self.shape {
            Shape::Nothing => {}
            Shape::Object => rows.object(row, &mut out),
            Shape::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Piece::Column(column, Quoted::No) => rows.json(*column, row, &mut out),
                        Piece::Column(column, Quoted::Yes) => {
                            let text = json(&text(rows, *column, row).unwrap_or_default());
                            // Without its own quotes.
                            out.extend_from_slice(&text.as_bytes()[1..text.len() - 1]);
                        }
                    }
                }
            }
            Shape::Kafka { key } => {
                out.push(b'{');
                if let Some(key) = key {
                    out.extend_from_slice(b"\"key\":");
                    rows.json(*key, row, &mut out);
                    out.push(b',');
                }
                out.extend_from_slice(b"\"value\":");
                rows.object(row, &mut out);
                out.push(b'}');
            }
            Shape::Kinesis { key } => {
                let key = partition_key(rows, *key, row)?;
                out.extend_from_slice(b"{\"data\":");
                rows.object(row, &mut out);
                out.extend_from_slice(format!(",\"partition-key\":{key}}}").as_bytes());
            }
            Shape::KinesisAlone { key, stream } => {
                let key = partition_key(rows, *key, row)?;
                out.extend_from_slice(format!("{{\"StreamName\":{stream},\"Data\":").as_bytes());
                rows.object(row, &mut out);
                out.extend_from_slice(format!(",\"PartitionKey\":{key}}}").as_bytes());
            }
        }
        Ok(out)
    }
}

/// A value as text; `None` for NULL.
fn text(rows: &Rows<'_>, column: usize, row: usize) -> Option<String> {
    let mut out = Vec::new();
    let there = rows.text(column, row, &mut out);
    there.then(|| String::from_utf8_lossy(&out).into_owned())
}

/// A text as JSON.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The partition key as JSON.
fn partition_key(rows: &Rows<'_>, column: usize, row: usize) -> Result<String, String> {
    match text(rows, column, row) {
        None => Err("its partition key is NULL".to_owned()),
        Some(key) if key.is_empty() => Err("its partition key is empty".to_owned()),
        Some(key) if key.chars().count() > LONGEST_KEY => Err(format!(
            "its partition key is longer than {LONGEST_KEY} characters"
        )),
        Some(key) => Ok(json(&key)),
    }
}
