//! The stream of answers as they came: pages whole, also with the records that an incremental run
//! leaves out of the endpoint's own stream because it had them before.

use std::sync::{Arc, LazyLock};

use arrow_array::{BinaryArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidegate_core::{Error, Replay, Result, Rows, Scan, Stream};
use tidegate_http::Response;

/// The stream's name.
pub const NAME: &str = "raw";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
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

/// Its columns: `stream` (whose page it is), `url` (without secrets), `status`, `fetched_at` (UTC)
/// and `body`, the bytes as the server sent them, unpacked.
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// The stream itself. It has no key: a page that is fetched again is another row.
pub fn stream() -> Stream {
    Stream {
        name: NAME.into(),
        schema: schema(),
        key: Vec::new(),
        bounded: true,
        replay: Replay::Offset,
    }
}

/// The row of an answer that is a page of `stream`: the columns that the `raw` stream's scan asks
/// for.
///
/// Errors: `Data` where the body is larger than a value can be (2 GiB).
pub fn row(scan: &Scan, stream: &str, answer: &Response) -> Result<Rows> {
    if i32::try_from(answer.body.len()).is_err() {
        let message = "the server's answer is too large to be one value of `raw`";
        return Err(Error::data(message)
            .with("url", answer.shown_url())
            .hint("ask for smaller pages"));
    }
    let time = TimestampMicrosecondArray::from(vec![answer.fetched_at.timestamp_micros()]);
    let row = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from(vec![stream])),
            Arc::new(StringArray::from(vec![answer.shown_url()])),
            Arc::new(Int32Array::from(vec![i32::from(answer.status.as_u16())])),
            Arc::new(time.with_timezone("UTC")),
            Arc::new(BinaryArray::from(vec![&answer.body[..]])),
        ],
    )?;
    Ok(Rows::Batch(scan.project(row)?))
}
