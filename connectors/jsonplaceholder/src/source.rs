use std::sync::{Arc, LazyLock};

use arrow_array::{BinaryArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream;
use tidegate_core::{
    Ask, Decode, Decoded, Event, EventStream, Next, Offset, Plan, PlanState, Result, Rows, Scan,
    Source, Split, SplitData, Stream, async_trait,
};
use tidegate_formats::{CsvOptions, Decoder, Format};
use tidegate_http::Response;

use crate::JsonPlaceholderConfig;
use crate::client::{Client, Page};
use crate::resource::Resource;

/// The stream of the answers' bytes.
const RAW: &str = "raw";

static RAW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let column = |name, data_type| Field::new(name, data_type, false);
    Arc::new(Schema::new(vec![
        column("stream", DataType::Utf8),
        column("url", DataType::Utf8),
        column("status", DataType::Int32),
        column("fetched_at", utc),
        column("body", DataType::Binary),
    ]))
});

/// A server whose resources are streams and whose pages are splits.
#[derive(Debug)]
pub(crate) struct JsonPlaceholderSource {
    client: Client,
    resources: Vec<Resource>,
    page_size: u32,
    raw: bool,
}

impl JsonPlaceholderSource {
    pub(crate) fn new(client: Client, config: &JsonPlaceholderConfig) -> Self {
        Self {
            client,
            resources: config.streams.clone(),
            page_size: config.page_size.get(),
            raw: config.raw,
        }
    }

    /// The pages of a resource as long as it is now: a split each.
    async fn pages(&self, resource: Resource) -> Result<Vec<Split>> {
        let (paging, rows) = self.client.probe(resource).await?;
        let size = u64::from(self.page_size);
        let split = |number| {
            let page = Page {
                resource,
                paging,
                number,
                size: self.page_size,
            };
            let id = format!("{}:page={number},size={size}", resource.name());
            let estimate = size.min(rows - (number - 1) * size);
            Ok(Split::new(id, SplitData::encode(&page)?).estimate(Some(estimate), None))
        };
        (1..=rows.div_ceil(size)).map(split).collect()
    }
}

#[async_trait]
impl Source for JsonPlaceholderSource {
    fn streams(&self) -> Vec<Stream> {
        let stream = |name: &str, schema, key: &[&str]| Stream {
            name: name.into(),
            schema,
            key: key.iter().map(ToString::to_string).collect(),
            bounded: true,
        };
        let typed = self.resources.iter();
        let typed = typed.map(|resource| stream(resource.name(), resource.schema(), &["id"]));
        let raw = self.raw.then(|| stream(RAW, RAW_SCHEMA.clone(), &[]));
        typed.chain(raw).collect()
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let wanted = |name: &str| ask.scans.iter().any(|scan| scan.stream.as_str() == name);
        let resources = self.resources.iter();
        let needed = resources.filter(|resource| wanted(resource.name()) || wanted(RAW));
        let new = match ask.first {
            true => try_join_all(needed.map(|resource| self.pages(*resource))).await?,
            false => Vec::new(),
        };
        Ok(Plan {
            new: new.concat(),
            state: PlanState::encode(&())?,
            next: Next::Complete,
        })
    }

    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        // The only position is the page's end.
        if resume.is_some() {
            return Ok(stream::empty().boxed());
        }
        let page: Page = split.data.decode()?;
        let (answer, rows) = self.client.fetch(&page).await?;
        let mut events = Vec::new();
        for scan in scans {
            let rows = match scan.stream.as_str() {
                RAW => Rows::Batch(scan.project(raw_row(page.resource, &answer)?)?),
                name if name == page.resource.name() => {
                    let schema = page.resource.schema();
                    let csv = CsvOptions::default();
                    Rows::Encoded(Box::new(Body {
                        rows: rows.clone(),
                        decoder: Decoder::new(Format::Json, &csv, schema, scan)?,
                        origin: answer.shown_url().into(),
                    }))
                }
                _ => continue,
            };
            events.push((scan.stream.clone(), rows));
        }
        let end = Offset::encode(&"end")?;
        let last = events.len().saturating_sub(1);
        let events = events.into_iter().enumerate();
        let events = events.map(move |(i, (stream, rows))| {
            Ok(Event::Rows {
                stream,
                rows,
                rejected: None,
                resume: (i == last).then(|| end.clone()),
            })
        });
        Ok(stream::iter(events).boxed())
    }
}

/// A page's rows, still JSON.
struct Body {
    rows: Bytes,
    decoder: Decoder,
    origin: Arc<str>,
}

impl Decode for Body {
    fn size(&self) -> usize {
        self.rows.len()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        self.decoder.decode_all(self.rows, &self.origin)
    }
}

fn raw_row(resource: Resource, answer: &Response) -> Result<RecordBatch> {
    let time = TimestampMicrosecondArray::from(vec![answer.fetched_at.timestamp_micros()]);
    Ok(RecordBatch::try_new(
        RAW_SCHEMA.clone(),
        vec![
            Arc::new(StringArray::from(vec![resource.name()])),
            Arc::new(StringArray::from(vec![answer.shown_url()])),
            Arc::new(Int32Array::from(vec![i32::from(answer.status.as_u16())])),
            Arc::new(time.with_timezone("UTC")),
            Arc::new(BinaryArray::from(vec![&answer.body[..]])),
        ],
    )?)
}
