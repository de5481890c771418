//! Names that every engine on Hive's metastore can use without quotes.

use tidegate_core::{Error, Result};

/// The most characters of a name (AWS Glue, `NameString`).
const LONGEST: usize = 255;

/// The name as Glue and Athena store it: in lower case.
///
/// Errors: `Config`, with a hint that names one that can be stored, for an empty name, one of more
/// than 255 characters, and one with others than `a`–`z`, `0`–`9` and `_`.
pub fn fold_name(name: &str) -> Result<String> {
    let folded = name.to_ascii_lowercase();
    let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !folded.is_empty() && folded.len() <= LONGEST && folded.chars().all(safe) {
        return Ok(folded);
    }
    let what = if folded.is_empty() {
        "an empty name can't be stored".to_owned()
    } else if folded.chars().all(safe) {
        format!("a name of {} characters can't be stored", folded.len())
    } else {
        format!("the name `{name}` can't be stored: it has other characters than a-z, 0-9 and _")
    };
    Err(Error::config(what)
        .with("name", name)
        .hint(format!("call it `{}`", proposal(&folded))))
}

fn proposal(folded: &str) -> String {
    let mut name = String::new();
    for c in folded.chars() {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    name.truncate(LONGEST);
    match name.trim_matches('_') {
        "" => "unnamed".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::ErrorKind;

    use super::*;

    #[test]
    fn names_are_folded_to_lower_case() {
        for (name, folded) in [("UserId", "userid"), ("a_1", "a_1"), ("_x", "_x")] {
            assert_eq!(fold_name(name).expect("a name"), folded);
        }
        assert_eq!(fold_name(&"A".repeat(255)).expect("a name").len(), 255);
    }

    #[test]
    fn others_are_refused_with_one_that_works() {
        for (name, better) in [
            ("order-id", "order_id"),
            ("Größe (cm)", "gr_e_cm"),
            ("a.b", "a_b"),
            ("", "unnamed"),
            ("日本", "unnamed"),
            ("a b", "a_b"),
        ] {
            let error = fold_name(name).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(
                error.hint_text(),
                Some(format!("call it `{better}`").as_str())
            );
            assert_eq!(fold_name(better).expect("a name"), better);
        }
        let error = fold_name(&"a".repeat(256)).expect_err("too long");
        assert!(error.to_string().contains("256 characters"), "{error}");
    }
}
