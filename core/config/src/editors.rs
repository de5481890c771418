//! The JSON Schema of pipeline files as editors need it.
//!
//! Components check what has become of the variables; an editor sees `rows = "${ROWS}"` itself. And
//! where one of several alternatives must fit, an editor says of a misspelt key only that none does:
//! so the alternative is chosen by its tag, and what is wrong within it is said where it stands.

use serde_json::{Map, Value, json};

/// A text that is one variable whole: it becomes what its key wants.
const WHOLE: &str = r"^\$\{.*\}$";
/// A text with a variable in it.
const WITHIN: &str = r"\$\{";

/// Has all of a schema take variables where the loader does, and leaves `null` out, which TOML has not.
pub(crate) fn with_variables(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    for key in ["properties", "$defs"] {
        if let Some(Value::Object(inner)) = map.get_mut(key) {
            inner.values_mut().for_each(with_variables);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            with_variables(inner);
        }
    }
    if let Some(Value::Array(items)) = map.get_mut("prefixItems") {
        items.iter_mut().for_each(with_variables);
    }
    leave_null_out(map);
    match ["oneOf", "anyOf"]
        .into_iter()
        .find(|key| map.contains_key(*key))
    {
        Some(key) => alternatives(map, key),
        None => value(map),
    }
}

fn leave_null_out(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            map.insert("type".to_owned(), one);
        }
    }
    for key in ["oneOf", "anyOf"] {
        let Some(Value::Array(all)) = map.get_mut(key) else {
            continue;
        };
        all.retain(|one| one["type"] != "null");
        if let [Value::Object(_)] = all.as_slice()
            && let Some(Value::Object(one)) = all.pop()
        {
            map.remove(key);
            for (key, value) in one {
                map.entry(key).or_insert(value);
            }
        }
    }
    if map.get("default") == Some(&Value::Null) {
        map.remove("default");
    }
}

/// A value with alternatives: of one tag, it is chosen by that.
fn alternatives(map: &mut Map<String, Value>, key: &str) {
    let Some(Value::Array(mut all)) = map.remove(key) else {
        return;
    };
    if all.iter().all(|one| one["const"].is_string()) {
        all.push(json!({ "type": "string", "pattern": WITHIN }));
        map.insert(key.to_owned(), all.into());
        return;
    }
    if let Some(tag) = tag_of(&all) {
        all.iter_mut().for_each(within_table);
        map.extend(chosen_by(&tag, all));
        return;
    }
    let is_secret = {
        let mut only: Vec<_> = all.iter().map(|one| one["required"][0].as_str()).collect();
        only.sort_unstable();
        only == [Some("env"), Some("file")]
    };
    for one in &mut all {
        match one["properties"].is_object() {
            true => within_table(one),
            false => with_variables(one),
        }
    }
    // A secret is named, never put in.
    let takes_text = |one: &Value| one["type"] == "string" || one["$ref"].is_string();
    if !is_secret && !all.iter().any(takes_text) {
        all.push(json!({ "type": "string", "pattern": WHOLE }));
    }
    // With variables two may fit.
    map.insert("anyOf".to_owned(), all.into());
}

/// The keys of a table that is itself no variable.
fn within_table(table: &mut Value) {
    if let Some(Value::Object(keys)) = table.get_mut("properties") {
        let keys = keys.values_mut().filter(|key| key.get("const").is_none());
        keys.for_each(with_variables);
    }
}

fn value(map: &mut Map<String, Value>) {
    if map.contains_key("const") || map.contains_key("$ref") {
        return;
    }
    let types: Vec<String> = match map.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ if map.contains_key("enum") => vec!["string".to_owned()],
        _ => return,
    };
    let text = types.iter().any(|one| one == "string");
    let rules = ["enum", "maxLength", "format"];
    if text && rules.iter().any(|rule| map.contains_key(*rule)) {
        // Rules that a variable doesn't keep.
        let mut rest = Map::new();
        for key in [
            "type",
            "enum",
            "maxLength",
            "minLength",
            "pattern",
            "format",
            "minimum",
            "maximum",
        ] {
            rest.extend(map.remove(key).map(|value| (key.to_owned(), value)));
        }
        let pattern = if types.len() > 1 { WHOLE } else { WITHIN };
        let variable = json!({ "type": "string", "pattern": pattern });
        map.insert("anyOf".to_owned(), json!([rest, variable]));
    } else if text {
        if let Some(Value::String(pattern)) = map.get_mut("pattern") {
            *pattern = format!("{pattern}|{WITHIN}");
        }
    } else {
        let types: Vec<_> = types.into_iter().chain(["string".to_owned()]).collect();
        map.insert("type".to_owned(), types.into());
        // It says nothing of values that are no strings.
        map.insert("pattern".to_owned(), WHOLE.into());
    }
}

/// The key that tells all alternatives apart.
fn tag_of(all: &[Value]) -> Option<String> {
    let first = all.first()?["properties"].as_object()?;
    let mut keys = first.iter().filter(|(_, key)| key["const"].is_string());
    let (tag, _) = keys.find(|(tag, _)| {
        all.iter()
            .all(|one| one["properties"][tag.as_str()]["const"].is_string())
    })?;
    Some(tag.clone())
}

/// A table of which one key says which of several schemas it has.
pub(crate) fn chosen_by(tag: &str, all: Vec<Value>) -> Map<String, Value> {
    let words: Vec<_> = all
        .iter()
        .map(|one| one["properties"][tag]["const"].clone())
        .collect();
    let cases = words
        .iter()
        .zip(&all)
        .map(|(word, one)| (word.clone(), one.clone()));
    let mut chosen = cases_of(tag, cases);
    chosen.insert("type".to_owned(), json!(["object", "string"]));
    chosen.insert("pattern".to_owned(), WHOLE.into());
    chosen
}

/// The same where the schemas are told by their words.
pub(crate) fn cases_of(
    tag: &str,
    cases: impl IntoIterator<Item = (Value, Value)>,
) -> Map<String, Value> {
    let (words, cases): (Vec<_>, Vec<_>) = cases
        .into_iter()
        .map(|(word, then)| {
            let is_it = json!({ "properties": { tag: { "const": word } }, "required": [tag] });
            (word, json!({ "if": is_it, "then": then }))
        })
        .unzip();
    let tag_schema =
        json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": WITHIN }] });
    let schema = json!({
        "type": "object",
        "required": [tag],
        "properties": { tag: tag_schema },
        "allOf": cases,
    });
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}
