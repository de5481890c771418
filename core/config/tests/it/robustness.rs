//! Whatever the file holds, it is answered, not crashed on.

use proptest::prelude::*;

use crate::{Files, GOOD};

fn survives(bytes: &[u8]) {
    let files = Files::new(bytes);
    if let Err(wrong) = files.load() {
        assert!(!wrong.is_empty());
        let shown = wrong.to_string();
        assert!(!shown.is_empty());
        for one in wrong.iter() {
            assert!(one.line() >= 1 && one.column() >= 1);
            let _ = (one.source_line(), one.render(true));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        survives(&bytes);
    }

    #[test]
    fn toml_like_texts(words in proptest::collection::vec(
        prop::sample::select(vec![
            "[", "]", "[[", "]]", "{", "}", "=", "\"", "'", "\"\"\"", "\n", "\r\n", " ", ",", ".",
            "sources", "sinks", "shop", "type", "files", "url", "inputs", "password", "${", "${X}",
            "$${", ":-", "é", "\\", "5", "-1", "1e400", "nan", "true", "2024-01-01", "name", "#",
            "[sources.shop]\n", "[sinks.out]\n", "type = \"files\"\n", "a = ", "\u{0}", "\u{feff}",
        ]), 0..40)) {
        survives(words.concat().as_bytes());
    }

    #[test]
    fn a_good_file_with_a_piece_cut_out(from in 0..GOOD.len(), length in 0..60_usize, put in ".{0,8}") {
        let to = (from + length).min(GOOD.len());
        let text = format!("{}{put}{}", &GOOD[..from], &GOOD[to..]);
        survives(text.as_bytes());
    }

    #[test]
    fn any_set(set in ".{0,40}", value in ".{0,20}") {
        for set in [set, format!("sinks.lake.url={value}"), format!("sources.shop.rows={value}"), format!("sinks.lake.catalog={value}")] {
            let files = Files::new(GOOD).set(&set);
            if let Err(wrong) = files.load() {
                prop_assert!(!wrong.to_string().is_empty());
            }
        }
    }
}
