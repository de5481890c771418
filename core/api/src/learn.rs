use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_core::{Context, Error, KeyValue, Result, StreamName};
use tidegate_formats::{CsvOptions, Format, Inference, Position, SchemaSpec, Splitter, with_new};
use tidegate_http::HttpClient;

use crate::fetch::{Asks, Via, bound};
use crate::follow::Next;
use crate::hash::hash;
use crate::plan::asked;
use crate::step::Step;
use crate::{Access, Endpoint};

/// By which rules schemas are learnt. What other rules gave is learnt anew: records that fitted
/// then may not fit now.
const RULES: u32 = 1;

/// What is kept of a schema that was learnt.
#[derive(Debug, Serialize, Deserialize)]
struct Learnt {
    #[serde(default)]
    rules: u32,
    /// A hash of what was asked.
    question: u64,
    schema: SchemaSpec,
}

/// Learns an endpoint's schema from its first `pages` pages (which are asked for as a first run
/// would), and keeps it in the component's store: opened again, for a resumed run or the next one,
/// the same endpoint has the same columns, whatever records come first by then. Another URL, other
/// headers, parameters, body, place of the records or number of `pages` make another question, which
/// is learnt anew; so is one whose pipeline's state is gone. Where nothing is kept (`tidegate
/// check`), it is learnt each time.
///
/// Errors: `Schema` where the pages hold no record; those of fetching a page.
pub async fn learn(
    cx: &Context,
    client: &HttpClient,
    access: &dyn Access,
    endpoint: &Endpoint,
    pages: usize,
) -> Result<SchemaRef> {
    let key = key(&endpoint.name);
    let question = json!([asked(endpoint), pages]);
    let question = hash(question.to_string().as_bytes());
    let mut stored = cx.store.get(&key).await?;
    if let Some(schema) = stored.as_ref().and_then(|value| same(value, question)) {
        return schema.to_arrow();
    }
    let api = Via { client, access };
    let schema = SchemaSpec::from_arrow(&*from_pages(api, endpoint, pages).await?);
    let learnt = Learnt {
        rules: RULES,
        question,
        schema,
    };
    let value = stored_as(&learnt)?;
    if client.holds_hidden(&value["schema"].to_string()) {
        return Err(
            Error::data("a column's name holds a secret, and isn't stored")
                .with("stream", &endpoint.name)
                .with("url", tidegate_http::redact(&endpoint.url))
                .hint(
                    "the server gives back a secret that it was sent, as a key of a record: give a \
             `schema` without it, or tell the server's operator",
                ),
        );
    }
    while !cx
        .store
        .compare_and_set(&key, stored.as_ref(), &value)
        .await?
    {
        // Another process was faster: what it has learnt holds for both.
        stored = cx.store.get(&key).await?;
        if let Some(schema) = stored.as_ref().and_then(|value| same(value, question)) {
            return schema.to_arrow();
        }
    }
    learnt.schema.to_arrow()
}

fn key(stream: &StreamName) -> String {
    format!("schema:{stream}")
}

fn stored_as(learnt: &Learnt) -> Result<Value> {
    serde_json::to_value(learnt)
        .map_err(|error| Error::internal("a schema can't be stored").because(error))
}

/// Adds the columns that only `wider` has to what was learnt of a stream, but for those that echo a
/// secret.
pub(crate) async fn widen(
    store: &dyn KeyValue,
    client: &HttpClient,
    stream: &StreamName,
    wider: &Schema,
) -> Result<()> {
    let key = key(stream);
    let may_be_stored = |field: &&FieldRef| {
        let field = SchemaSpec::from_arrow(&Schema::new(vec![Arc::clone(field)]));
        serde_json::to_string(&field).is_ok_and(|text| !client.holds_hidden(&text))
    };
    let wider: Vec<_> = wider
        .fields()
        .iter()
        .filter(may_be_stored)
        .cloned()
        .collect();
    let wider = Schema::new(wider);
    while let Some(stored) = store.get(&key).await? {
        let mut learnt = Learnt::deserialize(&stored)
            .map_err(|error| Error::internal("a stored schema can't be read").because(error))?;
        let known = learnt.schema.to_arrow()?;
        let both = Schema::new(with_new(known.fields(), wider.fields()));
        learnt.schema = SchemaSpec::from_arrow(&both);
        let value = stored_as(&learnt)?;
        if store.compare_and_set(&key, Some(&stored), &value).await? {
            break;
        }
    }
    Ok(())
}

/// What was learnt before, if it was of the same question and by the same rules.
fn same(stored: &Value, question: u64) -> Option<SchemaSpec> {
    let learnt = Learnt::deserialize(stored).ok()?;
    let same = learnt.rules == RULES && learnt.question == question;
    same.then_some(learnt.schema)
}

async fn from_pages(api: Via<'_>, endpoint: &Endpoint, pages: usize) -> Result<SchemaRef> {
    let csv = CsvOptions::default();
    let mut inference = Inference::new(Format::Json, &csv)?;
    let mut step = Some(Step::first(&endpoint.pagination));
    let since = bound(endpoint, None);
    let mut seen = 0;
    let mut asks = Asks {
        since: since.as_ref(),
        ..Asks::default()
    };
    for _ in 0..pages {
        let Some(this) = step.take() else { break };
        let Some(fetched) = api.fetch(endpoint, &this, asks).await?.page() else {
            break;
        };
        asks.told = fetched.told.or(asks.told);
        seen += fetched.records.count;
        let mut splitter = Splitter::new(Format::Json, &csv, Position::start())?;
        splitter.push(fetched.records.json);
        splitter.finish();
        while let Some(chunk) = splitter.next()? {
            inference.push(&chunk)?;
        }
        if let Next::Page(next) = fetched.next {
            step = Some(next);
        }
    }
    if inference.rows() == 0 {
        let (what, hint) = match seen {
            0 => (
                "there is no record to learn a schema from",
                "give a `schema`, or check that `records` leads to the records",
            ),
            _ => (
                "the records have no columns: they are not objects",
                "check that `records` leads to an array of objects; with `raw = \"only\"` answers \
                 are read as they come",
            ),
        };
        return Err(Error::schema(what)
            .with("stream", &endpoint.name)
            .with("url", tidegate_http::redact(&endpoint.url))
            .hint(hint));
    }
    inference.finish()
}
