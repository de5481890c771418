//! Names of files, with placeholders.

use std::fmt::Write;

use arrow_array::timezone::Tz;
use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Utc};
use tidegate_catalog::parse_directory;
use tidegate_core::{ComponentId, Error, Result};
use tidegate_formats::{Compression, Format};

use super::config::FilesSinkConfig;

/// A name with placeholders, below a directory without any.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// The url of the directory.
    pub(super) root: String,
    parts: Vec<Part>,
    /// The zone of the times; none is UTC.
    zone: Option<Tz>,
    /// Whether the name without what tells files apart may be used.
    pub(super) exact: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Stream,
    /// The stream's name without its component's.
    Table,
    Time(String),
    /// What tells files apart, and what joins it to the name.
    Unique {
        before: &'static str,
    },
}

/// A file's name, as two texts around what tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    before: String,
    joint: &'static str,
    after: String,
}

impl Template {
    /// Errors: `Config`, with the key that has the error.
    pub(super) fn parse(config: &FilesSinkConfig) -> Result<Self> {
        let template = Self::of_url(config).map_err(|error| error.with("key", "url"))?;
        let zone = config.time_zone.as_deref().map(|zone| template.zone(zone));
        let zone = zone.transpose();
        Ok(Self {
            zone: zone.map_err(|error| error.with("key", "time_zone"))?,
            ..template
        })
    }

    fn of_url(config: &FilesSinkConfig) -> Result<Self> {
        let url = config.url.as_str();
        let first = url.find('{').unwrap_or(url.len());
        let is_file = !url.ends_with('/') && Format::from_path(url).is_some();
        // The directory is everything before the first placeholder, or before the file's name.
        let root_end = match (is_file, first < url.len()) {
            (false, false) => url.len(),
            _ => url[..first].rfind('/').map_or(0, |slash| slash + 1),
        };
        let (root, rest) = url.split_at(root_end);
        let scheme_end = url.find("://").map_or(0, |at| at + 3);
        if root_end < scheme_end || url.is_empty() {
            return Err(Error::config(format!("`{url}` names no directory")));
        }
        let mut parts = parse(rest)?;
        let has_part = parts.iter().any(|part| matches!(part, Part::Unique { .. }));
        let exact = is_file && !has_part;
        if !has_part && is_file {
            insert_unique(&mut parts);
        } else if !has_part {
            if !rest.is_empty() && !rest.ends_with('/') {
                parts.push(Part::Text("/".into()));
            }
            parts.push(Part::Text("part".into()));
            parts.push(Part::Unique { before: "-" });
            parts.push(Part::Text(extension(config.format(), config.compression())));
        }
        let root = match root {
            "" => ".",
            "/" => "/",
            root if root.ends_with("://") => root,
            root => root.trim_end_matches('/'),
        };
        Ok(Self {
            root: root.to_owned(),
            parts,
            zone: None,
            exact,
        })
    }

    /// The zone of that name, for the times that there are.
    fn zone(&self, name: &str) -> Result<Tz> {
        if !self.parts.iter().any(|part| matches!(part, Part::Time(_))) {
            return Err(Error::config("`time_zone` is for a `url` with times")
                .hint("for example url = \"out/{date}\"; else leave `time_zone` out"));
        }
        name.parse().map_err(|_| {
            Error::config(format!("`{name}` is no time zone"))
                .hint("write a name of the IANA time zone database, \"Europe/Berlin\", or an offset, \"+02:00\"")
        })
    }

    /// The partition keys that the directories below [`Template::root`] name, for an input.
    ///
    /// Errors: `Config` where a directory isn't `key=value`.
    pub(super) fn keys(&self, stream: &str) -> Result<Vec<String>> {
        let name = self.name(stream, DateTime::<Utc>::UNIX_EPOCH);
        let parts = name.directory().and_then(parse_directory);
        let keys = parts.map(|parts| parts.into_iter().map(|(key, _)| key).collect());
        keys.ok_or_else(|| {
            Error::config(
                "with `catalog`, the directories of `url` that have placeholders must be key=value",
            )
            .with("key", "url")
            .hint("for example url = \"lake/clicks/date={date}/hour={hour}\"")
        })
    }

    /// The name for an input at a time.
    pub(super) fn name(&self, stream: &str, time: DateTime<Utc>) -> Name {
        let mut texts = [String::new(), String::new()];
        let (mut side, mut joint) = (0, "");
        for part in &self.parts {
            match part {
                Part::Text(text) => texts[side].push_str(text),
                Part::Stream => texts[side].push_str(&stream.replace('/', "_")),
                Part::Table => {
                    let table = stream.split_once('.').map_or(stream, |(_, table)| table);
                    texts[side].push_str(&table.replace('/', "_"));
                }
                Part::Time(pattern) => {
                    // Writing to a string fails only for a pattern that `parse` has refused.
                    let _ = match &self.zone {
                        None => write!(texts[side], "{}", time.format(pattern)),
                        Some(zone) => {
                            let local = time.with_timezone(zone);
                            write!(texts[side], "{}", local.format(pattern))
                        }
                    };
                }
                Part::Unique { before } => (side, joint) = (1, before),
            }
        }
        let [before, after] = texts;
        Name {
            before,
            joint,
            after,
        }
    }
}

