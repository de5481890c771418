//! Questions to a JSON Schema as schemars writes it.

use serde_json::{Value, json};
use tidegate_core::{ByteSize, Span};

use tidegate_core::suggest;

/// A schema within its document, whose `$defs` its references name.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    root: &'a Value,
    here: &'a Value,
}

impl<'a> Shape<'a> {
    /// The whole document.
    pub(crate) fn new(root: &'a Value) -> Self {
        Self { root, here: root }
    }

    /// Another schema of the same document.
    pub(crate) fn at(self, here: &'a Value) -> Self {
        Self {
            root: self.root,
            here,
        }
    }

    /// What stands at a JSON pointer of the document, such as an error's schema path.
    pub(crate) fn pointer(self, pointer: &str) -> Self {
        self.at(self.root.pointer(pointer).unwrap_or(&Value::Null))
    }

    /// The schema that a `$ref` (or a single `allOf`) names.
    pub(crate) fn resolved(self) -> Self {
        let mut here = self.here;
        // A chain of references that is longer than this goes round.
        for _ in 0..32 {
            let next = match (here["$ref"].as_str(), here["allOf"].as_array()) {
                (Some(reference), _) => reference
                    .strip_prefix('#')
                    .and_then(|pointer| self.root.pointer(pointer)),
                (None, Some(all)) if all.len() == 1 => all.first(),
                _ => None,
            };
            match next {
                Some(next) => here = next,
                None => break,
            }
        }
        self.at(here)
    }

    /// The alternatives, with nested ones flattened and `null` left out: TOML has none.
    pub(crate) fn branches(self) -> Vec<Self> {
        let mut found = Vec::new();
        self.collect_branches(&mut found, 0);
        found
    }

    fn collect_branches(self, found: &mut Vec<Self>, depth: usize) {
        let resolved = self.resolved();
        let alternatives = ["anyOf", "oneOf"]
            .iter()
            .find_map(|key| resolved.here[*key].as_array());
        match alternatives {
            Some(alternatives) if depth < 8 => {
                for alternative in alternatives {
                    self.at(alternative).collect_branches(found, depth + 1);
                }
            }
            _ if resolved.here["type"] == "null" => {}
            _ => found.push(resolved),
        }
    }

    /// What a key of former versions is called now, as `x-renamed` of its table says.
    pub(crate) fn renamed(self, key: &str) -> Option<&'a str> {
        self.here["x-renamed"][key].as_str()
    }

    /// A keyword's value.
    pub(crate) fn keyword(self, name: &str) -> &'a Value {
        &self.here[name]
    }

    /// The JSON types it admits by name; empty if it says nothing.
    pub(crate) fn types(self) -> Vec<&'a str> {
        match &self.here["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null")
                .collect(),
            _ if self.here.get("properties").is_some() => vec!["object"],
            _ if self.literals().is_some() => vec!["string"],
            _ => Vec::new(),
        }
    }

    /// The strings it admits, if it admits only certain ones.
    pub(crate) fn literals(self) -> Option<Vec<&'a str>> {
        if let Some(one) = self.here["const"].as_str() {
            return Some(vec![one]);
        }
        let several = self.here["enum"].as_array()?;
        let strings: Vec<_> = several.iter().filter_map(Value::as_str).collect();
        let others = several.iter().filter(|value| !value.is_null()).count();
        (strings.len() == others).then_some(strings)
    }

    /// Whether a value of this JSON type may fit.
    pub(crate) fn admits(self, kind: &str) -> bool {
        let types = self.types();
        types.is_empty()
            || types.contains(&kind)
            || (kind == "integer" && types.contains(&"number"))
    }

    /// The keys of a table of this schema.
    pub(crate) fn keys(self) -> Vec<&'a str> {
        self.here["properties"]
            .as_object()
            .into_iter()
            .flat_map(|properties| properties.keys().map(String::as_str))
            .collect()
    }

    /// The schema of a key.
    pub(crate) fn property(self, key: &str) -> Option<Self> {
        let named = self.here["properties"].get(key);
        let other = || {
            self.here
                .get("additionalProperties")
                .filter(|s| s.is_object())
        };
        Some(self.at(named.or_else(other)?))
    }

    /// The schema of an array's item.
    pub(crate) fn item(self, index: usize) -> Option<Self> {
        let by_position = self.here["prefixItems"].get(index);
        Some(self.at(by_position.or_else(|| self.here.get("items"))?))
    }

    fn requires(self, key: &str) -> bool {
        self.here["required"]
            .as_array()
            .is_some_and(|required| required.iter().any(|name| name == key))
    }

    /// The key that a variant of an externally tagged enum is told by: `{ env = "…" }`.
    pub(crate) fn variant(self) -> Option<&'a str> {
        match self.keys().as_slice() {
            // A tag alone is that of a variant without keys of its own.
            [key] if self.requires(key) && self.tag().is_none() => Some(key),
            _ => None,
        }
    }

    /// The key and text that a variant of an internally tagged enum is told by: `type = "glue"`.
    pub(crate) fn tag(self) -> Option<(&'a str, &'a str)> {
        let properties = self.here["properties"].as_object()?;
        properties.iter().find_map(|(key, schema)| {
            let text = schema["const"].as_str()?;
            self.requires(key).then_some((key.as_str(), text))
        })
    }

    /// Whether it is [`tidegate_core::Secret`]: `{ env = … }` or `{ file = … }`.
    pub(crate) fn is_secret(self) -> bool {
        let mut variants: Vec<_> = self.branches().iter().map(|one| one.variant()).collect();
        variants.sort_unstable();
        variants == [Some("env"), Some("file")]
    }

    /// All strings it admits, over its alternatives, if it admits only certain ones.
    pub(crate) fn choices(self) -> Option<Vec<&'a str>> {
        let all: Option<Vec<_>> = self.branches().iter().map(|one| one.literals()).collect();
        all.map(|all| all.concat()).filter(|all| !all.is_empty())
    }

    /// What it admits, in words: `an integer`, `` one of `zstd`, `none` ``.
    pub(crate) fn describe(self) -> String {
        if self.is_secret() {
            return "a secret: { env = \"NAME\" } or { file = \"PATH\" }".to_owned();
        }
        if let Some(literals) = self.choices() {
            return match literals.as_slice() {
                [one] => format!("`{one}`"),
                several => format!("one of {}", suggest::quoted(several.iter().copied())),
            };
        }
        let mut words: Vec<String> = Vec::new();
        for branch in self.branches() {
            let word = branch.describe_one();
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(" or ")
    }

    fn describe_one(self) -> String {
        if let Some(unit) = self.unit() {
            return unit.describe();
        }
        if self.literals().is_some() {
            return self.describe_literals();
        }
        let words: Vec<_> = self
            .types()
            .into_iter()
            .map(|kind| match kind {
                "string" => "a string".to_owned(),
                "integer" => "an integer".to_owned(),
                "number" => "a number".to_owned(),
                "boolean" => "`true` or `false`".to_owned(),
                "array" => match self.item(0).map(|item| item.branches()) {
                    Some(items) if items.iter().all(|item| item.types() == ["string"]) => {
                        "an array of strings".to_owned()
                    }
                    Some(items) if items.iter().all(|item| item.types() == ["object"]) => {
                        "an array of tables".to_owned()
                    }
                    _ => "an array".to_owned(),
                },
                _ => match self.variant() {
                    Some(key) => format!("{{ {key} = … }}"),
                    None => "a table".to_owned(),
                },
            })
            .collect();
        if words.is_empty() {
            "another value".to_owned()
        } else {
            words.join(" or ")
        }
    }

    fn describe_literals(self) -> String {
        let literals = self.literals().unwrap_or_default();
        suggest::quoted(literals).replace(", ", " or ")
    }

    /// The human unit it is written in.
    pub(crate) fn unit(self) -> Option<Unit> {
        Unit::of(self.here["format"].as_str()?)
    }

    /// The first sentence of its documentation.
    pub(crate) fn summary(self) -> Option<String> {
        let text = self.here["description"]
            .as_str()
            .or_else(|| self.resolved().here["description"].as_str())?;
        let paragraph = text.split("\n\n").next()?.replace('\n', " ");
        let sentence = paragraph.split(". ").next()?.trim().trim_end_matches('.');
        (!sentence.is_empty()).then(|| sentence.to_owned())
    }
}

