//! Keys that were seen, the oldest of which are forgotten.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ahash::RandomState;
use hashbrown::HashTable;

/// How many bytes of keys lie in one piece. Memory is given back by the piece.
const BLOCK: usize = 64 << 10;

/// What a place in the table takes: the number, and a byte of the table's own.
const PLACE: u64 = 5;

/// What is forgotten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// After which time.
    pub(super) window: Option<Duration>,
    /// After how many other keys; no more than [`Limits::most_keys`].
    pub(super) keys: u64,
    /// How many bytes keys and table may take together.
    pub(super) memory: u64,
}

impl Limits {
    /// The most keys that can be held in so much memory, however short they are.
    ///
    /// The table takes up to half of it. It has a power of two of places and is rebuilt without
    /// becoming larger only while it is filled to less than 7/16, half of what it takes.
    pub(super) fn most_keys(memory: u64) -> u64 {
        let places = memory / 2 / PLACE;
        let places = match places {
            0..16 => 16,
            // Numbers in the table have 32 bits.
            _ => 1 << places.ilog2().min(31),
        };
        places / 16 * 7 - 1
    }
}

/// The keys, each with a number by which it is in the table. Numbers are given in the order in which
/// keys come, so the oldest has the lowest.
#[derive(Debug)]
pub(super) struct Seen {
    limits: Limits,
    hasher: RandomState,
    /// The lower bits of the keys' numbers, by the keys' hashes.
    table: HashTable<u32>,
    blocks: VecDeque<Block>,
    /// The number of the oldest key, and that of the next to come.
    oldest: u64,
    next: u64,
    /// When keys from this number on came, if that matters.
    times: VecDeque<(u64, Instant)>,
    /// What the blocks take.
    bytes: usize,
    /// Whether keys were forgotten because there was no memory.
    short: bool,
}

