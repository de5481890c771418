//! A JSON Schema as tables of keys.

use std::cell::RefCell;
use std::fmt::Write as _;

use serde_json::Value;

/// The keys of a schema, and of what it refers to.
pub(crate) struct Keys<'a> {
    root: &'a Value,
    /// Where units are explained.
    units: &'a str,
    /// Definitions to be told below, in the order in which they were met.
    met: RefCell<Vec<String>>,
}

/// A schema's description, its lines joined within paragraphs; code and tables stay as they are.
pub(crate) fn text(schema: &Value) -> String {
    let paragraphs = schema["description"]
        .as_str()
        .unwrap_or_default()
        .trim()
        .split("\n\n");
    let mut in_code = false;
    let paragraphs = paragraphs.map(|paragraph| {
        let as_it_is = in_code || paragraph.starts_with("```") || paragraph.starts_with('|');
        // Code continues over empty lines.
        in_code ^= paragraph.matches("```").count() % 2 == 1;
        match as_it_is {
            true => paragraph.to_owned(),
            false => paragraph.replace('\n', " "),
        }
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

impl<'a> Keys<'a> {
    pub(crate) fn new(root: &'a Value, units: &'a str) -> Self {
        Self {
            root,
            units,
            met: RefCell::default(),
        }
    }

    /// The root's own keys under `heading`, then a section for each definition.
    pub(crate) fn sections(&self, heading: &str) -> String {
        let mut page = format!("{heading}\n\n{}\n", self.table(self.root));
        let mut told = 0;
        loop {
            let next = self.met.borrow().get(told).cloned();
            let Some(name) = next else {
                return page.trim_end().to_owned() + "\n";
            };
            told += 1;
            let schema = &self.root["$defs"][&name];
            let _ = write!(
                page,
                "### {}\n\n{}\n\n{}\n",
                short(&name),
                text(schema),
                self.body(schema)
            );
        }
    }

    fn body(&self, schema: &Value) -> String {
        if schema["properties"].is_object() {
            return self.table(schema);
        }
        if let Some(values) = schema["enum"].as_array() {
            return values
                .iter()
                .map(|value| format!("- `{value}`\n"))
                .collect();
        }
        if schema["type"] == "array" {
            return format!("Type: {}.\n", self.type_of(schema));
        }
        let mut body = String::new();
        for variant in schema["oneOf"].as_array().into_iter().flatten() {
            match (variant.get("const"), variant["properties"].as_object()) {
                (Some(value), _) => {
                    let _ = writeln!(body, "- `{value}`: {}", text(variant));
                }
                (None, Some(properties)) => {
                    let constant = properties
                        .iter()
                        .find_map(|(key, value)| Some((key, value.get("const")?)));
                    if let Some((key, value)) = constant {
                        let _ = write!(body, "**`{key} = {value}`**: ");
                    }
                    let _ = write!(body, "{}\n\n{}\n", text(variant), self.table(variant));
                }
                _ => {}
            }
        }
        body
    }

    fn table(&self, schema: &Value) -> String {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let Some(properties) = schema["properties"].as_object() else {
            return String::new();
        };
        if properties.is_empty() {
            return "It has no keys of its own.\n".to_owned();
        }
        let mut table =
            String::from("| key | type | default | what it says |\n|---|---|---|---|\n");
        for (key, value) in properties
            .iter()
            .filter(|(_, value)| value.get("const").is_none())
        {
            let default = if required.contains(&Value::from(key.as_str())) {
                "*required*".to_owned()
            } else {
                default(value)
            };
            let says = text(value).replace("\n\n", "<br><br>");
            let cells = [format!("`{key}`"), self.type_of(value), default, says];
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
        table
    }

    fn type_of(&self, schema: &Value) -> String {
        if let Some(name) = schema["$ref"]
            .as_str()
            .and_then(|path| path.strip_prefix("#/$defs/"))
        {
            let mut met = self.met.borrow_mut();
            if !met.iter().any(|known| known == name) {
                met.push(name.to_owned());
            }
            return format!("[{0}](#{1})", short(name), short(name).to_lowercase());
        }
        if let Some(format) = schema["format"].as_str()
            && ["size", "time span"].contains(&format)
        {
            return format!("[{format}]({})", self.units);
        }
        for alternatives in ["anyOf", "oneOf"] {
            if let Some(options) = schema[alternatives].as_array() {
                let options = options.iter().filter(|option| option["type"] != "null");
                let constants: Vec<_> = options
                    .clone()
                    .filter_map(|o| o.get("const"))
                    .map(|c| format!("`{c}`"))
                    .collect();
                if !constants.is_empty() {
                    return constants.join(", ");
                }
                return options
                    .map(|option| self.type_of(option))
                    .collect::<Vec<_>>()
                    .join(" or ");
            }
        }
        let names: Vec<&str> = match &schema["type"] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => vec!["anything"],
        };
        let words = names
            .into_iter()
            .filter(|name| *name != "null")
            .map(|name| match name {
                "object" => "table".to_owned(),
                "string" => "text".to_owned(),
                "array" => format!("array of {}", self.type_of(&schema["items"])),
                other => other.to_owned(),
            });
        words.collect::<Vec<_>>().join(" or ")
    }
}

/// A definition's name without the component's that it is of.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A default as one would write it in the file.
fn default(schema: &Value) -> String {
    match schema.get("default") {
        None | Some(Value::Null | Value::Object(_)) => String::new(),
        Some(Value::Number(number)) if schema["format"] == "size" => {
            let bytes = number.as_u64().unwrap_or_default();
            match (bytes % (1 << 20), bytes % 1_000_000) {
                (0, _) => format!("`\"{} MiB\"`", bytes >> 20),
                (_, 0) => format!("`\"{} MB\"`", bytes / 1_000_000),
                _ => format!("`{bytes}`"),
            }
        }
        Some(value) => format!("`{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_told_with_type_default_and_what_they_refer_to() {
        let schema = json!({
            "properties": {
                "url": { "type": "string", "description": "Where\nit is." },
                "size": { "type": ["string", "integer"], "format": "size", "default": 2 << 20 },
                "mode": { "anyOf": [{ "$ref": "#/$defs/Mode" }, { "type": "null" }], "default": null },
            },
            "required": ["url"],
            "$defs": { "Mode": {
                "description": "How.",
                "oneOf": [{ "const": "append", "description": "They stay." }],
            } },
        });
        let page = Keys::new(&schema, "units.md").sections("## Keys");
        assert!(
            page.contains("| `url` | text | *required* | Where it is. |"),
            "{page}"
        );
        assert!(
            page.contains("| `size` | [size](units.md) | `\"2 MiB\"` |  |"),
            "{page}"
        );
        assert!(page.contains("| `mode` | [Mode](#mode) |  |  |"), "{page}");
        assert!(
            page.contains("### Mode\n\nHow.\n\n- `\"append\"`: They stay."),
            "{page}"
        );
    }
}