impl Name {
    /// The key of one file.
    pub(super) fn unique(&self, unique: &str) -> String {
        format!("{}{}{unique}{}", self.before, self.joint, self.after)
    }

    /// The key without what tells files apart.
    pub(super) fn plain(&self) -> String {
        format!("{}{}", self.before, self.after)
    }

    /// The directory of all files of this name; `None` if each has a directory of its own.
    pub(super) fn directory(&self) -> Option<&str> {
        if self.after.contains('/') {
            return None;
        }
        Some(
            self.before
                .rsplit_once('/')
                .map_or("", |(directory, _)| directory),
        )
    }

    /// Whether a key is one that [`Name::unique`] made for this sink, in any run.
    pub(super) fn made(&self, key: &str, sink: &ComponentId) -> bool {
        let stem = key.strip_prefix(self.before.as_str());
        let stem = stem.and_then(|key| key.strip_prefix(self.joint));
        let Some(unique) = stem.and_then(|key| key.strip_suffix(self.after.as_str())) else {
            return false;
        };
        let hex = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match unique.split('-').collect::<Vec<_>>().as_slice() {
            // Epoch and number, between them the executor unless it is the first one.
            [lineage, run, id, numbers @ ..] => {
                let numbers_are = matches!(numbers.len(), 2 | 3) && numbers.iter().all(number);
                hex(lineage) && hex(run) && *id == sink.as_str() && numbers_are
            }
            _ => false,
        }
    }
}

fn extension(format: Format, compression: Compression) -> String {
    match compression {
        Compression::None => format!(".{}", format.extension()),
        other => format!(".{}.{}", format.extension(), other.extension()),
    }
}

/// Before the extensions of the last text, which is the end of a file's name.
fn insert_unique(parts: &mut Vec<Part>) {
    let Some(Part::Text(text)) = parts.pop() else {
        return;
    };
    let name = text.rfind('/').map_or(0, |slash| slash + 1);
    let stem = match Compression::from_path(&text) {
        Compression::None => &text,
        _ => &text[..text.rfind('.').unwrap_or(text.len())],
    };
    let dot = stem[name..].rfind('.').map_or(text.len(), |dot| name + dot);
    parts.push(Part::Text(text[..dot].to_owned()));
    parts.push(Part::Unique { before: "-" });
    parts.push(Part::Text(text[dot..].to_owned()));
}

