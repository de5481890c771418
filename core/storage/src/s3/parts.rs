//! How an upload is cut into parts, and how much of it may be on its way.

use std::sync::{Arc, LazyLock};

use tidegate_core::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// S3 takes parts of 5 MiB and more (the last may be smaller), at most 10,000 of them, at most
/// 5 GiB each, 5 TiB in all.
const FIRST: usize = 8 << 20;
const MOST: usize = 10_000;
/// After so many parts they are twice as large: 8 GB of 8 MiB, 16 GB of 16 MiB, and so on.
const GROW_EVERY: usize = 1_000;

/// The bytes of the part after `done` parts; `None` if there can't be another one.
pub(super) fn size(done: usize) -> Option<usize> {
    (done < MOST).then(|| FIRST << (done / GROW_EVERY))
}

/// How many parts of one upload are on their way at once: enough to keep a line of 1 Gbit/s busy,
/// because a single connection to S3 moves some 50 to 90 MB/s.
pub(super) const AT_ONCE: usize = 4;

/// What all uploads of the process may have on their way together, in KiB.
const TOGETHER: u32 = 256 << 10;

static ROOM: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(TOGETHER as usize)));

/// Waits until `bytes` more may be sent; a part larger than all the room waits for all of it.
pub(super) async fn room(bytes: usize) -> Result<OwnedSemaphorePermit> {
    let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(TOGETHER);
    let room = Arc::clone(&ROOM);
    room.acquire_many_owned(kib.min(TOGETHER))
        .await
        .map_err(|error| Error::internal("the room for uploads was closed").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_the_largest_object() {
        let sizes: Vec<u64> = (0..).map_while(size).map(|size| size as u64).collect();
        assert_eq!(sizes.len(), MOST);
        assert!(sizes.iter().all(|size| (5 << 20..=5 << 30).contains(size)));
        assert!(sizes.iter().sum::<u64>() >= 5 << 40);
    }
}
