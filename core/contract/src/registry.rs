//! What components this program has.
//!
//! A component crate registers its configuration struct under a tag; whoever links the crate has
//! the component. rustc never loads a crate that nothing names, so the facade names each one.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CatalogConfig, Error, Result, SinkConfig, SourceConfig, TransformConfig};

#[doc(hidden)]
pub use inventory;
#[doc(hidden)]
pub use schemars;
#[doc(hidden)]
pub use serde_json;

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It gives rows.
    Source,
    /// It changes rows.
    Transform,
    /// It takes rows.
    Sink,
    /// It knows tables by name. Not a component of its own: it stands in a sink's or a source's
    /// `catalog`, and in the settings.
    Catalog,
}

impl Kind {
    /// All kinds, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Source, Self::Transform, Self::Sink, Self::Catalog];

    /// The kinds of a pipeline's components, in the order of a pipeline file.
    pub const COMPONENTS: [Self; 3] = [Self::Source, Self::Transform, Self::Sink];

    /// The kind's name: `source`, `transform`, `sink`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
            Self::Catalog => "catalog",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a table of the pipeline file becomes a configuration.
#[derive(Clone, Copy)]
#[doc(hidden)]
#[allow(missing_debug_implementations)]
pub enum Parse {
    Source(fn(Value) -> serde_json::Result<Box<dyn SourceConfig>>),
    Transform(fn(Value) -> serde_json::Result<Box<dyn TransformConfig>>),
    Sink(fn(Value) -> serde_json::Result<Box<dyn SinkConfig>>),
    Catalog(fn(Value) -> serde_json::Result<Box<dyn CatalogConfig>>),
}

/// A component's entry in the registry; made by [`register_source!`](crate::register_source) and
/// its siblings.
#[allow(missing_debug_implementations)]
pub struct Registration {
    #[doc(hidden)]
    pub tag: &'static str,
    #[doc(hidden)]
    pub package: &'static str,
    #[doc(hidden)]
    pub schema: fn() -> Value,
    #[doc(hidden)]
    pub parse: Parse,
}

inventory::collect!(Registration);

impl Registration {
    /// What `type` must be in the pipeline file.
    pub fn tag(&self) -> &'static str {
        self.tag
    }

    /// The crate it comes from.
    pub fn package(&self) -> &'static str {
        self.package
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.parse {
            Parse::Source(_) => Kind::Source,
            Parse::Transform(_) => Kind::Transform,
            Parse::Sink(_) => Kind::Sink,
            Parse::Catalog(_) => Kind::Catalog,
        }
    }

    /// The JSON Schema of its keys, without the common ones (`type`, `inputs`).
    pub fn schema(&self) -> Value {
        (self.schema)()
    }

    /// The first sentence of its documentation.
    pub fn summary(&self) -> String {
        let schema = self.schema();
        let text = schema["description"].as_str().unwrap_or_default();
        let first = text
            .split("\n\n")
            .next()
            .unwrap_or_default()
            .replace('\n', " ");
        first.trim_end_matches('.').to_owned()
    }
}

/// A table of `tidegate.toml`; made by [`register_settings!`](crate::register_settings).
#[allow(missing_debug_implementations)]
pub struct SettingsRegistration {
    #[doc(hidden)]
    pub name: &'static str,
    #[doc(hidden)]
    pub package: &'static str,
    #[doc(hidden)]
    pub schema: fn() -> Value,
}

inventory::collect!(SettingsRegistration);

impl SettingsRegistration {
    /// The table's name: `http` for `[http]`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The crate it comes from.
    pub fn package(&self) -> &'static str {
        self.package
    }

    /// The JSON Schema of its keys.
    pub fn schema(&self) -> Value {
        (self.schema)()
    }
}

/// All components of this program, and the settings that it knows.
#[derive(Clone, Default)]
#[allow(missing_debug_implementations)]
pub struct Registry {
    entries: BTreeMap<(Kind, &'static str), &'static Registration>,
    settings: BTreeMap<&'static str, &'static SettingsRegistration>,
}

impl Registry {
    /// Everything that is linked. Two crates with one tag are refused, naming both.
    pub fn linked() -> Result<Self> {
        let mut entries = BTreeMap::new();
        for entry in inventory::iter::<Registration> {
            if let Some(other) = entries.insert((entry.kind(), entry.tag), entry) {
                let other: &Registration = other;
                return Err(Error::config(format!(
                    "two crates register the {} `{}`: {} and {}",
                    entry.kind(),
                    entry.tag,
                    other.package,
                    entry.package
                ))
                .hint("link only one of them, or give one another tag"));
            }
        }
        let mut settings = BTreeMap::new();
        for entry in inventory::iter::<SettingsRegistration> {
            if let Some(other) = settings.insert(entry.name, entry) {
                let other: &SettingsRegistration = other;
                return Err(Error::config(format!(
                    "two crates register the settings `[{}]`: {} and {}",
                    entry.name, other.package, entry.package
                ))
                .hint("link only one of them"));
            }
        }
        Ok(Self { entries, settings })
    }

    /// All entries, by kind, then by tag.
    pub fn iter(&self) -> impl Iterator<Item = &'static Registration> + '_ {
        self.entries.values().copied()
    }

