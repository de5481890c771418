//! Reading of objects, tuned for the ranges that Parquet asks for, and counted.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::traffic::Traffic;

/// Ranges nearer than this are read as one: a request costs more than so many unneeded bytes.
const GAP: u64 = 1 << 20;
/// The most that one request asks for: one connection to S3 carries some 90 MB/s, several at once
/// carry more.
const PART: u64 = 8 << 20;
/// Requests at once for one call; several files are read at once beside it.
const AT_ONCE: usize = 8;

/// A store that only reads.
#[derive(Debug)]
pub(crate) struct ReadStore {
    inner: Arc<dyn ObjectStore>,
    traffic: Arc<Traffic>,
    /// Whether each request has a price in time, so that ranges are joined and split.
    remote: bool,
}

impl ReadStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, traffic: Arc<Traffic>, remote: bool) -> Self {
        Self {
            inner,
            traffic,
            remote,
        }
    }

    fn refused(&self) -> Error {
        Error::NotSupported {
            source: "a query only reads".into(),
        }
    }
}

impl fmt::Display for ReadStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for ReadStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        if let Some(GetRange::Bounded(range)) = &options.range {
            valid(range)?;
        }
        let result = self.inner.get_opts(location, options).await?;
        let bytes = result.range.end - result.range.start;
        self.traffic.read(if head { 0 } else { bytes });
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        ranges.iter().try_for_each(valid)?;
        if !self.remote {
            self.traffic
                .read(ranges.iter().map(|range| range.end - range.start).sum());
            return self.inner.get_ranges(location, ranges).await;
        }
        let spans = joined(ranges);
        let parts: Vec<_> = spans.iter().cloned().flat_map(split).collect();
        let read: Vec<Bytes> = stream::iter(parts)
            .map(|part| async move {
                self.traffic.read(part.end - part.start);
                self.inner.get_range(location, part).await
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut read = read.into_iter();
        let whole: Vec<Bytes> = spans.iter().map(|span| assemble(span, &mut read)).collect();
        ranges
            .iter()
            .map(|range| cut(range, &spans, &whole))
            .collect()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.traffic.listed();
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.traffic.listed();
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(self.refused())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(self.refused())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(std::future::ready(Err(self.refused()))).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(self.refused())
    }
}

/// A damaged footer points to where nothing is, and lengths wrap around.
fn valid(range: &Range<u64>) -> Result<()> {
    match range.start <= range.end {
        true => Ok(()),
        false => Err(Error::Generic {
            store: "lake",
            source: "the file says that it has bytes beyond its end: it is damaged".into(),
        }),
    }
}

/// The ranges, sorted, with those joined that are near each other.
fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| range.start);
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match spans.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => {
                last.end = last.end.max(range.end);
            }
            _ => spans.push(range.clone()),
        }
    }
    spans
}

/// A span in pieces of about the same size, none larger than a part.
fn split(span: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let length = span.end - span.start;
    let piece = length.div_ceil(length.div_ceil(PART).max(1)).max(1);
    let starts = std::iter::successors(Some(span.start), move |at| at.checked_add(piece));
    starts
        .take_while(move |at| *at < span.end)
        .map(move |at| at..span.end.min(at + piece))
}

/// The bytes of a span, of as many parts as it was split into.
fn assemble(span: &Range<u64>, parts: &mut impl Iterator<Item = Bytes>) -> Bytes {
    let mut parts = parts.by_ref().take(split(span.clone()).count());
    let first = parts.next().unwrap_or_default();
    let rest: Vec<Bytes> = parts.collect();
    if rest.is_empty() {
        return first;
    }
    let length = first.len() + rest.iter().map(Bytes::len).sum::<usize>();
    let mut whole = BytesMut::with_capacity(length);
    whole.extend_from_slice(&first);
    rest.iter().for_each(|part| whole.extend_from_slice(part));
    whole.freeze()
}

fn cut(range: &Range<u64>, spans: &[Range<u64>], whole: &[Bytes]) -> Result<Bytes> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let index = spans.partition_point(|span| span.end < range.end);
    let found = spans.get(index).zip(whole.get(index));
    let piece = found.and_then(|(span, bytes)| {
        let start = usize::try_from(range.start.checked_sub(span.start)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(span.start)?).ok()?;
        (end <= bytes.len()).then(|| bytes.slice(start..end))
    });
    piece.ok_or_else(|| Error::Generic {
        store: "lake",
        source: "a file is shorter than it was".into(),
    })
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_span_is_split_evenly_and_wholly() {
        let parts: Vec<_> = split(5..5 + 2 * PART + 1).collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0].start, 5);
        assert_eq!(parts[2].end, 5 + 2 * PART + 1);
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(parts.iter().all(|part| part.end - part.start <= PART));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn what_is_read_is_what_was_asked_for(
            asked in proptest::collection::vec((0_u64..30 << 20, 0_u64..12 << 20), 1..6)
        ) {
            let size = 42_usize << 20;
            let data: Vec<u8> = (0..size).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[1]).collect();
            let data = Bytes::from(data);
            let ranges: Vec<_> = asked.iter().map(|(start, length)| *start..start + length).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(async {
                let inner = Arc::new(InMemory::new());
                inner.put(&"x".into(), data.clone().into()).await.unwrap();
                let traffic = Arc::new(Traffic::default());
                let store = ReadStore::new(inner, traffic, true);
                store.get_ranges(&"x".into(), &ranges).await.unwrap()
            });
            for (range, bytes) in ranges.iter().zip(read) {
                let end = |at: u64| usize::try_from(at).unwrap();
                let range = end(range.start)..end(range.end);
                prop_assert_eq!(bytes, data.slice(range));
            }
        }
    }
}
