//! Records to requests, and again what failed.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use tidegate_core::{Error, Metrics, Result, async_trait};
use tokio::time::sleep;

use super::pack::{Packed, Sharing, pack};
use super::records::{Limits, Record};
use super::shards::{ShardMap, Shards};
use crate::api::{Failed, pause};

/// Where records are put.
#[async_trait]
pub(super) trait Target: Debug + Send + Sync {
    /// How much a request takes.
    fn limits(&self) -> Limits;

    /// Puts records; gives for each, in their order, its shard or why it wasn't taken.
    async fn put(&self, records: &[&Record]) -> Result<Vec<Answer>, Failed>;
}

/// The shard that a record came to, if there are shards, or why it wasn't taken.
pub(super) type Answer = Result<Option<String>, Refused>;

/// How records are put.
#[derive(Debug)]
pub(super) struct Way {
    /// A record is sent only when all before it with its key are taken, because neither several
    /// requests nor the records of one have an order.
    pub(super) ordered: bool,
    /// `None`: each row is a record.
    pub(super) aggregation: Option<Aggregation>,
}

/// How rows are put together to records.
#[derive(Debug)]
pub(super) struct Aggregation {
    /// The largest record with several rows.
    pub(super) largest: usize,
    /// `None` for keys that are random.
    pub(super) shards: Option<Shards>,
}

/// Why a record wasn't taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: String,
    pub(super) message: String,
}

/// A request of which nothing is taken is retried so often, unless for being too fast.
const TRIES: u32 = 8;

/// After so many refusals for too many records it is worth a warning.
const MANY: u32 = 20;

/// Puts all of them.
pub(super) async fn put_all(
    target: &dyn Target,
    records: Vec<Record>,
    way: &Way,
    metrics: &Metrics,
) -> Result<()> {
    let limits = target.limits();
    let mut waiting = VecDeque::from(records);
    let (mut failures, mut throttled) = (0, 0);
    while !waiting.is_empty() {
        let (request, map) = next(&mut waiting, limits, way).await?;
        let sent: Vec<_> = request.iter().map(Packed::record).collect();
        metrics.requests(1);
        let error = match target.put(&sent).await {
            Ok(results) => {
                if results.len() != request.len() {
                    return Err(Error::internal(format!(
                        "the service answered {} results for {} records",
                        results.len(),
                        request.len()
                    )));
                }
                let (mut bytes, mut taken) = (0, 0);
                let (mut left, mut refused, mut placed) = (Vec::new(), None, Vec::new());
                for (packed, result) in request.into_iter().zip(results) {
                    match result {
                        Ok(shard) => {
                            bytes += packed.record().size();
                            taken += 1;
                            placed.push((packed, shard));
                        }
                        Err(why) => {
                            left.extend(packed.into_rows());
                            refused = Some(why);
                        }
                    }
                }
                metrics.bytes(bytes.try_into().unwrap_or(0));
                if taken > 0 {
                    (failures, throttled) = (0, 0);
                }
                left.extend(astray(placed, way, map.as_ref()).await?);
                again(&mut waiting, left);
                match refused {
                    None => continue,
                    Some(refused) => refused.into_failed(),
                }
            }
            Err(failed) => {
                let rows = request.into_iter().flat_map(Packed::into_rows);
                again(&mut waiting, rows.collect());
                failed
            }
        };
        match error {
            Failed::Throttled(error) => {
                throttled += 1;
                if throttled % MANY == 0 {
                    tracing::warn!(tries = throttled, %error, "nothing can be put: the stream takes no more");
                }
            }
            Failed::Passing(error) => {
                failures += 1;
                if failures >= TRIES {
                    return Err(error);
                }
            }
            other => return Err(other.into_error()),
        }
        let pause = pause(failures.max(throttled));
        metrics.retries(1);
        metrics.waited_ms(pause.as_millis().try_into().unwrap_or(0));
        sleep(pause).await;
    }
    Ok(())
}

/// What is put with the next request, and the shards as they were known for that.
async fn next(
    waiting: &mut VecDeque<Record>,
    limits: Limits,
    way: &Way,
) -> Result<(Vec<Packed>, Option<Arc<ShardMap>>)> {
    let ordered = way.ordered;
    let Some(aggregation) = &way.aggregation else {
        let records = match ordered {
            true => first_of_each_key(waiting, limits),
            false => first(waiting, limits),
        };
        return Ok((records.into_iter().map(Packed::Row).collect(), None));
    };
    let map = match &aggregation.shards {
        None => None,
        Some(shards) => Some(shards.known().await),
    };
    let sharing = map.clone().map_or(Sharing::All, Sharing::ByShard);
    let (largest, mut rows) = (aggregation.largest, std::mem::take(waiting));
    // Beside the tasks that wait for others.
    let packed = tokio::task::spawn_blocking(move || {
        let packed = pack(&mut rows, limits, largest, &sharing, ordered);
        (packed, rows)
    });
    let packed = packed.await;
    let (packed, rest) =
        packed.map_err(|error| Error::internal("aggregating rows failed").because(error))?;
    *waiting = rest;
    Ok((packed, map))
}