    /// The tables of `tidegate.toml` that this program knows, by name.
    pub fn settings(&self) -> impl Iterator<Item = &'static SettingsRegistration> + '_ {
        self.settings.values().copied()
    }

    /// The tags of a kind, sorted.
    pub fn tags(&self, kind: Kind) -> Vec<&'static str> {
        self.iter()
            .filter(|entry| entry.kind() == kind)
            .map(Registration::tag)
            .collect()
    }

    /// The entry of a tag.
    pub fn get(&self, kind: Kind, tag: &str) -> Option<&'static Registration> {
        // The key's lifetime is 'static; a scan over a dozen entries needs no map lookup.
        self.iter()
            .find(|entry| entry.kind() == kind && entry.tag == tag)
    }

    /// Makes a source's configuration of its table.
    pub fn source(&self, tag: &str, table: Value) -> Result<Box<dyn SourceConfig>> {
        match self.entry(Kind::Source, tag)?.parse {
            Parse::Source(parse) => parse(table).map_err(|error| refused(Kind::Source, tag, error)),
            _ => Err(Error::internal("the registry is confused about kinds")),
        }
    }

    /// Makes a transform's configuration of its table.
    pub fn transform(&self, tag: &str, table: Value) -> Result<Box<dyn TransformConfig>> {
        match self.entry(Kind::Transform, tag)?.parse {
            Parse::Transform(parse) => {
                parse(table).map_err(|error| refused(Kind::Transform, tag, error))
            }
            _ => Err(Error::internal("the registry is confused about kinds")),
        }
    }

    /// Makes a sink's configuration of its table.
    pub fn sink(&self, tag: &str, table: Value) -> Result<Box<dyn SinkConfig>> {
        match self.entry(Kind::Sink, tag)?.parse {
            Parse::Sink(parse) => parse(table).map_err(|error| refused(Kind::Sink, tag, error)),
            _ => Err(Error::internal("the registry is confused about kinds")),
        }
    }

    /// Makes a catalog's configuration of its table, without `type`.
    pub fn catalog(&self, tag: &str, table: Value) -> Result<Box<dyn CatalogConfig>> {
        match self.entry(Kind::Catalog, tag)?.parse {
            Parse::Catalog(parse) => {
                parse(table).map_err(|error| refused(Kind::Catalog, tag, error))
            }
            _ => Err(Error::internal("the registry is confused about kinds")),
        }
    }

    fn entry(&self, kind: Kind, tag: &str) -> Result<&'static Registration> {
        self.get(kind, tag).ok_or_else(|| {
            Error::config(format!("there is no {kind} of type `{tag}`"))
                .hint(format!("this program has: {}", self.tags(kind).join(", ")))
        })
    }
}

fn refused(kind: Kind, tag: &str, error: serde_json::Error) -> Error {
    Error::config(format!(
        "the configuration of a {kind} of type `{tag}` can't be used: {error}"
    ))
}

#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($variant:ident, $tag:literal, $config:ty) => {
        $crate::registry::inventory::submit! {
            $crate::registry::Registration {
                tag: $tag,
                package: env!("CARGO_PKG_NAME"),
                schema: || $crate::registry::schemars::schema_for!($config).to_value(),
                parse: $crate::registry::Parse::$variant(|table| {
                    $crate::registry::serde_json::from_value::<$config>(table)
                        .map(|config| Box::new(config) as _)
                }),
            }
        }
    };
}

/// Makes a [`SourceConfig`] known by its tag: `register_source!("mysql", MySqlConfig);`
///
/// The same tag stands in the struct's `#[typetag::serde(name = "mysql")]`; a test of the facade
/// compares them.
#[macro_export]
macro_rules! register_source {
    ($tag:literal, $config:ty) => {
        $crate::__register!(Source, $tag, $config);
    };
}

/// Makes a [`TransformConfig`] known by its tag: `register_transform!("sql", SqlConfig);`
#[macro_export]
macro_rules! register_transform {
    ($tag:literal, $config:ty) => {
        $crate::__register!(Transform, $tag, $config);
    };
}

/// Makes a [`SinkConfig`] known by its tag: `register_sink!("parquet", ParquetConfig);`
#[macro_export]
macro_rules! register_sink {
    ($tag:literal, $config:ty) => {
        $crate::__register!(Sink, $tag, $config);
    };
}

/// Makes a [`CatalogConfig`] known by its tag: `register_catalog!("glue", GlueConfig);`
///
/// Unlike the others it needs no `typetag`: whoever holds a catalog's configuration stores it as
/// the JSON that it was parsed from.
#[macro_export]
macro_rules! register_catalog {
    ($tag:literal, $config:ty) => {
        $crate::__register!(Catalog, $tag, $config);
    };
}

/// Makes a table of `tidegate.toml` known, so that its keys are checked and documented:
/// `register_settings!("http", HttpSettings);`
///
/// A component reads it by [`Context::settings`](crate::Context::settings).
#[macro_export]
macro_rules! register_settings {
    ($name:literal, $settings:ty) => {
        $crate::registry::inventory::submit! {
            $crate::registry::SettingsRegistration {
                name: $name,
                package: env!("CARGO_PKG_NAME"),
                schema: || $crate::registry::schemars::schema_for!($settings).to_value(),
            }
        }
    };
}