/// Keys that follow each other.
#[derive(Debug)]
struct Block {
    /// The number of the first one.
    first: u64,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Block {
    fn key(&self, number: u64) -> &[u8] {
        let at = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        let start = match at {
            0 => 0,
            _ => self.ends[at - 1] as usize,
        };
        &self.bytes[start..self.ends[at] as usize]
    }

    /// The number that comes after its last key.
    fn end(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    /// What it takes; its ends as much as they may have room for.
    fn memory(&self) -> usize {
        self.bytes.capacity() + 8 * self.ends.len()
    }
}

fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}

/// The number with these lower bits that is `oldest` or comes after it.
fn whole(oldest: u64, bits: u32) -> u64 {
    oldest + u64::from(bits.wrapping_sub(low(oldest)))
}

/// The key of a number that is held.
fn key(blocks: &VecDeque<Block>, number: u64) -> &[u8] {
    let after = blocks.partition_point(|block| block.first <= number);
    blocks[after - 1].key(number)
}

impl Seen {
    pub(super) fn new(limits: Limits, hasher: RandomState) -> Self {
        Self {
            limits,
            hasher,
            table: HashTable::new(),
            blocks: VecDeque::new(),
            oldest: 0,
            next: 0,
            times: VecDeque::new(),
            bytes: 0,
            short: false,
        }
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> u64 {
        self.next - self.oldest
    }

    /// Whether keys were forgotten, or not even taken, because there was no memory.
    pub(super) fn was_short(&self) -> bool {
        self.short
    }

    /// What keys and table take, in bytes.
    pub(super) fn memory(&self) -> usize {
        let times = self.times.capacity() * size_of::<(u64, Instant)>();
        self.bytes + self.table.allocation_size() + times
    }

    /// Forgets what is out of the window by now. What is inserted next comes now.
    pub(super) fn tick(&mut self, now: Instant) {
        let Some(window) = self.limits.window else {
            return;
        };
        while let Some(&(_, time)) = self.times.front()
            && now.saturating_duration_since(time) >= window
        {
            self.times.pop_front();
            let until = self.times.front().map_or(self.next, |(first, _)| *first);
            while self.oldest < until {
                self.forget();
            }
        }
        if self
            .times
            .back()
            .is_some_and(|(first, _)| *first == self.next)
        {
            // Nothing came at that time.
            self.times.pop_back();
        }
        self.times.push_back((self.next, now));
    }

    /// Whether a key, whose hash this is, is new. From now on it is not.
    pub(super) fn insert(&mut self, hash: u64, new: &[u8]) -> bool {
        let (blocks, oldest) = (&self.blocks, self.oldest);
        let same = |bits: &u32| key(blocks, whole(oldest, *bits)) == new;
        if self.table.find(hash, same).is_some() {
            return false;
        }
        while self.len() >= self.limits.keys {
            self.forget();
        }
        if !self.make_room(new.len()) {
            return true;
        }
        let number = self.next;
        self.append(new);
        let (blocks, hasher, oldest) = (&self.blocks, &self.hasher, self.oldest);
        self.table.insert_unique(hash, low(number), |bits| {
            hasher.hash_one(key(blocks, whole(oldest, *bits)))
        });
        true
    }

    /// Forgets keys until there is memory for one of so many bytes. Says whether there is.
    fn make_room(&mut self, length: usize) -> bool {
        let memory = usize::try_from(self.limits.memory).unwrap_or(usize::MAX);
        let block = |block: &Block| block.bytes.capacity() - block.bytes.len() < length;
        let needed = match self.blocks.back().is_none_or(block) {
            true => length.max(BLOCK) + 8,
            false => 8,
        };
        // A key that would take the place of most others isn't worth them.
        if u32::try_from(length).is_err() || length > BLOCK.max(memory / 4) {
            self.short = true;
            return false;
        }
        while self.memory() + needed > memory && self.len() > 0 {
            self.short = true;
            self.forget();
        }
        true
    }

    fn append(&mut self, new: &[u8]) {
        let full = |block: &Block| block.bytes.capacity() - block.bytes.len() < new.len();
        if self.blocks.back().is_none_or(full) {
            self.blocks.push_back(Block {
                first: self.next,
                bytes: Vec::with_capacity(new.len().max(BLOCK)),
                ends: Vec::new(),
            });
            self.bytes += self.blocks.back().map_or(0, Block::memory);
        }
        if let Some(block) = self.blocks.back_mut() {
            block.bytes.extend_from_slice(new);
            // No block has more bytes than fit: it is as large as its only key, or `BLOCK`.
            block
                .ends
                .push(u32::try_from(block.bytes.len()).unwrap_or(u32::MAX));
            self.bytes += 8;
        }
        self.next += 1;
    }

    /// Forgets the oldest key.
    fn forget(&mut self) {
        let Some(block) = self.blocks.front() else {
            return;
        };
        let number = self.oldest;
        let hash = self.hasher.hash_one(block.key(number));
        if let Ok(place) = self.table.find_entry(hash, |bits| *bits == low(number)) {
            place.remove();
        }
        self.oldest += 1;
        if self.oldest == block.end() {
            self.bytes -= block.memory();
            self.blocks.pop_front();
        }
        // Of two times whose keys are forgotten, the first says nothing any more.
        while self
            .times
            .get(1)
            .is_some_and(|(first, _)| *first <= self.oldest)
        {
            self.times.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seen(window: Option<Duration>, keys: u64, memory: u64) -> Seen {
        let limits = Limits {
            window,
            keys,
            memory,
        };
        Seen::new(limits, RandomState::new())
    }

    fn insert(seen: &mut Seen, key: &[u8]) -> bool {
        seen.insert(seen.hasher.hash_one(key), key)
    }

    #[test]
    fn a_key_is_remembered_for_the_window_from_when_it_passed() {
        let mut seen = seen(Some(10 * SECOND), 100, 1 << 20);
        let start = Instant::now();
        let mut at = |seconds: u32, key: &[u8]| {
            seen.tick(start + seconds * SECOND);
            insert(&mut seen, key)
        };
        assert!(at(0, b"a"));
        // What is dropped doesn't make it last longer.
        assert!(!at(9, b"a"));
        assert!(at(9, b"b"));
        assert!(at(10, b"a"));
        assert!(!at(18, b"b"));
        assert!(at(19, b"b"));
        assert!(!at(19, b"a"));
        assert!(at(100, b"a") && at(100, b"b"));
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn the_oldest_are_forgotten_where_there_are_too_many() {
        let mut seen = seen(None, 3, 1 << 20);
        for (key, new) in [
            ("a", true),
            ("b", true),
            ("c", true),
            ("a", false),
            ("d", true),
        ] {
            assert_eq!(insert(&mut seen, key.as_bytes()), new, "{key}");
        }
        assert!(insert(&mut seen, b"a"), "it was the oldest");
        assert!(!insert(&mut seen, b"c"));
        assert!(!seen.was_short());
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let memory = 1 << 20;
        let mut seen = seen(None, Limits::most_keys(memory), memory);
        let mut most = 0;
        for number in 0..200_000_u64 {
            let key = [&number.to_le_bytes()[..], &[7; 50]].concat();
            assert!(insert(&mut seen, &key));
            assert!(!insert(&mut seen, &key));
            most = most.max(seen.memory());
        }
        assert!(seen.was_short());
        assert!(most as u64 <= memory + memory / 4, "{most}");
        assert!(seen.len() > 5_000, "{}", seen.len());
        // A key as large as all memory passes, and the others are still known.
        let before = seen.len();
        assert!(insert(&mut seen, &vec![1; 1 << 20]) && insert(&mut seen, &vec![1; 1 << 20]));
        assert_eq!(seen.len(), before);
    }

    #[test]
    fn as_many_short_keys_fit_as_is_said() {
        for memory in [1 << 20, 48_000_000] {
            let most = Limits::most_keys(memory);
            let mut seen = seen(None, most, memory);
            for number in 0..most + most.min(50_000) {
                insert(&mut seen, &number.to_le_bytes()[..5]);
            }
            assert!(!seen.was_short(), "{memory}");
            assert_eq!(seen.len(), most);
            assert!(
                seen.memory() as u64 <= memory,
                "{} of {memory}",
                seen.memory()
            );
        }
        assert!(
            Limits::most_keys(48_000_000) > 1_000_000,
            "the default fits the default memory"
        );
    }

    #[test]
    fn numbers_may_grow_beyond_32_bits() {
        let mut seen = seen(None, 10, 1 << 20);
        (seen.oldest, seen.next) = (u64::from(u32::MAX) - 5, u64::from(u32::MAX) - 5);
        for number in 0..40_u32 {
            assert!(insert(&mut seen, &number.to_le_bytes()));
            for known in number.saturating_sub(9)..=number {
                assert!(
                    !insert(&mut seen, &known.to_le_bytes()),
                    "{known} at {number}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_as_simple_as_a_list(
            steps in prop::collection::vec((0_u32..4, 0_u8..20), 1..300),
            most in 1_u64..12,
            window in 1_u32..12,
        ) {
            let mut seen = seen(Some(window * SECOND), most, 1 << 20);
            let mut list: VecDeque<(u8, u32)> = VecDeque::new();
            let (start, mut now) = (Instant::now(), 0);
            for (wait, key) in steps {
                now += wait;
                seen.tick(start + now * SECOND);
                list.retain(|(_, time)| now - time < window);
                let new = list.iter().all(|(known, _)| *known != key);
                if new {
                    if list.len() as u64 == most {
                        list.pop_front();
                    }
                    list.push_back((key, now));
                }
                prop_assert_eq!(insert(&mut seen, &[key; 9]), new);
                prop_assert_eq!(seen.len(), list.len() as u64);
            }
        }
    }
}
