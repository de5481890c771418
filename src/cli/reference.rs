//! A component's documentation, written from its JSON Schema.

use owo_colors::OwoColorize;
use serde_json::Value;
use tidegate::core::ByteSize;
use tidegate::core::registry::Registration;

use super::lines;

/// How far a key's text stands in from its name.
const INDENT: usize = 4;

/// What a component is, and its keys with those of the tables in them.
pub(crate) fn of(entry: &Registration, color: bool, width: usize) -> String {
    let root = entry.schema();
    let mut page = Page {
        root: &root,
        color,
        width,
        text: String::new(),
    };
    let title = page.strong(&format!("{} ({})", entry.tag(), entry.kind()));
    page.text = format!("{title}\n");
    page.paragraph(0, root["description"].as_str());
    if root["properties"].is_object() {
        page.text.push_str(&format!("\n{}\n", page.strong("Keys")));
        page.keys(INDENT / 2, &root, None);
    }
    page.text
}

struct Page<'a> {
    root: &'a Value,
    color: bool,
    /// The longest line, where words allow.
    width: usize,
    text: String,
}

impl<'a> Page<'a> {
    fn strong(&self, text: &str) -> String {
        if self.color {
            text.bold().to_string()
        } else {
            text.to_owned()
        }
    }

    fn paragraph(&mut self, indent: usize, text: Option<&str>) {
        let text = lines::reflowed(text.unwrap_or_default(), indent, self.width);
        self.text.push_str(&text);
    }

    /// The keys of a table, but `without`, which tells one kind of table from another.
    fn keys(&mut self, indent: usize, table: &'a Value, without: Option<&str>) {
        let Some(keys) = table["properties"].as_object() else {
            return;
        };
        for (key, value) in keys.iter().filter(|(key, _)| Some(key.as_str()) != without) {
            let mut facts = vec![self.type_name(value)];
            let required = table["required"].as_array();
            if required.is_some_and(|required| required.iter().any(|name| name == key)) {
                facts.push("required".to_owned());
            }
            facts.extend(default(value));
            let facts = format!("({})", facts.join(", "));
            let come = indent + key.chars().count() + 2;
            let facts = lines::wrapped(&facts, come, indent + INDENT, self.width);
            let title = format!("{:indent$}{}  {facts}\n", "", self.strong(key));
            self.text.push_str(&title);
            self.paragraph(indent + INDENT, value["description"].as_str());
            self.inside(indent + INDENT, self.resolve(value));
        }
    }

    /// What can stand in a value: the keys of a table, the kinds of tables, the words of a choice.
    fn inside(&mut self, indent: usize, value: &'a Value) {
        if value["properties"].is_object() {
            return self.keys(indent, value, None);
        }
        let Some(kinds) = value["oneOf"].as_array() else {
            return;
        };
        for kind in kinds {
            if let Some(word) = kind.get("const") {
                let about = kind["description"]
                    .as_str()
                    .unwrap_or_default()
                    .replace('\n', " ");
                if !about.is_empty() {
                    let line = format!("- {word}: {about}");
                    self.text
                        .push_str(&lines::reflowed(&line, indent, self.width));
                }
            } else if let Some((tag, word)) = tag_of(kind) {
                let title = self.strong(&format!("{tag} = {word}"));
                self.text.push_str(&format!("{:indent$}{title}\n", ""));
                self.paragraph(indent + INDENT, kind["description"].as_str());
                self.keys(indent + INDENT, kind, Some(tag));
            }
        }
    }

    /// The schema that a value is about in the end: of its elements, behind references, without
    /// the possibility of null.
    fn resolve(&self, value: &'a Value) -> &'a Value {
        if let Some(target) = self.target(value) {
            return self.resolve(target);
        }
        if value["items"].is_object() {
            return self.resolve(&value["items"]);
        }
        let mut options = value["anyOf"].as_array().into_iter().flatten();
        match options.find(|option| option["type"] != "null") {
            Some(option) => self.resolve(option),
            None => value,
        }
    }

    fn target(&self, value: &Value) -> Option<&'a Value> {
        self.root
            .pointer(value["$ref"].as_str()?.strip_prefix('#')?)
    }

    /// A value's type in a few words.
    fn type_name(&self, value: &Value) -> String {
        if let Some(target) = self.target(value) {
            return self.type_name(target);
        }
        match value["format"].as_str() {
            Some("size") => return "size".to_owned(),
            Some("time span") => return "duration".to_owned(),
            _ => {}
        }
        if let Some(options) = value["enum"].as_array() {
            let words = options.iter().filter(|option| !option.is_null());
            return words.map(Value::to_string).collect::<Vec<_>>().join(" | ");
        }
        if let Some(constant) = value.get("const") {
            return constant.to_string();
        }
        for alternatives in ["anyOf", "oneOf", "allOf"] {
            if let Some(options) = value[alternatives].as_array() {
                let mut names: Vec<String> = options
                    .iter()
                    .filter(|option| option["type"] != "null")
                    .map(|option| self.type_name(option))
                    .collect();
                names.dedup();
                return names.join(" | ");
            }
        }
        let names: Vec<&str> = match &value["type"] {
            Value::String(name) => vec![name.as_str()],
            Value::Array(names) => names
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null")
                .collect(),
            _ => vec!["any"],
        };
        let words = names.into_iter().map(|name| match name {
            "object" => "table".to_owned(),
            "array" => match self.type_name(&value["items"]).as_str() {
                item @ ("table" | "string" | "integer" | "number") => format!("array of {item}s"),
                item => format!("array of {item}"),
            },
            other => other.to_owned(),
        });
        words.collect::<Vec<_>>().join(" or ")
    }
}

/// The key that tells a kind of table from the others, and its word.
fn tag_of(table: &Value) -> Option<(&str, &Value)> {
    let mut keys = table["properties"].as_object()?.iter();
    keys.find_map(|(key, value)| Some((key.as_str(), value.get("const")?)))
}

/// A default that a user would write; the keys of a table have their own.
fn default(value: &Value) -> Option<String> {
    let default = value.get("default")?;
    match default {
        Value::Null | Value::Object(_) => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Number(bytes) if value["format"] == "size" => Some(format!(
            "default \"{}\"",
            ByteSize(bytes.as_u64()?).to_string().replace(".0 ", " ")
        )),
        other => Some(format!("default {other}")),
    }
}
