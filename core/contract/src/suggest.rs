//! "Did you mean …?": the one of several names that was probably meant.

/// Candidates with the nearest first; those that are near enough to be meant come with `true`.
fn ranked<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<(bool, &'a str)> {
    let lower = word.to_lowercase();
    let mut ranked: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked
        .into_iter()
        .map(|(distance, candidate)| {
            let length = word.chars().count().max(candidate.chars().count());
            // A third of the letters, and a word that continues another, are still the same word.
            let continues = word.len() >= 3
                && (candidate.starts_with(&lower) || lower.starts_with(candidate))
                && candidate.len() >= 3;
            // Of one letter, all may be another.
            let alike = distance <= (length / 3).max(1) && distance < length;
            (alike || continues, candidate)
        })
        .collect()
}

/// The candidate that was probably meant: one that differs in a few letters, or a whole word of the
/// name (`page_param` for `param`), which is more than what only looks like it (`size_param`).
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let ranked = ranked(word, candidates);
    let lower = word.to_lowercase();
    let is_part = |candidate: &&str| {
        candidate.len() >= 3 && lower.split(['_', '-', '.']).any(|part| part == *candidate)
    };
    let close =
        |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()) <= 2;
    let first = ranked
        .iter()
        .find(|(near, candidate)| *near && *candidate != word);
    if !first.is_some_and(|(_, candidate)| close(candidate))
        && let Some((_, part)) = ranked.iter().find(|(_, candidate)| is_part(candidate))
        && *part != word
    {
        return Some(part);
    }
    ranked
        .into_iter()
        .find(|(near, candidate)| *near && *candidate != word)
        .map(|(_, candidate)| candidate)
}

/// All candidates, the nearest first, as a list for people: `` `a`, `b` ``.
pub fn list<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    quoted(
        ranked(word, candidates)
            .into_iter()
            .map(|(_, candidate)| candidate),
    )
}

/// Names in backquotes, separated by commas.
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_meant() {
        assert_eq!(nearest("tabel", ["table", "url"]), Some("table"));
        assert_eq!(nearest("weakly", ["weekly", "shop"]), Some("weekly"));
        assert_eq!(
            nearest("compress", ["compression", "url"]),
            Some("compression")
        );
        assert_eq!(nearest("Url", ["url"]), Some("url"));
        assert_eq!(
            nearest("page_param", ["size_param", "param", "type"]),
            Some("param")
        );
        assert_eq!(
            nearest("sizes_param", ["size_param", "param"]),
            Some("size_param")
        );
        assert_eq!(nearest("x", ["table", "url", "a"]), None);
    }
}
