//! What components this program has.
//!
//! A component crate registers its configuration struct under a tag; whoever links the crate has
//! the component. rustc never loads a crate that nothing names, so the facade names each one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::{CatalogConfig, Error, Result, SinkConfig, SourceConfig, TransformConfig};

#[doc(hidden)]
pub use inventory;
#[doc(hidden)]
pub use schemars;
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

/// A component as the linker finds it; made by [`register_source!`](crate::register_source) and its
/// siblings.
#[doc(hidden)]
#[allow(missing_debug_implementations)]
pub struct Linked {
    pub tag: &'static str,
    pub package: &'static str,
    pub registration: fn(&Linked) -> Registration,
}

inventory::collect!(Linked);

type Parsed<C> = Arc<dyn Fn(Value) -> Result<Box<C>> + Send + Sync>;

/// How a table of the pipeline file becomes a configuration.
#[derive(Clone)]
enum Parse {
    Source(Parsed<dyn SourceConfig>),
    Transform(Parsed<dyn TransformConfig>),
    Sink(Parsed<dyn SinkConfig>),
    Catalog(Parsed<dyn CatalogConfig>),
}

/// A component's entry in a [`Registry`].
///
/// Crates make it known by [`register_source!`](crate::register_source) and its siblings; a program
/// adds its own by [`Registry::add`].
#[derive(Clone)]
pub struct Registration {
    tag: Cow<'static, str>,
    package: Cow<'static, str>,
    schema: Arc<dyn Fn() -> Value + Send + Sync>,
    parse: Parse,
}

