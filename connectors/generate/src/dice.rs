//! Random numbers by position: no state, so that any row can be made alone.

/// The random numbers of one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64, column: &str) -> Self {
        let start = mix(seed ^ 0x7469_6465_6761_7465);
        Self(
            column
                .bytes()
                .fold(start, |key, byte| mix(key ^ u64::from(byte))),
        )
    }

    /// Others that have nothing to do with these.
    pub(crate) fn other(self, lane: u64) -> Self {
        Self(mix(self.0 ^ mix(lane.wrapping_add(1))))
    }

    /// The number of a row: 64 random bits.
    #[inline]
    pub(crate) fn bits(self, row: u64) -> u64 {
        // SplitMix64, whose state is a counter: Steele, Lea, Flood, "Fast splittable
        // pseudorandom number generators", 2014.
        mix(self.0.wrapping_add(row.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// At least 0 and less than `below`; any number where `below` is 0 (all 2⁶⁴).
    #[inline]
    pub(crate) fn below(self, row: u64, below: u64) -> u64 {
        if below == 0 {
            return self.bits(row);
        }
        let wide = u128::from(self.bits(row)) * u128::from(below);
        (wide >> 64) as u64
    }

    /// At least 0 and less than 1.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn unit(self, row: u64) -> f64 {
        (self.bits(row) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
