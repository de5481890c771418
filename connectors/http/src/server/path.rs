//! Which paths a route takes.

use tidegate_core::{Error, Result};

/// A path of the file: `/orders/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Path(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Text(String),
    /// `{anything}`
    One,
    /// `{*rest}`
    Rest,
}

impl Path {
    /// Errors: `Config`, about the key `paths`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::config(format!("the path `{text}` {why}"))
                .with("key", "paths")
                .hint("a path is such as \"/events\", \"/{anything}\" or \"/{*rest}\"")
        };
        let path = text
            .strip_prefix('/')
            .ok_or_else(|| wrong("doesn't begin with `/`"))?;
        if path.contains(['?', '#', ' ']) {
            return Err(wrong("holds what no path can"));
        }
        let parts: Vec<_> = path.split('/').collect();
        let parts = parts.iter().enumerate().map(|(number, part)| {
            match part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'))
            {
                Some(name) if name.contains(['{', '}']) => Err(wrong("has braces within braces")),
                Some(name) if !name.starts_with('*') => Ok(Part::One),
                Some(_) if number + 1 == parts.len() => Ok(Part::Rest),
                Some(_) => Err(wrong("resumes after `{*…}`")),
                None if part.contains(['{', '}']) => {
                    Err(wrong("has braces around a part of a segment"))
                }
                None => Ok(Part::Text((*part).to_owned())),
            }
        });
        parts.collect::<Result<Vec<_>>>().map(Self)
    }

    /// Whether a request's path is of these.
    pub(crate) fn is(&self, path: &str) -> bool {
        let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
        for part in &self.0 {
            match (part, segments.next()) {
                (Part::Rest, _) => return true,
                (Part::One, Some(segment)) if !segment.is_empty() => {}
                (Part::Text(text), Some(segment)) if text == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }

    /// How many requests it takes: fewer come first.
    pub(crate) fn width(&self) -> (bool, usize) {
        let open = self.0.iter().filter(|part| !matches!(part, Part::Text(_)));
        (self.0.contains(&Part::Rest), open.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_take_what_they_say() {
        for (path, taken, others) in [
            ("/", &["/"][..], &["/a", "//"][..]),
            ("/a", &["/a"], &["/", "/a/", "/A", "/a/b"]),
            ("/{x}", &["/a", "/%2F"], &["/", "/a/b"]),
            ("/a/{x}/c", &["/a/b/c"], &["/a//c", "/a/c", "/a/b/c/d"]),
            ("/{*rest}", &["/", "/a", "/a/b/"], &[]),
            ("/a/{*rest}", &["/a", "/a/", "/a/b/c"], &["/", "/ab"]),
        ] {
            let path = Path::parse(path).unwrap();
            assert!(taken.iter().all(|taken| path.is(taken)), "{path:?}");
            assert!(!others.iter().any(|other| path.is(other)), "{path:?}");
        }
        for wrong in ["", "a", "/a{x}", "/{*x}/a", "/a?b", "/{{x}}"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }
}
