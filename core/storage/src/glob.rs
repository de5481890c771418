//! Patterns of paths: `*`, `?` and `[..]` within a name, `**` over any number of folders.

use globset::{GlobBuilder, GlobMatcher};
use tidegate_core::{Error, Result};

/// One step of a pattern, from the folder where its first wildcard stands.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Exactly this name.
    Name(String),
    /// Names that match.
    Names { glob: GlobMatcher, hidden: bool },
    /// Any number of folders.
    Deep,
}

impl Step {
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Names { glob, hidden } => {
                (*hidden || !name.starts_with('.')) && glob.is_match(name)
            }
            Self::Deep => !name.starts_with('.'),
        }
    }
}

/// Whether a name of a path has wildcards.
pub(crate) fn is_wild(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The folder before the first wildcard, and the steps from there.
pub(crate) fn parse(path: &str) -> Result<(String, Vec<Step>)> {
    let mut root = Vec::new();
    let mut steps = Vec::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if steps.is_empty() && !is_wild(name) {
            root.push(name);
        } else {
            steps.push(step(name)?);
        }
    }
    Ok((format!("/{}", root.join("/")), steps))
}

fn step(name: &str) -> Result<Step> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str) -> bool {
        let (root, steps) = parse(pattern).unwrap();
        let Some(rest) = path.strip_prefix(root.trim_end_matches('/')) else {
            return false;
        };
        let names: Vec<_> = rest.split('/').filter(|name| !name.is_empty()).collect();
        matches(&steps, &names)
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
    }

    #[test]
    fn a_bad_pattern_says_so() {
        assert!(parse("/a/b**").is_err());
        assert!(parse("/a/[x").is_err());
    }
}
