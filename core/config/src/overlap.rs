//! Components that meet at one place: sinks that replace each other's files, and a source that reads
//! what a sink of its own pipeline writes.

use std::path::Path;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::Node;
use crate::source::Place;

/// A component that reads or writes files.
struct AtPlace<'a> {
    id: &'a str,
    table: &'a Node,
    place: &'a Place,
    url: String,
}

/// Checks all files that a pipeline reads and writes; relative paths are relative to `base`.
pub(crate) fn check(root: &Node, base: &Path, out: &mut Diagnostics) {
    let sinks = of(root, "sinks", base);
    for (at, one) in sinks.iter().enumerate() {
        let same = |other: &&AtPlace<'_>| other.url == one.url && overwrites(other);
        let first = sinks[..at].iter().find(same);
        // Each input has a name of its own.
        let by_input = one.url.contains("{stream}") || one.url.contains("{table}");
        if let (Some(first), true, false) = (first, overwrites(one), by_input) {
            out.push(
                Diagnostic::new(
                    one.place.clone(),
                    "two sinks overwrite the files of one place",
                )
                .label(format!(
                    "`{}` would replace those of `{}`",
                    one.id, first.id
                ))
                .also(first.place.clone(), format!("`{}` writes here", first.id))
                .hint("give each its own `url`, or one sink all inputs"),
            );
        }
    }
    for source in of(root, "sources", base) {
        let readable = text(source.table, "type").is_some_and(|tag| tag == "files");
        let Some(sink) = sinks
            .iter()
            .find(|sink| readable && covers(&source.url, sink))
        else {
            continue;
        };
        out.push(
            Diagnostic::new(
                source.place.clone(),
                format!("`{}` would read what `{}` writes", source.id, sink.id),
            )
            .label("this pattern covers the sink's files")
            .also(sink.place.clone(), format!("`{}` writes here", sink.id))
            .hint("write into another directory, or use a narrower pattern"),
        );
    }
}

fn of<'a>(root: &'a Node, section: &str, base: &Path) -> Vec<AtPlace<'a>> {
    let tables = root.get(section).and_then(Node::as_table);
    let tables = tables.into_iter().flatten();
    let placed = tables.filter_map(|(id, entry)| {
        let url = entry.node.get("url").filter(|url| !url.is_broken())?;
        Some(AtPlace {
            id,
            table: &entry.node,
            place: &url.place,
            url: whole(&url.as_text()?.value, base)?,
        })
    });
    placed.collect()
}

/// A path or an address of S3 in one way of writing; `None` of what is no file.
fn whole(url: &str, base: &Path) -> Option<String> {
    let path = match url.split_once("://") {
        Some(("s3", rest)) => return Some(format!("s3://{}", rest.trim_end_matches('/'))),
        Some(("file", rest)) => rest,
        Some(_) => return None,
        None => url,
    };
    let joined = base.join(path);
    let steps = joined
        .components()
        .filter(|step| !matches!(step, std::path::Component::CurDir));
    let path: std::path::PathBuf = steps.collect();
    Some(path.to_string_lossy().into_owned())
}

fn text<'a>(table: &'a Node, key: &str) -> Option<&'a str> {
    table.get(key)?.as_text().map(|text| text.value.as_str())
}

fn overwrites(sink: &AtPlace<'_>) -> bool {
    text(sink.table, "mode").is_some_and(|mode| mode.starts_with("overwrite"))
}

/// Whether a pattern matches files that a sink makes.
fn covers(pattern: &str, sink: &AtPlace<'_>) -> bool {
    let url = without_placeholders(&sink.url);
    let (directory, name) = url.rsplit_once('/').unwrap_or(("", &url));
    let files = match name.split_once('.') {
        // A name is used as it stands, or has what tells files apart before its extension.
        Some((stem, extension)) => {
            vec![url.clone(), format!("{directory}/{stem}-x.{extension}")]
        }
        None => {
            let default = match text(sink.table, "type") {
                Some("parquet") => "parquet",
                _ => "ndjson",
            };
            let extension = text(sink.table, "format").unwrap_or(default);
            vec![format!("{url}/part-x.{extension}")]
        }
    };
    let pattern: Vec<_> = pattern.split('/').collect();
    let matches = |file: &String| steps_match(&pattern, &file.split('/').collect::<Vec<_>>());
    files.iter().any(matches)
}

/// `{date}`, `{part}`: any name.
fn without_placeholders(url: &str) -> String {
    let mut shown = String::new();
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        shown.push_str(before);
        shown.push('x');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    shown + rest
}

fn steps_match(pattern: &[&str], steps: &[&str]) -> bool {
    match (pattern, steps) {
        ([], []) => true,
        (["**", more @ ..], steps) => {
            (0..=steps.len()).any(|skipped| steps_match(more, &steps[skipped..]))
        }
        ([one, more @ ..], [step, rest @ ..]) => {
            let one: Vec<_> = one.chars().collect();
            let step: Vec<_> = step.chars().collect();
            name_matches(&one, &step) && steps_match(more, rest)
        }
        _ => false,
    }
}

fn name_matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', more @ ..], name) => {
            (0..=name.len()).any(|skipped| name_matches(more, &name[skipped..]))
        }
        (['?', more @ ..], [_, rest @ ..]) => name_matches(more, rest),
        ([one, more @ ..], [other, rest @ ..]) => one == other && name_matches(more, rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_directories() {
        fn split(path: &str) -> Vec<&str> {
            path.split('/').collect()
        }
        let matches = |pattern: &str, file: &str| steps_match(&split(pattern), &split(file));
        assert!(matches("d/**/*.csv", "d/out.csv"));
        assert!(matches("d/**/*.csv", "d/a/b/out.csv"));
        assert!(matches("d/o?t*.csv", "d/out-x.csv"));
        assert!(!matches("d/*.csv", "d/a/out.csv"));
        assert!(!matches("d/*.csv", "d/out.json"));
        assert!(!matches("d/a.csv", "d/b.csv"));
    }
}
