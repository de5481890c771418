//! From `--state` to a place for pipelines' state.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tidegate_core::{Context, Error, Result};
use tidegate_runtime::RuntimeSettings;
use tidegate_runtime::state::{Found, HeadStore, ObjectState, StateLocation, Version, Written};
use tidegate_storage::{Access, Location, Storage};

/// The place of pipelines' state that `place` names: a folder (relative to the current one), or a
/// place on object storage: `s3://bucket/prefix`, `memory://name`.
///
/// `settings` are the tables of `tidegate.toml`: `[aws]` says how S3 is reached, `lease` of
/// `[runtime]` when a pipeline whose holder gives no sign of life is taken over. Paths in them are
/// relative to `base`, the pipeline file's folder. The bucket isn't asked for anything yet.
///
/// # Errors
///
/// `Config` for what isn't a place, and for settings that can't be used.
pub async fn state_at(
    place: &str,
    base: &Path,
    settings: &Map<String, Value>,
) -> Result<StateLocation> {
    let blamed = |error: Error| error.with("state", place);
    let url = match place.split_once("://") {
        None => return Ok(StateLocation::Folder(place.into())),
        Some(("file", _)) => {
            let location = Location::parse(place, Path::new("")).map_err(blamed)?;
            return Ok(StateLocation::Folder(location.path().into()));
        }
        Some(_) => Location::parse(place, Path::new("")).map_err(blamed)?,
    };
    let cx = Context::detached(base, Arc::new(settings.clone()))?;
    let runtime: RuntimeSettings = cx.settings("runtime")?;
    let access = Access::of(&cx, None)?;
    let storage = Storage::open(&url, &access).await.map_err(blamed)?;
    storage.check_conditional().map_err(blamed)?;
    let store = ObjectState::new(Arc::new(Heads(storage)), runtime.lease.0);
    Ok(StateLocation::Store(Arc::new(store)))
}

/// The heads of pipelines as objects `<pipeline>.state.json`.
#[derive(Debug)]
struct Heads(Storage);

/// Any name as one part of a key: what isn't a letter, a digit, `-`, `_` or a dot within is `=` and
/// two hex digits, so that two pipelines never share an object.
fn key(pipeline: &str) -> String {
    let mut key = String::new();
    for byte in pipeline.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => key.push(char::from(byte)),
            b'.' if !key.is_empty() => key.push('.'),
            _ => key.push_str(&format!("={byte:02X}")),
        }
    }
    key + ".state.json"
}

#[async_trait]
impl HeadStore for Heads {
    async fn read(&self, name: &str) -> Result<Option<Found>> {
        let found = self.0.read_tagged(&key(name)).await.map_err(hinted)?;
        Ok(found.map(|(bytes, tag)| Found {
            bytes: bytes.into(),
            version: Version(tag),
        }))
    }

    async fn write(
        &self,
        name: &str,
        bytes: Vec<u8>,
        expected: Option<&Version>,
    ) -> Result<Written> {
        let expected = expected.map(|version| version.0.as_str());
        let written = self.0.replace(&key(name), bytes.into(), expected).await;
        Ok(match written.map_err(hinted)? {
            Some(tag) => Written::Stored(Version(tag)),
            None => Written::Lost,
        })
    }

    fn show(&self, name: &str) -> String {
        self.0.show(&key(name))
    }
}

fn hinted(error: Error) -> Error {
    match error.hint_text() {
        Some(_) => error,
        None => error.hint("the state is kept here: see --state, and `[aws]` in the settings"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn debug(place: &str) -> String {
        match state_at(place, Path::new("/base"), &Map::new()).await {
            Ok(location) => format!("{location:?}"),
            Err(error) => format!("{error:?}"),
        }
    }

    #[tokio::test]
    async fn a_place_is_a_folder_or_object_storage() {
        assert_eq!(debug("a/b").await, r#"Folder("a/b")"#);
        assert_eq!(debug("file:///a/b").await, r#"Folder("/a/b")"#);
        let memory = debug("memory://a/b").await;
        assert!(memory.contains("memory://a/b"), "{memory}");
        let unknown = debug("ftp://a").await;
        assert!(unknown.starts_with("config"), "{unknown}");
        assert!(unknown.contains("ftp"), "{unknown}");
    }

    #[test]
    fn two_pipelines_never_share_an_object() {
        assert_eq!(key("shop-weekly_2.1"), "shop-weekly_2.1.state.json");
        assert_eq!(key("a b"), "a=20b.state.json");
        assert_eq!(key("a=20b"), "a=3D20b.state.json");
        assert_eq!(key(".hidden"), "=2Ehidden.state.json");
        assert_eq!(key("ä/ö"), "=C3=A4=2F=C3=B6.state.json");
    }
}
