//! Pipelines' names as names of lock files.

use sha2::{Digest, Sha256};

/// The longest name that is written out: a file's name may have 255 bytes.
const LONGEST: usize = 200;

/// How much of a longer one.
const BEGINNING: usize = 100;

/// Any name as the name of a file. No two share one, also where case is folded and Unicode is
/// brought into another form: what isn't a small letter, a digit, `-`, `_` or a dot within is `=`
/// and two hex digits. A long one ends in `==` and a digest.
pub(super) fn file_name(pipeline: &str) -> String {
    let mut name = String::new();
    for byte in pipeline.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            _ => name.push_str(&format!("={byte:02x}")),
        }
    }
    if name.len() > LONGEST {
        name.truncate(BEGINNING);
        name.push_str("==");
        for byte in Sha256::digest(pipeline) {
            name.push_str(&format!("{byte:02x}"));
        }
    }
    name
}

/// What earlier versions called it, who took several names for one.
pub(super) fn earlier_file_name(pipeline: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let name = pipeline.chars().map(|c| if plain(c) { c } else { '_' });
    name.chain(".lock".chars()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_pipelines_share_a_name() {
        assert_eq!(file_name("shop-weekly_2.1"), "shop-weekly_2.1");
        assert_eq!(file_name("a/b C"), "a=2fb=20=43");
        assert_eq!(file_name(".a"), "=2ea");
        let long = "ä".repeat(300);
        let all = [
            "a/b",
            "a_b",
            "a b",
            "a=2fb",
            "A/b",
            "Ab",
            "ab",
            "ä",
            "a\u{308}",
            "=",
            "==",
            &long,
            &long[2..],
            &file_name(&long),
        ];
        let names: BTreeSet<String> = all.map(file_name).into();
        assert_eq!(names.len(), all.len(), "{names:?}");
        for name in names {
            assert!(name.len() < 200 && name == name.to_lowercase(), "{name}");
        }
    }

    #[test]
    fn the_earlier_names_are_those_of_earlier_versions() {
        assert_eq!(earlier_file_name("shop-weekly_2.1"), "shop-weekly_2.1.lock");
        assert_eq!(earlier_file_name("a/b C=ä"), "a_b_C_ä.lock");
    }
}
