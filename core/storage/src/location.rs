//! Urls and paths of the pipeline file.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tidegate_core::{Error, Result};

/// What can't stand as it is in the path of a `file://` url.
const IN_A_URL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// The kinds of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// This machine's file system: a path, or `file://`.
    Local,
    /// This process's memory: `memory://`, for tests and embedders.
    Memory,
    /// A bucket of S3, or of a server that speaks its protocol: `s3://bucket/prefix`.
    S3,
}

/// A place: a directory or a file, given by an absolute path. May hold glob characters and
/// placeholders: it is text until a [`Storage`](crate::Storage) is opened there.
///
/// ```
/// use tidegate_storage::Location;
///
/// let base = std::path::Path::new("/home/me/pipelines");
/// assert_eq!(Location::parse("../out/daily", base)?.to_string(), "/home/me/out/daily");
/// assert_eq!(Location::parse("file:///data/a%20b.csv", base)?.to_string(), "/data/a b.csv");
/// # Ok::<(), tidegate_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    place: Place,
    /// Of S3; empty elsewhere.
    bucket: String,
    path: String,
}

impl Location {
    /// Reads a path (relative ones are relative to `base`) or a url.
    ///
    /// Errors: `Config` for another scheme, a host in a `file://` url, an empty text, or `-`;
    /// `Unsupported` for a scheme that is known and not linked.
    pub fn parse(text: &str, base: &Path) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::config("`url` is empty").hint("give a path or a file:// url"));
        }
        if text == "-" {
            return Err(
                Error::config("`-` is a file's name here: standard input and output are no files")
                    .hint("name a file, and write what is to be read to it first; a file that is called `-` is `./-`"),
            );
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::local(&base.join(text));
        };
        match scheme {
            "file" => {
                let path = match rest.strip_prefix("localhost/") {
                    Some(path) => format!("/{path}"),
                    None => rest.to_owned(),
                };
                if !path.starts_with('/') {
                    return Err(Error::config(format!("`{text}` names a host"))
                        .hint("write file:///absolute/path, or a plain path for a relative one"));
                }
                let path = percent_decode_str(&path).decode_utf8().map_err(|error| {
                    Error::config(format!("`{text}` is not UTF-8 when decoded")).because(error)
                })?;
                Self::local(Path::new(&*path))
            }
            "memory" => Ok(Self {
                place: Place::Memory,
                bucket: String::new(),
                path: format!("/{}", rest.trim_matches('/')),
            }),
            "s3" | "s3a" => {
                let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(Error::config(format!("`{text}` names no bucket"))
                        .hint("write s3://bucket/prefix"));
                }
                let path = path.strip_suffix('/').unwrap_or(path);
                // Without it, it would be another key.
                if !path.is_empty() && path.split('/').any(str::is_empty) {
                    return Err(Error::config("a part of this url is empty (`//`)")
                        .with("url", text)
                        .hint("write one `/`; keys with empty parts can't be read or written"));
                }
                Ok(Self {
                    place: Place::S3,
                    bucket: bucket.to_owned(),
                    path: format!("/{path}"),
                })
            }
            "gs" | "az" | "abfss" | "http" | "https" => Err(Error::unsupported(format!(
                "`{scheme}://` is not a place this program can use"
            ))
            .with("url", text)
            .hint("use a path, a file:// url or an s3:// url")),
            _ => Err(Error::config(format!("`{scheme}://` is not known"))
                .with("url", text)
                .hint("use a path, a file:// url or an s3:// url")),
        }
    }

    fn local(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)
            .map_err(|error| crate::error::local("use this path", path, error))?;
        let mut clean = PathBuf::new();
        for part in path.components() {
            match part {
                Component::ParentDir => {
                    clean.pop();
                }
                Component::CurDir => {}
                other => clean.push(other),
            }
        }
        match clean.into_os_string().into_string() {
            Ok(path) => Ok(Self {
                place: Place::Local,
                bucket: String::new(),
                path,
            }),
            Err(path) => {
                Err(Error::config("the path is not UTF-8").with("path", Path::new(&path).display()))
            }
        }
    }

    /// The kind of place.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The bucket; empty where there are none.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The absolute path, with `/` between its parts.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same kind of place at another absolute path.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        Self {
            place: self.place,
            bucket: self.bucket.clone(),
            path: path.to_owned(),
        }
    }

    /// The key of another location relative to here (empty: of here itself); `None` if it lies
    /// elsewhere.
    pub fn key_of<'a>(&self, other: &'a Self) -> Option<&'a str> {
        if (self.place, &self.bucket) != (other.place, &other.bucket) {
            return None;
        }
        let rest = other.path.strip_prefix(self.path.trim_end_matches('/'))?;
        match rest {
            "" | "/" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }

    /// The url of a key relative to here, as [`Location::parse`] reads it again.
    pub fn url(&self, key: &str) -> String {
        let whole = self.show(key);
        match self.place {
            Place::Local => format!("file://{}", utf8_percent_encode(&whole, IN_A_URL)),
            Place::Memory | Place::S3 => whole,
        }
    }

    /// What a key relative to here is called in messages.
    pub fn show(&self, key: &str) -> String {
        // A bucket is written without the `/` that its root has.
        let ends = self.path.ends_with('/') && self.place != Place::S3;
        match (key.is_empty(), ends) {
            (true, _) => self.to_string(),
            (false, true) => format!("{self}{key}"),
            (false, false) => format!("{self}/{key}"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Local => f.write_str(&self.path),
            Place::Memory => write!(f, "memory:/{}", self.path),
            Place::S3 if self.path == "/" => write!(f, "s3://{}", self.bucket),
            Place::S3 => write!(f, "s3://{}{}", self.bucket, self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn parse(text: &str) -> String {
        match Location::parse(text, Path::new("/base")) {
            Ok(location) => location.to_string(),
            Err(error) => format!("{}: {}", error.kind(), error.message()),
        }
    }

    #[test]
    fn paths_are_relative_to_the_base() {
        assert_eq!(parse("a/b.csv"), "/base/a/b.csv");
        assert_eq!(parse("./a//b/../*.csv"), "/base/a/*.csv");
        assert_eq!(parse("/x/y/"), "/x/y");
        assert_eq!(parse("."), "/base");
        assert!(parse("-").starts_with("config: `-`"));
        assert_eq!(parse("./-"), "/base/-");
    }

    #[test]
    fn urls_are_read_as_they_were_made() {
        for text in [
            "/a b/%20/ü?#",
            "s3://bucket",
            "s3://bucket/x=1/a%20b",
            "memory://t/a",
        ] {
            let location = Location::parse(text, Path::new("/")).unwrap();
            for key in ["", "k=v/a b%2F.csv"] {
                let again = Location::parse(&location.url(key), Path::new("/")).unwrap();
                assert_eq!(again.to_string(), location.show(key));
            }
        }
        let local = Location::parse("/a b", Path::new("/")).unwrap();
        assert_eq!(local.url("c"), "file:///a%20b/c");
    }

    #[test]
    fn a_key_is_what_lies_below() {
        let at = |text: &str| Location::parse(text, Path::new("/")).unwrap();
        let key = |of: &str, other: &str| {
            let other = at(other);
            at(of).key_of(&other).map(str::to_owned)
        };
        assert_eq!(key("/a", "/a/b c/d").as_deref(), Some("b c/d"));
        assert_eq!(key("/a", "file:///a/b%20c/").as_deref(), Some("b c"));
        assert_eq!(key("/a", "/a").as_deref(), Some(""));
        assert_eq!(key("/", "/a").as_deref(), Some("a"));
        assert_eq!(key("s3://x/a", "s3a://x/a/b").as_deref(), Some("b"));
        for (of, other) in [("/a", "/ab"), ("/a/b", "/a"), ("s3://x/a", "s3://y/a/b")] {
            assert_eq!(key(of, other), None, "{of} {other}");
        }
    }

    #[test]
    fn urls_are_decoded_and_hosts_refused() {
        assert_eq!(parse("file:///x/a%20b"), "/x/a b");
        assert_eq!(parse("file://localhost/x"), "/x");
        assert!(parse("file://server/x").starts_with("config"));
        assert_eq!(parse("memory://t/a/"), "memory://t/a");
        assert_eq!(parse("s3://bucket/x/"), "s3://bucket/x");
        assert_eq!(parse("s3://bucket"), "s3://bucket");
        for text in ["s3://bucket//x", "s3://bucket/a//b", "s3://bucket/a//"] {
            assert!(parse(text).starts_with("config"), "{text}");
        }
        assert!(parse("s3:///x").starts_with("config"));
        assert!(parse("gs://bucket/x").starts_with("unsupported"));
        assert!(parse("gopher://x").starts_with("config"));
        assert!(parse(" ").starts_with("config"));
    }
}