/// The rows of aggregated records that have come to a shard to which not all their keys belong,
/// because shards were split since they were listed. They are put again: some consumers leave such a
/// record out as a whole, and for others a key's rows would be out of order.
async fn astray(
    placed: Vec<(Packed, Option<String>)>,
    way: &Way,
    map: Option<&Arc<ShardMap>>,
) -> Result<Vec<Record>> {
    let shards = way.aggregation.as_ref().and_then(|way| way.shards.as_ref());
    let (Some(shards), Some(map)) = (shards, map) else {
        return Ok(Vec::new());
    };
    let belongs = |(packed, shard): &(Packed, Option<String>), map: &ShardMap| {
        packed.belongs_to(shard.as_deref(), map)
    };
    let mut doubtful = placed;
    doubtful.retain(|(packed, shard)| !packed.came_to(shard.as_deref(), map));
    doubtful.retain(|one| !belongs(one, map));
    if doubtful.is_empty() {
        return Ok(Vec::new());
    }
    let now = shards.renewed(map).await?;
    doubtful.retain(|one| !belongs(one, &now));
    let rows = doubtful.into_iter().flat_map(|(one, _)| one.into_rows());
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        tracing::info!(
            rows = rows.len(),
            "the stream's shards have changed: rows that came to others than their keys' are put again"
        );
    }
    Ok(rows)
}

impl Refused {
    /// ([PutRecords](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsResultEntry.html):
    /// `ProvisionedThroughputExceededException` or `InternalFailure`; Firehose says
    /// `ServiceUnavailableException` where its quota is used up.)
    fn into_failed(self) -> Failed {
        let said = format!("{}: {}", self.code, self.message);
        match self.code.as_str() {
            "ProvisionedThroughputExceededException" | "ServiceUnavailableException" => {
                Failed::Throttled(
                    Error::rate_limited("can't put records: the stream takes no more now", None)
                        .because(said),
                )
            }
            _ => Failed::Passing(
                Error::transient("can't put records: the service failed").because(said),
            ),
        }
    }
}

/// Puts records back that have to be sent again, before the others.
fn again(waiting: &mut VecDeque<Record>, left: Vec<Record>) {
    for record in left.into_iter().rev() {
        waiting.push_front(record);
    }
}

/// As many of the first records as a request takes.
fn first(waiting: &mut VecDeque<Record>, limits: Limits) -> Vec<Record> {
    let (mut count, mut bytes) = (0, 0);
    for record in waiting.iter().take(limits.records) {
        bytes += record.size();
        if count > 0 && bytes > limits.bytes {
            break;
        }
        count += 1;
    }
    waiting.drain(..count).collect()
}

/// The first record of each key, as many as a request takes.
fn first_of_each_key(waiting: &mut VecDeque<Record>, limits: Limits) -> Vec<Record> {
    let (mut chosen, mut bytes) = (Vec::new(), 0);
    let mut keys = HashSet::new();
    for (at, record) in waiting.iter().enumerate() {
        // Of a key that has no room a later record mustn't go either.
        if !keys.insert(record.key.as_deref()) {
            continue;
        }
        bytes += record.size();
        if !chosen.is_empty() && (bytes > limits.bytes || chosen.len() == limits.records) {
            break;
        }
        chosen.push(at);
    }
    let mut chosen = chosen.into_iter().peekable();
    let (mut request, mut rest) = (Vec::new(), VecDeque::with_capacity(waiting.len()));
    for (at, record) in std::mem::take(waiting).into_iter().enumerate() {
        match chosen.next_if_eq(&at) {
            Some(_) => request.push(record),
            None => rest.push_back(record),
        }
    }
    *waiting = rest;
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(of: &[(&str, usize)]) -> VecDeque<Record> {
        let of = of.iter().map(|(key, bytes)| Record {
            key: Some((*key).to_owned()),
            data: vec![0; *bytes],
        });
        of.collect()
    }

    fn shown(records: impl IntoIterator<Item = Record>) -> Vec<(String, usize)> {
        let records = records.into_iter();
        records
            .map(|record| (record.key.unwrap_or_default(), record.data.len()))
            .collect()
    }

    const LIMITS: Limits = Limits {
        records: 3,
        bytes: 10,
    };

    fn some(of: &[(&str, usize)]) -> Vec<(String, usize)> {
        shown(records(of))
    }

    #[test]
    fn a_request_is_filled_and_not_over_filled() {
        let mut waiting = records(&[("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 5), ("b", 50)]);
        let mut next = || shown(first(&mut waiting, LIMITS));
        assert_eq!(next(), some(&[("a", 1), ("a", 2), ("a", 3)]));
        assert_eq!(next(), some(&[("a", 4)]));
        assert_eq!(next(), some(&[("b", 5)]));
        assert_eq!(next(), some(&[("b", 50)]));
        assert_eq!(next(), []);
    }

    #[test]
    fn in_order_a_request_has_one_record_of_a_key() {
        let all = [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("d", 1), ("b", 2)];
        let mut waiting = records(&all);
        let mut next = || shown(first_of_each_key(&mut waiting, LIMITS));
        assert_eq!(next(), some(&[("a", 1), ("b", 1), ("c", 1)]));
        assert_eq!(next(), some(&[("a", 2), ("d", 1), ("b", 2)]));
        assert_eq!(next(), []);
        let mut waiting = records(&[("a", 8), ("b", 5), ("b", 1), ("c", 1)]);
        let mut next = || shown(first_of_each_key(&mut waiting, LIMITS));
        assert_eq!(next(), some(&[("a", 8)]));
        assert_eq!(next(), some(&[("b", 5), ("c", 1)]));
        assert_eq!(next(), some(&[("b", 1)]));
    }
}
