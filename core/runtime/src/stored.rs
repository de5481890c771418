//! Configurations as the state keeps them: written, read again, compared with those of today.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_core::{
    ComponentConfig, ComponentSpec, Error, Registry, Result, SinkConfig, SourceConfig,
};

use crate::state::StoredComponent;

/// A configuration as it is stored: whole, and without what only tunes.
pub(crate) fn store(config: &ComponentConfig, spec: &ComponentSpec) -> Result<StoredComponent> {
    let (value, tuning) = match config {
        ComponentConfig::Source(config) => (serde_json::to_value(config), config.tuning_keys()),
        ComponentConfig::Transform(config) => (serde_json::to_value(config), config.tuning_keys()),
        ComponentConfig::Sink(config) => (serde_json::to_value(config), config.tuning_keys()),
    };
    let mut config = value.map_err(|error| {
        Error::internal("a configuration can't be stored")
            .with("component", &spec.id)
            .because(error)
    })?;
    // The registry's name for it: what a program adds has another than its Rust type.
    config["type"] = spec.tag.as_str().into();
    let mut fingerprint = config.clone();
    if let Value::Object(table) = &mut fingerprint {
        for key in tuning {
            table.shift_remove(*key);
        }
    }
    Ok(StoredComponent {
        id: spec.id.clone(),
        kind: spec.kind,
        inputs: spec.inputs.clone(),
        config,
        fingerprint,
    })
}

/// A sink's configuration, as it was when the run began.
pub(crate) fn restore(
    registry: &Registry,
    stored: &StoredComponent,
) -> Result<Box<dyn SinkConfig>> {
    let restored = registry.sink(stored.tag(), keys(stored));
    restored.map_err(|error| unreadable(stored, error))
}

/// A source's configuration, as it was when the run began.
pub(crate) fn restore_source(
    registry: &Registry,
    stored: &StoredComponent,
) -> Result<Box<dyn SourceConfig>> {
    let restored = registry.source(stored.tag(), keys(stored));
    restored.map_err(|error| unreadable(stored, error))
}

/// Its keys but for its type.
fn keys(stored: &StoredComponent) -> Value {
    let mut table = stored.config.clone();
    if let Value::Object(keys) = &mut table {
        keys.shift_remove("type");
    }
    table
}

fn unreadable(stored: &StoredComponent, error: Error) -> Error {
    let kind = stored.kind;
    Error::conflict(format!(
        "the stored configuration of a {kind} can't be read"
    ))
    .with("component", &stored.id)
    .hint(
        "the state was written by another version of Tidegate, or by a program with other \
             components: run it once with what wrote it",
    )
    .because(error)
}

/// What differs between the components that an unfinished run has and those of the file.
pub(crate) fn differences(before: &[StoredComponent], now: &[StoredComponent]) -> Vec<String> {
    let mut found = Vec::new();
    for old in before {
        match now
            .iter()
            .find(|component| component.id == old.id && component.kind == old.kind)
        {
            None => found.push(format!("{}s.{} is gone", old.kind, old.id)),
            Some(new) if old.tag() != new.tag() => found.push(format!(
                "{}s.{}.type (was `{}`, is `{}`)",
                old.kind,
                old.id,
                old.tag(),
                new.tag()
            )),
            Some(new) => {
                if old.inputs != new.inputs {
                    found.push(format!("{}s.{}.inputs", old.kind, old.id));
                }
                found.extend(
                    keys_that_differ(&old.fingerprint, &new.fingerprint)
                        .into_iter()
                        .map(|key| format!("{}s.{}.{key}", old.kind, old.id)),
                );
            }
        }
    }
    for new in now {
        if !before
            .iter()
            .any(|old| old.id == new.id && old.kind == new.kind)
        {
            found.push(format!("{}s.{} is new", new.kind, new.id));
        }
    }
    found
}

fn keys_that_differ(old: &serde_json::Value, new: &serde_json::Value) -> Vec<String> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return Vec::new();
    };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .cloned()
        .collect()
}