/// A quantity written for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Size,
    Span,
}

impl Unit {
    /// The unit of a schema's `format`, as `tidegate-core` names it.
    pub(crate) fn of(format: &str) -> Option<Self> {
        match format {
            "size" => Some(Self::Size),
            "time span" => Some(Self::Span),
            _ => None,
        }
    }

    pub(crate) fn accepts(self, text: &str) -> bool {
        match self {
            Self::Size => text.parse::<ByteSize>().is_ok(),
            Self::Span => text.parse::<Span>().is_ok(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Size => "a size",
            Self::Span => "a duration",
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Size => "sizes are written like \"5 MB\" or \"64 MiB\"",
            Self::Span => "durations are written like \"500ms\", \"60s\" or \"1h 30m\"",
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Size => "a size such as \"5 MB\"".to_owned(),
            Self::Span => "a duration such as \"60s\"".to_owned(),
        }
    }
}

/// Closes what schemars leaves open: the ranges of integer types, which serde would refuse later
/// and without a place. Formats other than ours are left out: they are promises, not rules.
pub(crate) fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let format = map.get("format").and_then(Value::as_str).map(str::to_owned);
            if let Some(format) = format {
                let range = match format.as_str() {
                    "uint8" => Some((json!(0), json!(u8::MAX))),
                    "uint16" => Some((json!(0), json!(u16::MAX))),
                    "uint32" => Some((json!(0), json!(u32::MAX))),
                    "uint" | "uint64" => Some((json!(0), json!(u64::MAX))),
                    "int8" => Some((json!(i8::MIN), json!(i8::MAX))),
                    "int16" => Some((json!(i16::MIN), json!(i16::MAX))),
                    "int32" => Some((json!(i32::MIN), json!(i32::MAX))),
                    _ => None,
                };
                if let Some((least, most)) = range {
                    map.entry("minimum").or_insert(least);
                    map.entry("maximum").or_insert(most);
                }
                match Unit::of(&format) {
                    // The real parser decides, not the pattern that is there for editors.
                    Some(_) => map.remove("pattern"),
                    None => map.remove("format"),
                };
            }
            map.values_mut().for_each(tighten);
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_with_nothing_but_its_tag_is_told_by_that() {
        let schema = json!({ "type": "object", "required": ["type"],
            "properties": { "type": { "type": "string", "const": "none" } } });
        assert_eq!(Shape::new(&schema).tag(), Some(("type", "none")));
        assert_eq!(
            Shape::new(&schema).variant(),
            None,
            "or `type` would mean it"
        );
        let schema = json!({ "type": "object", "required": ["env"],
            "properties": { "env": { "type": "string" } } });
        assert_eq!(Shape::new(&schema).variant(), Some("env"));
    }
}
