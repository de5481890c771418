//! Random numbers by position: no state but a counter, so that a loop resumes where it was.

use std::time::Duration;

/// Random numbers by the number of the round.
///
/// They are SplitMix64's (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
/// 2014), whose state is a counter. They are part of what is promised: a seed draws the same for
/// ever, which no version of a library of random numbers says of its generators.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice(u64);

/// The increment of SplitMix64: 2⁶⁴ by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Dice {
    /// Those of `seed` that are called `name`.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        let start = mix(seed.wrapping_add(GOLDEN));
        Self(name.bytes().fold(start, |key, byte| {
            mix(key.wrapping_add(GOLDEN) ^ u64::from(byte))
        }))
    }

    /// At least 0 and less than `below`, which is not 0. All are equally likely, but for a
    /// difference of `below` in 2⁶⁴.
    pub(super) fn below(self, round: u64, below: u64) -> u64 {
        let bits = mix(self
            .0
            .wrapping_add(round.wrapping_add(1).wrapping_mul(GOLDEN)));
        let wide = u128::from(bits) * u128::from(below);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// A time from `least` to `most`, to the microsecond.
    pub(super) fn time(self, round: u64, least: Duration, most: Duration) -> Duration {
        let range = most.saturating_sub(least).as_micros();
        let range = u64::try_from(range).unwrap_or(u64::MAX).saturating_add(1);
        least.saturating_add(Duration::from_micros(self.below(round, range)))
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_for_ever() {
        // The first numbers of SplitMix64 from the state 1234567, as its authors' C gives them.
        let known = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        for (round, known) in (0..).zip(known) {
            let bits = mix(1_234_567_u64.wrapping_add(GOLDEN.wrapping_mul(round + 1)));
            assert_eq!(bits, known);
        }
        let dice = Dice::new(100, "pins");
        let drawn: Vec<_> = (0..8).map(|round| dice.below(round, 11_000)).collect();
        assert_eq!(drawn, DRAWN);
    }

    // By the same steps in Python.
    const DRAWN: [u64; 8] = [6_714, 5_919, 10_110, 10_166, 8_895, 2_488, 1_451, 8_371];

    #[test]
    fn draws_are_even_and_within_bounds() {
        let dice = Dice::new(7, "t");
        let mut seen = [0_u32; 10];
        for round in 0..10_000 {
            seen[usize::try_from(dice.below(round, 10)).unwrap()] += 1;
        }
        assert!(
            seen.iter().all(|count| (900..1_100).contains(count)),
            "{seen:?}"
        );
        let (least, most) = (Duration::from_millis(100), Duration::from_millis(200));
        for round in 0..1_000 {
            assert!((least..=most).contains(&dice.time(round, least, most)));
        }
        assert_eq!(dice.time(1, least, least), least);
    }
}
