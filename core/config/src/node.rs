//! Values with their places and in their order: what figment's dictionaries lose.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Number, Value};

use crate::source::{Place, SourceText};
use crate::text::TextMap;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The value; of a table with a header, the header.
    pub(crate) place: Place,
    pub(crate) data: Data,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    Text(Text),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Array(Vec<Node>),
    Table(Table),
}

pub(crate) type Table = IndexMap<String, Entry>;

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) node: Node,
}

impl Entry {
    /// Whether the key or something of the value stands at this place.
    pub(crate) fn meets(&self, place: &Place) -> bool {
        self.key.meets(place) || self.node.meets(place)
    }
}

#[derive(Clone)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) map: TextMap,
    pub(crate) reading: Reading,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} text", self.reading)
    }
}

/// What is known of a text's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is a string of the file.
    String,
    /// It is a string of the file with a variable in it.
    Interpolated,
    /// It becomes what its key wants (`--set`, the environment, a value that is one `${…}` whole).
    Open,
    /// It could not be read, and that was told: nothing more is said about it.
    Broken,
}

impl Node {
    pub(crate) fn text(place: Place, value: impl Into<String>, reading: Reading) -> Self {
        let map = TextMap::verbatim(place.span.start);
        let value = value.into();
        Self {
            place,
            data: Data::Text(Text {
                value,
                map,
                reading,
            }),
        }
    }

    pub(crate) fn table(place: Place) -> Self {
        Self {
            place,
            data: Data::Table(Table::new()),
        }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.data {
            Data::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn as_table_mut(&mut self) -> Option<&mut Table> {
        match &mut self.data {
            Data::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&Text> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.as_table()?.get(key).map(|entry| &entry.node)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.as_text()
            .is_some_and(|text| text.reading == Reading::Broken)
    }

    /// One step down: a key of a table, or an index of an array.
    pub(crate) fn child(&self, step: &str) -> Option<&Node> {
        match &self.data {
            Data::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => self.get(step),
        }
    }

    /// Whether it, or a key or value in it, stands at this place.
    pub(crate) fn meets(&self, place: &Place) -> bool {
        let within = match &self.data {
            Data::Array(items) => items.iter().any(|item| item.meets(place)),
            Data::Table(table) => table.values().any(|entry| entry.meets(place)),
            _ => false,
        };
        within || self.place.meets(place)
    }

    /// What it is, as an error names it.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Text(_) => "a string",
            Data::Integer(_) => "an integer",
            Data::Float(_) => "a number",
            Data::Bool(_) => "a boolean",
            Data::Array(_) => "an array",
            Data::Table(_) => "a table",
        }
    }

    /// The value without its places. Numbers that JSON doesn't have become `null`; the check
    /// refuses them before.
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Text(text) => Value::String(text.value.clone()),
            Data::Integer(number) => Value::Number((*number).into()),
            Data::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Data::Bool(flag) => Value::Bool(*flag),
            Data::Array(items) => items.iter().map(Self::to_json).collect(),
            Data::Table(table) => table
                .iter()
                .map(|(key, entry)| (key.clone(), entry.node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// Calls `f` on every node, parents first.
    pub(crate) fn visit_mut(&mut self, f: &mut impl FnMut(&mut Node)) {
        f(self);
        match &mut self.data {
            Data::Array(items) => items.iter_mut().for_each(|item| item.visit_mut(f)),
            Data::Table(table) => table.values_mut().for_each(|entry| entry.node.visit_mut(f)),
            _ => {}
        }
    }
}

/// The tree of a parsed document.
pub(crate) fn of_document(document: &toml_edit::Document<&str>, source: &Arc<SourceText>) -> Node {
    let mut root = of_table(document.as_table(), source, source.place(0..0));
    root.place = source.place(0..0);
    root
}

fn of_table(table: &toml_edit::Table, source: &Arc<SourceText>, fallback: Place) -> Node {
    // A table that no header names (`sinks`, of `[sinks.out]`) has no place of its own.
    let place = table
        .span()
        .map_or(fallback, |span| source.place(span).first_line());
    let entries = table
        .iter()
        .filter_map(|(name, item)| Some((table.key(name)?, item)))
        .filter_map(|(key, item)| entry(key, item, source))
        .collect();
    Node {
        place,
        data: Data::Table(entries),
    }
}

fn entry(
    key: &toml_edit::Key,
    item: &toml_edit::Item,
    source: &Arc<SourceText>,
) -> Option<(String, Entry)> {
    let place = source.place(key.span().unwrap_or_default());
    let node = match item {
        toml_edit::Item::None => return None,
        toml_edit::Item::Value(value) => of_value(value, source, &place),
        toml_edit::Item::Table(table) => of_table(table, source, place.clone()),
        toml_edit::Item::ArrayOfTables(tables) => Node {
            place: place.clone(),
            data: Data::Array(
                tables
                    .iter()
                    .map(|table| of_table(table, source, place.clone()))
                    .collect(),
            ),
        },
    };
    Some((key.get().to_owned(), Entry { key: place, node }))
}

/// The tree of one value; `fallback` is its place if it doesn't know it.
pub(crate) fn of_value(
    value: &toml_edit::Value,
    source: &Arc<SourceText>,
    fallback: &Place,
) -> Node {
    let place = value
        .span()
        .map_or_else(|| fallback.clone(), |span| source.place(span));
    let data = match value {
        toml_edit::Value::String(text) => Data::Text(Text {
            map: TextMap::of_literal(place.text(), place.span.start, text.value()),
            value: text.value().clone(),
            reading: Reading::String,
        }),
        toml_edit::Value::Integer(number) => Data::Integer(*number.value()),
        toml_edit::Value::Float(number) => Data::Float(*number.value()),
        toml_edit::Value::Boolean(flag) => Data::Bool(*flag.value()),
        // JSON has no dates, and components take them as strings.
        toml_edit::Value::Datetime(date) => Data::Text(Text {
            value: date.value().to_string(),
            map: TextMap::verbatim(place.span.start),
            reading: Reading::String,
        }),
        toml_edit::Value::Array(items) => Data::Array(
            items
                .iter()
                .map(|item| of_value(item, source, &place))
                .collect(),
        ),
        toml_edit::Value::InlineTable(table) => Data::Table(
            table
                .iter()
                .filter_map(|(name, value)| {
                    let key = table.key(name)?;
                    let at = key
                        .span()
                        .map_or_else(|| place.clone(), |span| source.place(span));
                    let node = of_value(value, source, &at);
                    Some((name.to_owned(), Entry { key: at, node }))
                })
                .collect(),
        ),
    };
    Node { place, data }
}
