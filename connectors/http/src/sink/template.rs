//! Texts with placeholders: addresses and JSON.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate_core::{Error, Result};
use tidegate_http::Url;

use super::check::of_key;

/// All but what RFC 3986 calls unreserved: what is left can't end a segment or a value.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A piece of a text: as it stands, or a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part<C> {
    Text(String),
    Column(String, C),
}

/// A placeholder at the beginning of a text: the column's name, and what follows.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix('{')?.split_once('}')?;
    let other = |c: char| "{\"':,".contains(c) || c.is_whitespace();
    (!name.is_empty() && !name.contains(other)).then_some((name, rest))
}

/// Where in an address a placeholder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
}

/// An address with placeholders in its path and query.
#[derive(Debug, Clone)]
pub(super) struct UrlTemplate {
    parts: Vec<Part<Place>>,
    /// Where the path begins in what the parts make.
    path: usize,
    /// The address with something for the placeholders.
    base: Url,
}

/// What a placeholder of an address has for a row.
pub(super) type Value = Option<String>;

impl UrlTemplate {
    /// Errors: `Config`, about the key `url`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| of_key("url", format!("`url` {why}"));
        let scheme = text.find("://").map(|at| at + 3);
        let scheme = scheme.filter(|_| text.starts_with("http://") || text.starts_with("https://"));
        let server = scheme.ok_or_else(|| {
            wrong("is not the address of a server")
                .hint("write it as \"https://api.example.com/customers/{id}\"")
        })?;
        if text.contains(['#', '\\'])
            || text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(wrong("holds a character that an address can't have")
                .hint("a `#`, a `\\` or a space is written as %23, %5C or %20"));
        }
        let path = text[server..]
            .find(['/', '?'])
            .map_or(text.len(), |at| server + at);
        if text[..path].contains(['{', '}']) {
            return Err(wrong("has a placeholder before its path").hint(
                "rows don't say which server is asked: placeholders stand in the path and the query",
            ));
        }
        if text[..path].contains('@') {
            return Err(wrong("holds a user or a password")
                .hint("credentials are given by `auth`, which keeps them hidden"));
        }
        let query = text.find('?').unwrap_or(text.len());
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let Some((name, after)) = placeholder(&rest[at..]) else {
                return Err(wrong("has a brace that belongs to no placeholder")
                    .hint("a brace itself is written as %7B or %7D"));
            };
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let place = match text.len() - rest.len() + at < query {
                true => Place::Path,
                false => Place::Query,
            };
            parts.push(Part::Column(name.to_owned(), place));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let sample: String = parts.iter().map(|part| part.shown("x")).collect();
        if let Some(dots) = dots(&sample[path..]) {
            return Err(wrong(&format!("has the segment `{dots}` in its path")));
        }
        let base =
            Url::parse(&sample).map_err(|error| wrong("is not an address").because(error))?;
        Ok(Self { parts, path, base })
    }

    /// An address of the server.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Its placeholders, in their order.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(Part::column)
    }

    /// Whether the path depends on the row.
    pub(super) fn names_things(&self) -> bool {
        let in_path = |part: &Part<Place>| matches!(part, Part::Column(_, Place::Path));
        self.parts.iter().any(in_path)
    }

    /// The address with these values, one for each placeholder; or why there is none.
    pub(super) fn fill(&self, values: impl IntoIterator<Item = Value>) -> Result<Url, String> {
        let mut values = values.into_iter();
        let mut text = String::new();
        for part in &self.parts {
            let (name, place) = match part {
                Part::Text(part) => {
                    text.push_str(part);
                    continue;
                }
                Part::Column(name, place) => (name, *place),
            };
            let value = values.next().flatten();
            if place == Place::Path && value.as_ref().is_none_or(String::is_empty) {
                let what = if value.is_none() { "NULL" } else { "empty" };
                return Err(format!(
                    "`{name}` is {what}, and stands in the path of `url`"
                ));
            }
            text.extend(utf8_percent_encode(&value.unwrap_or_default(), VALUE));
        }
        if let Some(dots) = dots(&text[self.path..]) {
            return Err(format!(
                "it would make `{dots}` a segment of the path, which leads elsewhere"
            ));
        }
        let url =
            Url::parse(&text).map_err(|error| format!("its address can't be made: {error}"))?;
        // Escaped values can't do that; this is the law, whatever is changed above.
        match url.origin() == self.base.origin() {
            true => Ok(url),
            false => Err("its address would be another server's".to_owned()),
        }
    }
}

/// The first segment of a path, with or without its query, that isn't a name but a way: `.`, `..`,
/// also where they are escaped.
fn dots(path: &str) -> Option<&str> {
    let path = path.split('?').next().unwrap_or_default();
    path.split('/').find(|segment| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    })
}

impl<C> Part<C> {
    fn column(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Column(name, _) => Some(name),
        }
    }

    fn shown<'a>(&'a self, value: &'a str) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Column(..) => value,
        }
    }
}

/// How a value stands in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoted {
    /// As a value of its own.
    No,
    /// Within a string.
    Yes,
}