macro_rules! kinds {
    ($($kind:ident, $of:ident, $with:ident, $config:ident, $name:literal;)*) => {
        impl Registration {$(
            #[doc = concat!("A ", $name, " whose configuration is `C`.")]
            pub fn $of<C>(tag: impl Into<Cow<'static, str>>) -> Self
            where
                C: $config + DeserializeOwned + JsonSchema + 'static,
            {
                let tag = tag.into();
                let of = tag.clone();
                Self::$with(tag, || schema_for!(C).to_value(), move |table| {
                    let what = format!("the configuration of a {} of type `{of}`", Kind::$kind);
                    Ok(Box::new(from_json::<C>(table, &what)?))
                })
            }

            #[doc = concat!("A ", $name, " whose configuration `parse` makes of its table, which has the keys of\n                `schema` (a JSON Schema). `parse` may capture what the program shares with it.")]
            pub fn $with(
                tag: impl Into<Cow<'static, str>>,
                schema: impl Fn() -> Value + Send + Sync + 'static,
                parse: impl Fn(Value) -> Result<Box<dyn $config>> + Send + Sync + 'static,
            ) -> Self {
                Self {
                    tag: tag.into(),
                    package: PROGRAM.into(),
                    schema: Arc::new(schema),
                    parse: Parse::$kind(Arc::new(parse)),
                }
            }
        )*}

        impl Registry {$(
            #[doc = concat!("Makes a ", $name, "'s configuration of its table, without `type`.")]
            pub fn $of(&self, tag: &str, table: Value) -> Result<Box<dyn $config>> {
                match &self.entry(Kind::$kind, tag)?.parse {
                    Parse::$kind(parse) => parse(table),
                    _ => Err(Error::internal("the registry is confused about kinds")),
                }
            }
        )*}
    };
}

kinds! {
    Source, source, source_with, SourceConfig, "source";
    Transform, transform, transform_with, TransformConfig, "transform";
    Sink, sink, sink_with, SinkConfig, "sink";
    Catalog, catalog, catalog_with, CatalogConfig, "catalog";
}

/// In the place of a crate's name, for what the embedding program adds.
const PROGRAM: &str = "the program";

impl Registration {
    /// The same, as one of a crate.
    #[doc(hidden)]
    #[must_use]
    pub fn of_package(mut self, package: &'static str) -> Self {
        self.package = package.into();
        self
    }

    /// What `type` must be in the pipeline file.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The crate it comes from.
    pub fn package(&self) -> &str {
        &self.package
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

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` of {}", self.kind(), self.tag, self.package)
    }
}

/// A table of `tidegate.toml`; made by [`register_settings!`](crate::register_settings).
#[derive(Debug)]
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

/// The components that pipelines can be made of, and the settings that they know.
///
/// [`Registry::linked`] has what the program links; [`Registry::add`] adds to it what a program makes
/// at run time. Two pipelines of one process may have different ones.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    entries: BTreeMap<(Kind, Cow<'static, str>), Registration>,
    settings: BTreeMap<&'static str, &'static SettingsRegistration>,
}

impl Registry {
    /// Everything that is linked. Two crates with one tag are refused, naming both.
    pub fn linked() -> Result<Self> {
        let mut registry = Self::default();
        for linked in inventory::iter::<Linked> {
            registry.add((linked.registration)(linked))?;
        }
        for entry in inventory::iter::<SettingsRegistration> {
            if let Some(other) = registry.settings.insert(entry.name, entry) {
                return Err(Error::config(format!(
                    "two crates register the settings `[{}]`: {} and {}",
                    entry.name, other.package, entry.package
                ))
                .hint("link only one of them"));
            }
        }
        Ok(registry)
    }

    /// Adds a component.
    ///
    /// Errors: `Config` if there is one of that kind and tag.
    pub fn add(&mut self, registration: Registration) -> Result<()> {
        let (kind, tag) = (registration.kind(), registration.tag.clone());
        match self.entries.entry((kind, tag)) {
            Entry::Vacant(place) => {
                place.insert(registration);
                Ok(())
            }
            Entry::Occupied(other) => Err(Error::config(format!(
                "two register the {kind} `{}`: {} and {}",
                registration.tag,
                other.get().package,
                registration.package
            ))
            .hint("link only one of them, or give one another tag")),
        }
    }

    /// All entries, by kind, then by tag.
    pub fn iter(&self) -> impl Iterator<Item = &Registration> + '_ {
        self.entries.values()
    }

    /// The tables of `tidegate.toml` that this program knows, by name.
    pub fn settings(&self) -> impl Iterator<Item = &'static SettingsRegistration> + '_ {
        self.settings.values().copied()
    }

    /// The tags of a kind, sorted.
    pub fn tags(&self, kind: Kind) -> Vec<&str> {
        self.iter()
            .filter(|entry| entry.kind() == kind)
            .map(Registration::tag)
            .collect()
    }

    /// The entry of a tag.
    pub fn get(&self, kind: Kind, tag: &str) -> Option<&Registration> {
        // The key owns its text; a scan over some dozen entries needs no map lookup.
        self.iter()
            .find(|entry| entry.kind() == kind && entry.tag == tag)
    }

    fn entry(&self, kind: Kind, tag: &str) -> Result<&Registration> {
        self.get(kind, tag).ok_or_else(|| {
            Error::config(format!("there is no {kind} of type `{tag}`"))
                .hint(format!("this program has: {}", self.tags(kind).join(", ")))
        })
    }
}

/// Makes something of its JSON. Errors: `Config`, with the path of the key that is to blame
/// (`columns.0.type`) where one is; `what` names all of it.
pub fn from_json<T: DeserializeOwned>(value: Value, what: &str) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let steps = error.path().iter().map_while(|step| match step {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        let path = steps.collect::<Vec<_>>().join(".");
        let error = Error::config(format!("{what} can't be used: {}", error.inner()));
        match path.is_empty() {
            true => error,
            false => error.with("key", path),
        }
    })
}

#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($of:ident, $tag:literal, $config:ty) => {
        $crate::registry::inventory::submit! {
            $crate::registry::Linked {
                tag: $tag,
                package: env!("CARGO_PKG_NAME"),
                registration: |linked| {
                    $crate::registry::Registration::$of::<$config>(linked.tag)
                        .of_package(linked.package)
                },
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
        $crate::__register!(source, $tag, $config);
    };
}

/// Makes a [`TransformConfig`] known by its tag: `register_transform!("sql", SqlConfig);`
#[macro_export]
macro_rules! register_transform {
    ($tag:literal, $config:ty) => {
        $crate::__register!(transform, $tag, $config);
    };
}

/// Makes a [`SinkConfig`] known by its tag: `register_sink!("parquet", ParquetConfig);`
#[macro_export]
macro_rules! register_sink {
    ($tag:literal, $config:ty) => {
        $crate::__register!(sink, $tag, $config);
    };
}

/// Makes a [`CatalogConfig`] known by its tag: `register_catalog!("glue", GlueConfig);`
///
/// Unlike the others it needs no `typetag`: whoever holds a catalog's configuration stores it as
/// the JSON that it was parsed from.
#[macro_export]
macro_rules! register_catalog {
    ($tag:literal, $config:ty) => {
        $crate::__register!(catalog, $tag, $config);
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
