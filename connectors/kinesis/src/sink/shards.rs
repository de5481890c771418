//! Which shard a partition key belongs to.

use std::sync::Arc;

use aws_sdk_kinesis::types::Shard;
use md5::{Digest, Md5};
use tidegate_core::Result;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::api::{Api, pause};

/// The number by which Kinesis finds a key's shard
/// ([keys](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html)).
pub(super) fn hash(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

/// The open shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ShardMap(Vec<Range>);

/// The hashes of a shard, in their order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    first: u128,
    last: u128,
    shard: String,
}

impl ShardMap {
    pub(super) fn of(listed: &[Shard]) -> Self {
        let open = listed.iter().filter_map(|shard| {
            let numbers = shard.sequence_number_range.as_ref();
            if numbers.is_some_and(|numbers| numbers.ending_sequence_number.is_some()) {
                return None;
            }
            let range = shard.hash_key_range.as_ref()?;
            Some(Range {
                first: range.starting_hash_key.parse().ok()?,
                last: range.ending_hash_key.parse().ok()?,
                shard: shard.shard_id.clone(),
            })
        });
        let mut open: Vec<_> = open.collect();
        open.sort_unstable();
        Self(open)
    }

    /// One shard for all keys.
    #[cfg(test)]
    pub(super) fn whole() -> Self {
        Self(vec![Range {
            first: 0,
            last: u128::MAX,
            shard: "whole".to_owned(),
        }])
    }

    /// The index of the shard that a key with this hash belongs to, if it is known.
    pub(super) fn find(&self, hash: u128) -> Option<usize> {
        let after = self.0.partition_point(|range| range.first <= hash);
        let at = after.checked_sub(1)?;
        (hash <= self.0.get(at)?.last).then_some(at)
    }

    /// The index of a shard, if it is there and open.
    pub(super) fn index(&self, shard: &str) -> Option<usize> {
        self.0.iter().position(|range| range.shard == shard)
    }
}

/// The shards as far as they are known, which all writers share.
#[derive(Debug)]
pub(super) struct Shards {
    api: Api,
    map: Mutex<Arc<ShardMap>>,
}

/// They are listed so often when records come to other shards than the ones that are listed.
const TRIES: u32 = 5;

impl Shards {
    /// Lists them.
    pub(super) async fn list(api: Api) -> Result<Self> {
        let map = ShardMap::of(&api.shards().await?);
        Ok(Self {
            api,
            map: Mutex::new(Arc::new(map)),
        })
    }

    pub(super) async fn known(&self) -> Arc<ShardMap> {
        Arc::clone(&*self.map.lock().await)
    }

    /// Lists them again, unless that was done since this map was given. Where the list stays as it
    /// was, it says nothing of where records come to (an on-demand stream may be set to leave keys
    /// aside), and from then on no shard is known.
    pub(super) async fn renewed(&self, since: &Arc<ShardMap>) -> Result<Arc<ShardMap>> {
        let mut map = self.map.lock().await;
        if !Arc::ptr_eq(&map, since) {
            return Ok(Arc::clone(&map));
        }
        for tries in 1..=TRIES {
            let listed = ShardMap::of(&self.api.shards().await?);
            if listed != **map {
                *map = Arc::new(listed);
                return Ok(Arc::clone(&map));
            }
            if tries < TRIES {
                sleep(pause(tries)).await;
            }
        }
        tracing::warn!(
            stream = self.api.stream(),
            "records don't come to the shards of their keys: only rows of one key are aggregated from now on"
        );
        *map = Arc::default();
        Ok(Arc::clone(&map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use aws_sdk_kinesis::types::{HashKeyRange, SequenceNumberRange};

    use super::*;

    fn shard(id: &str, first: u128, last: u128, closed: bool) -> Shard {
        let range = HashKeyRange::builder()
            .starting_hash_key(first.to_string())
            .ending_hash_key(last.to_string());
        let numbers = SequenceNumberRange::builder()
            .starting_sequence_number("1")
            .set_ending_sequence_number(closed.then(|| "2".to_owned()));
        Shard::builder()
            .shard_id(id)
            .hash_key_range(range.build().unwrap())
            .sequence_number_range(numbers.build().unwrap())
            .build()
            .unwrap()
    }

    #[test]
    fn keys_belong_to_the_open_shards() {
        let map = ShardMap::of(&[
            shard("whole", 0, u128::MAX, true),
            shard("high", 500, u128::MAX, false),
            shard("low", 0, 99, false),
        ]);
        assert_eq!(map.find(0), map.index("low"));
        assert_eq!(map.find(99), map.index("low"));
        assert_eq!(map.find(100), None);
        assert_eq!(map.find(499), None);
        assert_eq!(map.find(500), map.index("high"));
        assert_eq!(map.find(u128::MAX), map.index("high"));
        assert_eq!(map.index("whole"), None);
        assert_ne!(map.index("low"), map.index("high"));
        assert_eq!(ShardMap::default().find(0), None);
    }

    #[test]
    fn a_hash_is_the_md5_as_a_number() {
        assert_eq!(hash(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
    }
}
