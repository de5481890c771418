//! Patterns of paths: `*`, `?` and `[..]` within a name, `**` over any number of directories.

use std::borrow::Cow;

use globset::{GlobBuilder, GlobMatcher};
use tidegate_core::{Error, Result};

use crate::listing::is_hidden;

/// One step of a pattern, from the directory where its first wildcard stands.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Exactly this name.
    Name(String),
    /// Names that match.
    Names { glob: GlobMatcher, hidden: bool },
    /// Any number of directories that aren't hidden.
    Deep,
}

impl Step {
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Names { glob, hidden } => {
                (*hidden || !name.starts_with('.')) && glob.is_match(name)
            }
            Self::Deep => !is_hidden(name),
        }
    }
}

/// Whether a name of a path has wildcards.
pub(crate) fn is_wild(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// A `file://` url whose percent-encoded wildcards are patterns of just these characters.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.starts_with("file://") || !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, code) = rest.split_at(at);
        escaped.push_str(before);
        let code = code.get(..3).unwrap_or("%");
        match code.to_ascii_uppercase().as_str() {
            "%5B" | "%2A" | "%3F" => escaped.extend(["[", code, "]"]),
            _ => escaped.push_str(code),
        }
        rest = &rest[at + code.len()..];
    }
    escaped.push_str(rest);
    Cow::Owned(escaped)
}

/// The one name that a pattern without other wildcards than `[[]`, `[*]` and `[?]` means.
pub(crate) fn literal(pattern: &str) -> Option<String> {
    let plain = pattern.replace("[[]", "\u{1}").replace("[*]", "\u{2}");
    let plain = plain.replace("[?]", "\u{3}");
    let literal = plain.replace('\u{1}', "[").replace('\u{2}', "*");
    (!is_wild(&plain)).then(|| literal.replace('\u{3}', "?"))
}

/// A name of a path as a step of a pattern.
pub(crate) fn step(name: &str) -> Result<Step> {
    if name == "**" {
        return Ok(Step::Deep);
    }
    if name.contains("**") {
        return Err(Error::config(format!("`{name}` is not a pattern"))
            .hint("`**` stands alone between slashes: data/**/*.csv"));
    }
    if !is_wild(name) {
        return Ok(Step::Name(name.to_owned()));
    }
    // Braces are placeholders elsewhere in Tidegate and plain characters here.
    let plain = name.replace('{', "[{]").replace('}', "[}]");
    let glob = GlobBuilder::new(&plain)
        .literal_separator(true)
        .backslash_escape(false)
        .build()
        .map_err(|error| {
            Error::config(format!("`{name}` is not a pattern: {}", error.kind()))
                .hint("`[` begins a set of characters such as [0-9]; write [[] for the bracket")
        })?;
    Ok(Step::Names {
        glob: glob.compile_matcher(),
        hidden: name.starts_with('.'),
    })
}

/// Whether a path relative to the pattern's root matches its steps.
pub(crate) fn matches(steps: &[Step], path: &[&str]) -> bool {
    match (steps, path) {
        ([], []) => true,
        ([Step::Deep, rest @ ..], _) => {
            matches(rest, path)
                || path
                    .split_first()
                    .is_some_and(|(name, path)| steps[0].matches(name) && matches(steps, path))
        }
        ([step, steps @ ..], [name, path @ ..]) => step.matches(name) && matches(steps, path),
        _ => false,
    }
}

/// Whether files below a directory, which is relative to the pattern's root, may match its steps.
pub(crate) fn may_hold(steps: &[Step], directory: &[&str]) -> bool {
    match (steps, directory) {
        ([], _) => false,
        (_, []) => true,
        ([Step::Deep, rest @ ..], [name, below @ ..]) => {
            may_hold(rest, directory) || (steps[0].matches(name) && may_hold(steps, below))
        }
        ([step, rest @ ..], [name, below @ ..]) => step.matches(name) && may_hold(rest, below),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str) -> bool {
        let steps = pattern.trim_start_matches('/').split('/').map(step);
        let steps: Vec<_> = steps.collect::<Result<_>>().unwrap();
        let names: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let found = matches(&steps, &names);
        let directories = (1..names.len()).all(|depth| may_hold(&steps, &names[..depth]));
        assert!(directories || !found, "{pattern} {path}");
        found
    }

    #[test]
    fn wildcards_stay_within_a_name_and_two_stars_do_not() {
        assert!(check("/a/*.csv", "/a/x.csv"));
        assert!(!check("/a/*.csv", "/a/b/x.csv"));
        assert!(check("/a/**/*.csv", "/a/x.csv"));
        assert!(check("/a/**/*.csv", "/a/b/c/x.csv"));
        assert!(check("/a/**/c/*", "/a/b/c/x"));
        assert!(!check("/a/**/c/*", "/a/b/x"));
        assert!(check("/a/**", "/a/b/c"));
        assert!(check("/a/d?y=[0-9]/x", "/a/day=3/x"));
        assert!(!check("/a/d?y=[0-9]/x", "/a/day=x/x"));
        assert!(check("/a/*{1}.csv", "/a/x{1}.csv"));
    }

    #[test]
    fn hidden_names_are_only_found_by_name() {
        assert!(!check("/a/*", "/a/.x.csv.1.tidegate-tmp"));
        assert!(!check("/a/**/*", "/a/.git/config"));
        assert!(check("/a/.*", "/a/.x"));
        assert!(!check("/a/**/*", "/a/_temporary/x"));
        assert!(check("/a/**/*", "/a/_op=insert/_x"));
        assert!(check("/a/*/x", "/a/_y/x"));
    }

    #[test]
    fn directories_that_cant_have_it_arent_looked_into() {
        let steps: Vec<_> = ["a*", "**", "c", "x"]
            .map(|name| step(name).unwrap())
            .into();
        for (directory, may) in [("a", true), ("b", false), ("a/c", true), ("a/.b", false)] {
            let names: Vec<_> = directory.split('/').collect();
            assert_eq!(may_hold(&steps, &names), may, "{directory}");
        }
        let steps: Vec<_> = ["a", "x"].map(|name| step(name).unwrap()).into();
        assert!(!may_hold(&steps, &["a", "x"]));
    }

    #[test]
    fn encoded_characters_are_no_wildcards() {
        assert_eq!(escape("file:///a%5b1%5D*%"), "file:///a[%5b]1%5D*%");
        assert_eq!(escape("/a%5B"), "/a%5B");
        assert_eq!(literal("a[[]1][*][?]").as_deref(), Some("a[1]*?"));
        assert_eq!(literal("a[[]*"), None);
        assert_eq!(literal("a[ab]"), None);
    }

    #[test]
    fn a_bad_pattern_says_so() {
        assert!(step("b**").is_err());
        assert!(step("[x").is_err());
    }
}
