//! Where things stand in a pipeline file, for errors that come after loading.

use std::ops::Range;
use std::sync::Arc;

use tidegate_core::{Error, PipelineSpec};

use crate::diagnostic::Diagnostic;
use crate::node::{Data, Node};
use crate::redact::{self, Redacted};
use crate::source::{Place, SourceText};

/// A loaded pipeline file with the places of all its values.
#[derive(Debug, Clone)]
pub struct Document {
    root: Node,
    file: Arc<SourceText>,
    /// `(component, its path)`: `("weekly", "transforms.weekly")`.
    components: Vec<(String, String)>,
}

/// A place in a pipeline file, or in what else a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file's name; for values from elsewhere `--set sinks.out.url` or the variable's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The range in the file, in bytes.
    pub span: Range<usize>,
}

impl From<&Place> for Location {
    fn from(place: &Place) -> Self {
        let (line, column) = place.position();
        Self {
            file: place.source.name.clone(),
            line,
            column,
            span: place.span.clone(),
        }
    }
}

impl Document {
    pub(crate) fn new(root: Node, file: Arc<SourceText>, spec: &PipelineSpec) -> Self {
        let components = spec
            .components
            .iter()
            .map(|one| (one.id.to_string(), format!("{}s.{}", one.kind, one.id)))
            .collect();
        Self {
            root,
            file,
            components,
        }
    }

    /// Where a value stands: `transforms.weekly.query`, `sinks.out.columns.0.name`; of a table
    /// with a header, the header.
    pub fn locate(&self, path: &str) -> Option<Location> {
        self.node(path).map(|node| Location::from(&node.place))
    }

    /// Where a position inside a string value stands. `line` and `column` (in characters) count
    /// from 1 within the value, after escapes and variables were put in.
    pub fn locate_in(&self, path: &str, line: usize, column: usize) -> Option<Location> {
        let place = inside(self.node(path)?, line, column)?;
        Some(Location::from(&place))
    }

    /// An error of a component, shown at its place in the file.
    ///
    /// The error's context says where: `("key", "query")` names a key of the component, and
    /// `("line", 3)`, `("column", 14)` a position within that key's text. Without them it is shown
    /// at the component's header.
    pub fn explain(&self, component: &str, error: &Error) -> Diagnostic {
        let path = self.components.iter().find(|(id, _)| id == component);
        match path.and_then(|(_, path)| self.node(path)) {
            Some(node) => explain(node, error),
            None => message_of(Diagnostic::of_file(&self.file, sentence(error)), error),
        }
    }

    fn node(&self, path: &str) -> Option<&Node> {
        descend(&self.root, path)
    }
}

/// An error about a text that stands in no pipeline file (a query on the command line), at the place
/// that its context names: `("line", 3)`, `("column", 14)`. `None` if it names none.
pub fn explain_text(name: &str, text: &str, error: &Error) -> Option<Diagnostic> {
    let number = |name| {
        let mut pairs = error.context().iter();
        let found = pairs.find_map(|(key, value)| (*key == name).then_some(value));
        found.and_then(|value| value.parse::<usize>().ok())
    };
    let line = number("line")?;
    let range = word(text, line, number("column").unwrap_or(1))?;
    let place = SourceText::file(name, text, 0).place(range);
    Some(message_of(Diagnostic::new(place, sentence(error)), error))
}

pub(crate) fn descend<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('.')
        .try_fold(node, |node, step| node.child(step))
}

/// The path of the key that an error is about.
pub(crate) fn key_of(error: &Error) -> Option<&str> {
    let mut pairs = error.context().iter();
    pairs.find_map(|(name, value)| (*name == "key").then_some(value.as_str()))
}

/// An error about a component's table, at the place that its context names.
pub(crate) fn explain(table: &Node, error: &Error) -> Diagnostic {
    explain_at(table, key_of(error), error)
}

/// The same with the key that it is about.
pub(crate) fn explain_at(table: &Node, key: Option<&str>, error: &Error) -> Diagnostic {
    let context = |name| {
        let mut pairs = error.context().iter();
        pairs.find_map(|(key, value)| (*key == name).then_some(value.as_str()))
    };
    let number = |name| context(name).and_then(|text| text.parse::<usize>().ok());
    let node = key.and_then(|key| descend(table, key));
    let place = match node {
        None => table.place.first_line(),
        Some(node) => number("line")
            .and_then(|line| inside(node, line, number("column").unwrap_or(1)))
            .unwrap_or_else(|| node.place.first_line()),
    };
    message_of(Diagnostic::new(place, sentence(error)), error)
}

fn message_of(diagnostic: Diagnostic, error: &Error) -> Diagnostic {
    diagnostic.maybe_hint(error.hint_text().map(str::to_owned))
}

/// The error, what it says of the place left out, and its causes.
fn sentence(error: &Error) -> String {
    let mut text = error.message().to_owned();
    let context: Vec<_> = error
        .context()
        .iter()
        .filter(|(key, _)| !matches!(*key, "component" | "key" | "line" | "column"))
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    if !context.is_empty() {
        text.push_str(&format!(" ({})", context.join(", ")));
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(&format!(": {more}"));
        }
        cause = error.source();
    }
    // A component may quote a URL with its password, put in by a variable.
    Redacted::new(&text, &redact::scan(&text)).text
}

/// The word at a position of a text, in bytes; empty where there is none.
fn word(text: &str, line: usize, column: usize) -> Option<Range<usize>> {
    let mut start = 0;
    for _ in 1..line {
        start += text[start..].find('\n')? + 1;
    }
    let rest = text[start..].split('\n').next().unwrap_or_default();
    let skipped = rest.char_indices().nth(column.saturating_sub(1));
    let at = start + skipped.map_or(rest.len(), |(offset, _)| offset);
    let length = text[at..]
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len() - at);
    Some(at..at + length)
}

/// The word at a position inside a string value.
fn inside(node: &Node, line: usize, column: usize) -> Option<Place> {
    let Data::Text(text) = &node.data else {
        return None;
    };
    let found = word(&text.value, line, column)?;
    let from = text.map.offset(found.start);
    let to = text.map.offset(found.end.max(found.start + 1)).max(from);
    // A word that came out of a variable stands where the variable does.
    let to = if to == from { from + 1 } else { to };
    Some(node.place.part(from..to.min(node.place.span.end)))
}
