//! Records to requests, and again what failed.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::fmt::Debug;

use tidegate_core::{Error, Metrics, Result, async_trait};
use tokio::time::sleep;

use super::records::Record;
use crate::api::{Failed, pause};

/// Where records are put.
#[async_trait]
pub(super) trait Target: Debug + Send + Sync {
    /// How much a request takes.
    fn limits(&self) -> Limits;

    /// Puts records; gives for each, in their order, why it wasn't taken.
    async fn put(&self, records: &[Record]) -> Result<Vec<Option<Refused>>, Failed>;
}

/// How much a request takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) records: usize,
    /// Keys included. A record that is larger by itself goes alone.
    pub(super) bytes: usize,
}

/// Why a record wasn't taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: String,
    pub(super) message: String,
}

/// A request of which nothing is taken is made again so often, unless for being too fast.
const TRIES: u32 = 8;

/// After so many refusals for too many records it is worth a warning.
const MANY: u32 = 20;

/// Puts all of them. `ordered`: a record is sent only when all before it with its key are taken,
/// because neither several requests nor the records of one have an order.
pub(super) async fn put_all(
    target: &dyn Target,
    records: Vec<Record>,
    ordered: bool,
    metrics: &Metrics,
) -> Result<()> {
    let limits = target.limits();
    let mut waiting = VecDeque::from(records);
    let (mut failures, mut throttled) = (0, 0);
    while !waiting.is_empty() {
        let request = match ordered {
            true => first_of_each_key(&mut waiting, limits),
            false => first(&mut waiting, limits),
        };
        metrics.requests(1);
        let error = match target.put(&request).await {
            Ok(results) => {
                if results.len() != request.len() {
                    return Err(Error::internal(format!(
                        "the service answered {} results for {} records",
                        results.len(),
                        request.len()
                    )));
                }
                let sent = request.len();
                let mut bytes = 0;
                let (mut left, mut refused) = (Vec::new(), None);
                for (record, result) in request.into_iter().zip(results) {
                    match result {
                        None => bytes += record.size(),
                        Some(why) => {
                            left.push(record);
                            refused = Some(why);
                        }
                    }
                }
                metrics.bytes(bytes.try_into().unwrap_or(0));
                if left.len() < sent {
                    (failures, throttled) = (0, 0);
                }
                again(&mut waiting, left);
                match refused {
                    None => continue,
                    Some(refused) => refused.into_failed(),
                }
            }
            Err(failed) => {
                again(&mut waiting, request);
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
