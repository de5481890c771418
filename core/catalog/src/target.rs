//! `catalog = { … }` in a component's configuration.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidegate_core::{Catalog, CatalogConfig, Context, Error, Kind, Registry, Result, TableName};

/// A table of a catalog, and which catalog that is.
///
/// Kept as the table that stands in the pipeline file: `type` names a registered catalog, whose
/// own keys stand beside `database`, `table` and `schema_policy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogTarget {
    /// Which catalog.
    #[serde(rename = "type")]
    pub tag: String,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// What to do when a stream's columns aren't the table's.
    #[serde(default)]
    pub schema_policy: SchemaPolicy,
    /// The catalog's own keys.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

/// What to do when a stream's columns aren't the table's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaPolicy {
    /// New columns are added to the table, and types are widened. What can't be widened (a text
    /// and a number) is an error before anything is written.
    #[default]
    Evolve,
    /// Any difference is an error before anything is written.
    Freeze,
    /// The table stays as it is. A row that doesn't fit it (a value in a column that it doesn't
    /// have, or one that its type can't hold) is rejected.
    Reject,
}

impl CatalogTarget {
    /// The table's name, as the pipeline file has it.
    pub fn name(&self) -> TableName {
        TableName::new(&self.database, &self.table)
    }

    /// Checks it without I/O. Errors: `Config`.
    pub fn validate(&self) -> Result<()> {
        let named = |text: &str| !text.is_empty() && !text.contains('.');
        if !named(&self.database) || !named(&self.table) {
            return Err(
                Error::config("`catalog` needs a database and a table, without dots")
                    .with("key", "catalog"),
            );
        }
        let registry = Registry::linked()?;
        match registry.get(Kind::Catalog, &self.tag) {
            Some(_) => self.config(&registry)?.validate(),
            // One that the program added: the pipeline's registry has it, or says that there is none.
            None => Ok(()),
        }
    }

    /// Opens the catalog.
    pub async fn open(&self, cx: &Context) -> Result<Arc<dyn Catalog>> {
        let config = self.config(&cx.registry)?;
        config.validate()?;
        config.open(cx).await
    }

    fn config(&self, registry: &Registry) -> Result<Box<dyn CatalogConfig>> {
        registry
            .catalog(&self.tag, Value::Object(self.options.clone()))
            .map_err(|error| error.with("key", "catalog"))
    }
}

/// By hand, because the alternatives are the catalogs that the program has.
impl JsonSchema for CatalogTarget {
    fn schema_name() -> Cow<'static, str> {
        "CatalogTarget".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut policy = generator.subschema_for::<SchemaPolicy>().to_value();
        policy["description"] = "What to do when a stream's columns aren't the table's.".into();
        policy["default"] = "evolve".into();
        let own = [
            (
                "database",
                json!({ "type": "string", "description": "The database; made if it isn't there." }),
            ),
            (
                "table",
                json!({ "type": "string", "description": "The table; made if it isn't there." }),
            ),
            ("schema_policy", policy),
        ];
        let mut schema = alternatives(generator, &own, &["type", "database", "table"]);
        let text = "A table of a catalog, and which catalog that is.";
        schema.insert("description".into(), text.into());
        schema
    }
}

/// The table `[catalog]` of `tidegate.toml`: which catalog is meant where none is named. Only its
/// shape; it is read by those who open it.
#[derive(Debug)]
pub struct CatalogSettings;

impl JsonSchema for CatalogSettings {
    fn schema_name() -> Cow<'static, str> {
        "CatalogSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = alternatives(generator, &[], &["type"]);
        let text =
            "Which catalog `tidegate query` and `tidegate catalog` mean where none is named.";
        schema.insert("description".into(), text.into());
        schema
    }
}

tidegate_core::register_settings!("catalog", CatalogSettings);

/// One table for each catalog that the program has: `type`, these keys, and the catalog's own.
fn alternatives(
    generator: &mut SchemaGenerator,
    keys: &[(&str, Value)],
    required: &[&str],
) -> Schema {
    let mut schema = Schema::default();
    let Ok(registry) = Registry::linked() else {
        return schema;
    };
    let mut tables = Vec::new();
    for entry in registry
        .iter()
        .filter(|entry| entry.kind() == Kind::Catalog)
    {
        let mut table = entry.schema();
        let mut properties = Map::new();
        properties.insert(
            "type".into(),
            json!({ "type": "string", "const": entry.tag() }),
        );
        properties.extend(keys.iter().map(|(key, of)| ((*key).to_owned(), of.clone())));
        if let Some(Value::Object(own)) = table.get_mut("properties").map(Value::take) {
            properties.extend(own);
        }
        let mut required: Vec<Value> = required.iter().map(|key| json!(key)).collect();
        if let Some(Value::Array(own)) = table.get_mut("required").map(Value::take) {
            required.extend(own);
        }
        if let Some(Value::Object(definitions)) = table.get_mut("$defs").map(Value::take) {
            for (name, definition) in definitions {
                generator
                    .definitions_mut()
                    .entry(name)
                    .or_insert(definition);
            }
        }
        tables.push(json!({
            "type": "object",
            "description": table["description"],
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }));
    }
    schema.insert("oneOf".into(), tables.into());
    schema
}
