//! The keys that all components share, and the schemas of whole tables and files.

use schemars::schema_for;
use serde_json::{Map, Value, json};
use tidegate_core::registry::Registration;
use tidegate_core::{Guarantee, Kind, PipelineOptions, Registry};

use crate::editors;

/// The table that holds a kind's components.
pub(crate) fn section(kind: Kind) -> &'static str {
    match kind {
        Kind::Source => "sources",
        Kind::Transform => "transforms",
        Kind::Sink => "sinks",
        Kind::Catalog => "catalogs",
    }
}

/// The keys of [`PipelineOptions`], `name`, and the three tables of components.
pub(crate) fn top_level_schema() -> Value {
    let mut schema = schema_for!(PipelineOptions).to_value();
    let mut properties = Map::new();
    properties.insert(
        "name".to_owned(),
        json!({
            "type": "string",
            "minLength": 1,
            "description": "The name under which the pipeline's state is kept. Default: the file's name.",
        }),
    );
    if let Some(Value::Object(options)) = schema.get_mut("properties").map(Value::take) {
        properties.extend(options);
    }
    for kind in Kind::COMPONENTS {
        let description = format!(
            "The pipeline's {}, each a table with a name.",
            section(kind)
        );
        properties.insert(
            section(kind).to_owned(),
            json!({ "description": description }),
        );
    }
    schema["properties"] = properties.into();
    schema["additionalProperties"] = false.into();
    schema["title"] = "Tidegate pipeline".into();
    schema["description"] =
        "A pipeline: sources, transforms and sinks, and how they are joined.".into();
    schema
}

/// The common keys that a component of this kind takes.
fn common_keys(kind: Kind) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.insert(
        "type".to_owned(),
        json!({ "type": "string", "description": "What it is; `tidegate list` tells the types." }),
    );
    if kind != Kind::Source {
        keys.insert(
            "inputs".to_owned(),
            json!({
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "description": "What it reads: `weekly`, `shop.sales`, `shop.*` or `weekly.rejected`.",
            }),
        );
    }
    if kind == Kind::Sink {
        let mut guarantee = schema_for!(Guarantee).to_value();
        if let Some(map) = guarantee.as_object_mut() {
            map.remove("$schema");
            map.remove("title");
        }
        guarantee["description"] =
            "What is asked of this sink, instead of the pipeline's `guarantee`.".into();
        keys.insert("guarantee".to_owned(), guarantee);
    }
    keys
}

fn required_keys(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Source => vec!["type".into()],
        Kind::Catalog => Vec::new(),
        Kind::Transform | Kind::Sink => vec!["type".into(), "inputs".into()],
    }
}

/// The schema of a component's whole table.
pub(crate) fn table_schema(registration: &Registration) -> Value {
    let kind = registration.kind();
    let mut schema = registration.schema();
    let mut properties = common_keys(kind);
    properties["type"]["const"] = registration.tag().into();
    if let Some(Value::Object(own)) = schema.get_mut("properties").map(Value::take) {
        properties.extend(own);
    }
    let mut required = required_keys(kind);
    if let Some(Value::Array(own)) = schema.get_mut("required").map(Value::take) {
        required.extend(own);
    }
    schema["properties"] = properties.into();
    schema["required"] = required.into();
    schema
}

/// The schema of the common keys alone, for a component of an unknown type.
pub(crate) fn untyped_schema(kind: Kind) -> Value {
    let required: Vec<Value> = required_keys(kind)
        .into_iter()
        .filter(|key| key != "type")
        .collect();
    json!({ "type": "object", "properties": common_keys(kind), "required": required })
}

/// One JSON Schema of the whole pipeline file, for editors.
pub fn pipeline_schema(registry: &Registry) -> Value {
    let mut schema = top_level_schema();
    let mut definitions = match schema.get_mut("$defs").map(Value::take) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    let mut components = Vec::new();
    for kind in Kind::COMPONENTS {
        let mut tables: Vec<(Value, Value)> = Vec::new();
        for registration in registry.iter().filter(|one| one.kind() == kind) {
            let name = format!("{kind}.{}", registration.tag());
            let table = within(table_schema(registration), &name, &mut definitions);
            definitions.insert(name.clone(), table);
            let table = json!({ "$ref": format!("#/$defs/{name}") });
            tables.push((registration.tag().into(), table));
        }
        let property = &mut schema["properties"][section(kind)];
        property["propertyNames"] = json!({ "pattern": "^[a-z][a-z0-9_]*$" });
        if !tables.is_empty() {
            components.push((section(kind), editors::cases_of("type", tables)));
        }
    }
    schema["$defs"] = definitions.into();
    editors::with_variables(&mut schema);
    // The file, its sections and its components are tables of their own.
    schema["type"] = "object".into();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("pattern");
    }
    for (section, cases) in components {
        let property = &mut schema["properties"][section];
        property["type"] = "object".into();
        property["additionalProperties"] = cases.into();
    }
    schema
}

/// One JSON Schema of `tidegate.toml`, for editors and for the checks.
pub fn settings_schema(registry: &Registry) -> Value {
    let mut properties = Map::new();
    let mut definitions = Map::new();
    for entry in registry.settings() {
        let table = within(entry.schema(), entry.name(), &mut definitions);
        properties.insert(entry.name().to_owned(), table);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidegate settings",
        "description": "The settings of the program: `tidegate.toml`.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions,
    })
}

/// A schema as a part of a larger one: its definitions go to the larger one's, under its name.
fn within(mut schema: Value, name: &str, definitions: &mut Map<String, Value>) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.remove("$schema");
        if let Some(Value::Object(own)) = map.remove("$defs") {
            for (inner, mut definition) in own {
                rename(&mut definition, name);
                definitions.insert(format!("{name}.{inner}"), definition);
            }
        }
    }
    rename(&mut schema, name);
    schema
}

/// Moves references into a component's own definitions, so that two may use one name.
fn rename(schema: &mut Value, prefix: &str) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(inner) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/$defs/{prefix}.{inner}");
            }
            map.values_mut().for_each(|value| rename(value, prefix));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, prefix)),
        _ => {}
    }
}