fn parse(text: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else {
            return Err(Error::config(format!(
                "`{text}` has a `{{` without its `}}`"
            )));
        };
        if open > 0 {
            parts.push(Part::Text(rest[..open].to_owned()));
        }
        let inside = &rest[open + 1..open + length];
        parts.push(placeholder(inside)?);
        rest = &rest[open + length + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    let uniques = parts
        .iter()
        .filter(|part| matches!(part, Part::Unique { .. }));
    if uniques.count() > 1 {
        return Err(Error::config(format!("`{text}` has {{part}} twice")));
    }
    Ok(parts)
}

fn placeholder(inside: &str) -> Result<Part> {
    Ok(match inside {
        "stream" => Part::Stream,
        "table" => Part::Table,
        "date" => Part::Time("%Y-%m-%d".into()),
        "hour" => Part::Time("%H".into()),
        "part" => Part::Unique { before: "" },
        time if time.contains('%') => {
            if StrftimeItems::new(time).any(|item| matches!(item, Item::Error)) {
                return Err(
                    Error::config(format!("`{{{time}}}` is no strftime pattern"))
                        .hint("for example {%Y/%m/%d}"),
                );
            }
            Part::Time(time.to_owned())
        }
        other => {
            return Err(Error::config(format!("`{{{other}}}` is no placeholder"))
                .hint("there are {stream}, {table}, {date}, {hour}, {part}, and {%Y/%m/%d}"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> FilesSinkConfig {
        serde_json::from_value(serde_json::json!({ "url": url })).unwrap()
    }

    fn names(url: &str) -> (String, String, String) {
        let template = Template::parse(&config(url)).unwrap();
        let time = "2024-02-29T07:08:09Z".parse().unwrap();
        let name = template.name("shop.sales", time);
        (template.root, name.unique("U"), name.plain())
    }

    #[test]
    fn a_url_is_a_directory_and_a_name() {
        let check = |url: &str, root: &str, unique: &str| {
            let (found, key, _) = names(url);
            assert_eq!((found.as_str(), key.as_str()), (root, unique), "{url}");
        };
        check("out", "out", "part-U.ndjson");
        check("out/", "out", "part-U.ndjson");
        check("out/users.ndjson", "out", "users-U.ndjson");
        check("users.csv.gz", ".", "users-U.csv.gz");
        check("/a/{stream}", "/a", "shop.sales/part-U.ndjson");
        check(
            "/a/{table}_{date}.csv.gz",
            "/a",
            "sales_2024-02-29-U.csv.gz",
        );
        check(
            "/a/{stream}/{%Y/%m/%d}/x.json",
            "/a",
            "shop.sales/2024/02/29/x-U.json",
        );
        check("/a/x_{date}_{hour}.csv", "/a", "x_2024-02-29_07-U.csv");
        check(
            "file:///a/{date}/{part}-{stream}.csv",
            "file:///a",
            "2024-02-29/U-shop.sales.csv",
        );
        check("a.b/{stream}.json", "a.b", "shop.sales-U.json");
        assert_eq!(names("/a/x_{date}.csv").2, "x_2024-02-29.csv");
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let name = |url: &str, zone: &str, time: &str| {
            let config = serde_json::json!({ "url": url, "time_zone": zone });
            let template = Template::parse(&serde_json::from_value(config).unwrap()).unwrap();
            template.name("s", time.parse().unwrap()).unique("U")
        };
        let check = |zone: &str, time: &str, found: &str| {
            let url = "out/{%Y/%m/%d}/{hour}.csv";
            assert_eq!(name(url, zone, time), found, "{zone} {time}");
        };
        let midnight = "2024-03-01T00:30:00Z";
        check("UTC", midnight, "2024/03/01/00-U.csv");
        check("America/New_York", midnight, "2024/02/29/19-U.csv");
        check("Asia/Kolkata", midnight, "2024/03/01/06-U.csv");
        check("+14:00", midnight, "2024/03/01/14-U.csv");
        // The hour before the clocks go forward, and the two that have one name when they go back.
        check(
            "Europe/Berlin",
            "2024-03-31T00:59:59Z",
            "2024/03/31/01-U.csv",
        );
        check(
            "Europe/Berlin",
            "2024-03-31T01:00:00Z",
            "2024/03/31/03-U.csv",
        );
        check(
            "Europe/Berlin",
            "2024-10-27T00:30:00Z",
            "2024/10/27/02-U.csv",
        );
        check(
            "Europe/Berlin",
            "2024-10-27T01:30:00Z",
            "2024/10/27/02-U.csv",
        );
        check(
            "Europe/Berlin",
            "2024-12-31T23:00:00Z",
            "2025/01/01/00-U.csv",
        );
        let offset = name("out/{%H%M%z}.csv", "Europe/Berlin", "2024-07-01T12:00:00Z");
        assert_eq!(offset, "1400+0200-U.csv");
    }

    #[test]
    fn a_zone_that_is_unknown_or_unused_is_refused() {
        for (url, zone, said) in [
            (
                "out/{date}",
                "Europe/Berln",
                "`Europe/Berln` is no time zone",
            ),
            ("out/{date}", "", "`` is no time zone"),
            ("out/x.csv", "UTC", "`time_zone` is for a `url` with times"),
            (
                "out/{stream}",
                "UTC",
                "`time_zone` is for a `url` with times",
            ),
        ] {
            let config = serde_json::json!({ "url": url, "time_zone": zone });
            let config: FilesSinkConfig = serde_json::from_value(config).unwrap();
            let error = Template::parse(&config).unwrap_err();
            assert_eq!(error.kind(), tidegate_core::ErrorKind::Config, "{url}");
            let text = format!("{error:#}");
            assert!(text.contains(said), "{text}");
            assert!(text.contains("time_zone"), "{text}");
        }
    }

    #[test]
    fn only_names_made_here_are_recognised() {
        let template = Template::parse(&config("out/x.csv")).unwrap();
        let name = template.name("s", Utc::now());
        let sink = ComponentId::new("lake").unwrap();
        assert!(name.made("x-0123456789ab-abcdef012345-lake-7-0.csv", &sink));
        assert!(name.made("x-0123456789ab-abcdef012345-lake-7-2-0.csv", &sink));
        for other in [
            "x.csv",
            "x-1.csv",
            "x-0123456789ab-abcdef012345-lake-7-.csv",
            "x-0123456789ab-abcdef012345-lake-7-1-2-3.csv",
            "x-0123456789ab-abcdef012345-sea-7-0.csv",
            "y-0.csv",
        ] {
            assert!(!name.made(other, &sink), "{other}");
        }
    }

    #[test]
    fn directories_of_a_table_name_its_partition_keys() {
        let keys = |url: &str| Template::parse(&config(url)).unwrap().keys("shop.sales");
        assert!(keys("out").unwrap().is_empty());
        assert!(keys("out/{stream}.ndjson").unwrap().is_empty());
        assert_eq!(keys("out/date={date}/h={hour}").unwrap(), ["date", "h"]);
        assert_eq!(keys("out/of={stream}/x.csv").unwrap(), ["of"]);
        for url in [
            "out/{date}",
            "out/d={%Y/%m}/x.csv",
            "out/d={date}/{part}/x.csv",
        ] {
            assert!(keys(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for url in [
            "out/{strem}",
            "out/{date",
            "out/{%Q}",
            "out/{part}{part}.csv",
        ] {
            assert!(Template::parse(&config(url)).is_err(), "{url}");
        }
    }
}