/// JSON with placeholders.
#[derive(Debug, Clone)]
pub(super) struct JsonTemplate {
    pub(super) parts: Vec<Part<Quoted>>,
}

impl JsonTemplate {
    /// Errors: `Config`, about the key `template`, for what would not be JSON.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let (mut rest, mut quoted) = (text, Quoted::No);
        while let Some(next) = rest.chars().next() {
            if let Some((name, after)) = placeholder(rest) {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Column(name.to_owned(), quoted));
                rest = after;
                continue;
            }
            let mut length = next.len_utf8();
            match (next, quoted) {
                ('"', Quoted::No) => quoted = Quoted::Yes,
                ('"', Quoted::Yes) => quoted = Quoted::No,
                ('\\', Quoted::Yes) => {
                    length += rest[1..].chars().next().map_or(0, char::len_utf8);
                }
                _ => {}
            }
            plain.push_str(&rest[..length]);
            rest = &rest[length..];
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        let sample: String = parts
            .iter()
            .map(|part| match part {
                Part::Column(_, Quoted::No) => part.shown("null"),
                _ => part.shown("x"),
            })
            .collect();
        serde_json::from_str::<serde::de::IgnoredAny>(&sample).map_err(|error| {
            of_key("template", "`template` is not JSON with placeholders")
                .hint("`{column}` stands where a value may stand, or within quotes")
                .because(error)
        })?;
        Ok(Self { parts })
    }

    /// Its placeholders, in their order.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(Part::column)
    }
}

/// A placeholder that names no column of an input.
pub(super) fn no_column(key: &'static str, name: &str, input: &str) -> Error {
    of_key(
        key,
        format!("`{key}` names `{name}`, and `{input}` has no such column"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, values: &[&str]) -> Result<String, String> {
        let template = UrlTemplate::parse(template).unwrap();
        let values = values.iter().map(|value| Some((*value).to_owned()));
        template.fill(values).map(|url| url.to_string())
    }

    #[test]
    fn a_value_stays_one_segment_or_one_value() {
        for (value, escaped) in [
            ("../../x", "..%2F..%2Fx"),
            ("//evil", "%2F%2Fevil"),
            ("a?b#c", "a%3Fb%23c"),
            ("%2f", "%252f"),
            ("%2e%2e", "%252e%252e"),
            ("@evil.example:80", "%40evil.example%3A80"),
            ("a&b=c+d", "a%26b%3Dc%2Bd"),
            ("a\\b\r\n", "a%5Cb%0D%0A"),
            ("ü ", "%C3%BC%20"),
            ("...", "..."),
        ] {
            let url = fill("https://h:8/v1/{a}/x?q={b}&r=1", &[value, value]).unwrap();
            assert_eq!(url, format!("https://h:8/v1/{escaped}/x?q={escaped}&r=1"));
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_address() {
        for (template, value) in [
            ("https://h/v1/{a}", ".."),
            ("https://h/v1/{a}/x", "."),
            ("https://h/v1/.{a}/x", "."),
            ("https://h/v1/%2e{a}", "."),
            ("https://h/v1/{a}?q=1", ".."),
            ("https://h/v1/{a}", ""),
        ] {
            fill(template, &[value]).unwrap_err();
        }
        let template = UrlTemplate::parse("https://h/{a}?q={b}").unwrap();
        template.fill([None, None]).unwrap_err();
        let url = template.fill([Some("1".into()), None]).unwrap();
        assert_eq!(url.as_str(), "https://h/1?q=");
        assert_eq!(fill("https://h?q={a}", &[".."]).unwrap(), "https://h/?q=..");
    }

    #[test]
    fn rows_do_not_say_which_server_is_asked() {
        for url in [
            "{a}://h/",
            "https://{a}/",
            "https://h{a}/",
            "https://h:{a}/",
            "https://h{a}",
            "https://h\\{a}",
            "https://h/#{a}",
            "https://me:pw@h/{a}",
            "https://h/{a",
            "https://h/a}",
            "https://h/{}",
            "https://h/../{a}",
            "ftp://h/{a}",
            "h/{a}",
            "",
        ] {
            let error = UrlTemplate::parse(url).unwrap_err();
            assert!(error.to_string().contains("url"), "{url}: {error}");
        }
    }

    #[test]
    fn a_template_knows_what_is_quoted() {
        let template = JsonTemplate::parse(r#"{"a\"{x}": [{y}, {"b": "{z}!"}]}"#).unwrap();
        let columns: Vec<_> = template
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Column(name, quoted) => Some((name.as_str(), *quoted)),
                Part::Text(_) => None,
            })
            .collect();
        assert_eq!(
            columns,
            [("x", Quoted::Yes), ("y", Quoted::No), ("z", Quoted::Yes)]
        );
        for wrong in ["{a} {b}", "{\"a\": {b", "{\"a\": \"{b}}", "[1,]", ""] {
            JsonTemplate::parse(wrong).unwrap_err();
        }
        JsonTemplate::parse("{a}").unwrap();
    }
}
