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

/// The candidate that was probably meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    ranked(word, candidates)
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
        assert_eq!(nearest("x", ["table", "url", "a"]), None);
    }
}
