//! From `--state` to a place for pipelines' state.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tidegate_core::{Context, Error, Result};
use tidegate_runtime::RuntimeSettings;
use tidegate_runtime::state::{
    Found, HeadStore, Listed, ObjectState, StateLocation, Version, Written,
};
use tidegate_storage::{Access, Location, Names, Storage};

/// The place of pipelines' state that `place` names: a directory (relative to the current one), or a
/// place on object storage: `s3://bucket/prefix`, `memory://name`.
///
/// `settings` are the tables of `tidegate.toml`: `[aws]` says how S3 is reached, `lease` of
/// `[runtime]` when a pipeline whose holder gives no sign of life is taken over. Paths in them are
/// relative to `base`, the pipeline file's directory. The bucket isn't asked for anything yet.
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
        None => return Ok(StateLocation::Directory(place.into())),
        Some(("file", _)) => {
            let location = Location::parse(place, Path::new("")).map_err(blamed)?;
            return Ok(StateLocation::Directory(location.path().into()));
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

/// The heads of pipelines as objects `<pipeline>.state.json`, and their parts as
/// `<pipeline>.state/<part>.ndjson`.
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
    key + ".state"
}

fn head_key(pipeline: &str) -> String {
    key(pipeline) + ".json"
}

/// The pipeline of a head's key; `None` for what isn't one.
fn pipeline_of(head_key: &str) -> Option<String> {
    let mut parts = head_key.strip_suffix(".state.json")?.split('=');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        name.push(u8::from_str_radix(digits, 16).ok()?);
        name.extend_from_slice(rest.as_bytes());
    }
    let name = String::from_utf8(name).ok()?;
    (self::head_key(&name) == head_key).then_some(name)
}

fn part_key(pipeline: &str, part: &str) -> String {
    format!("{}/{part}{PART}", key(pipeline))
}

const PART: &str = ".ndjson";

#[async_trait]
impl HeadStore for Heads {
    async fn read(&self, name: &str) -> Result<Option<Found>> {
        let found = self.0.read_tagged(&head_key(name)).await.map_err(hinted)?;
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
        let written = self
            .0
            .replace(&head_key(name), bytes.into(), expected)
            .await;
        Ok(match written.map_err(hinted)? {
            Some(tag) => Written::Stored(Version(tag)),
            None => Written::Lost,
        })
    }

    async fn heads(&self) -> Result<Vec<Listed>> {
        let found = self.0.list_directory("").await.map_err(hinted)?;
        let heads = found.into_iter().filter_map(|file| {
            Some(Listed {
                name: pipeline_of(&file.key)?,
                changed: Some(file.modified),
            })
        });
        Ok(heads.collect())
    }

    async fn write_part(&self, name: &str, part: &str, bytes: Vec<u8>) -> Result<()> {
        // It has a name of its own: what is there already came by this very request.
        let key = part_key(name, part);
        let written = self.0.replace(&key, bytes.into(), None).await;
        written.map(drop).map_err(hinted)
    }

    async fn read_part(&self, name: &str, part: &str) -> Result<Option<Vec<u8>>> {
        let found = self.0.read_tagged(&part_key(name, part)).await;
        Ok(found.map_err(hinted)?.map(|(bytes, _)| bytes.into()))
    }

    async fn parts(&self, name: &str) -> Result<Vec<String>> {
        let directory = key(name);
        let found = self.0.list(&directory, Names::NoDotfiles).await;
        let keys = found.map_err(hinted)?.into_iter().map(|file| file.key);
        let part = |key: String| {
            let name = key.strip_prefix(&directory)?.strip_prefix('/')?;
            name.strip_suffix(PART).map(str::to_owned)
        };
        Ok(keys.filter_map(part).collect())
    }

    async fn delete_parts(&self, name: &str, parts: &[String]) -> Result<()> {
        let keys: Vec<String> = parts.iter().map(|part| part_key(name, part)).collect();
        self.0.delete(&keys).await.map_err(hinted)
    }

    fn show(&self, name: &str) -> String {
        self.0.show(&head_key(name))
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
    use serde_json::json;

    use super::*;

    async fn debug(place: &str) -> String {
        match state_at(place, Path::new("/base"), &Map::new()).await {
            Ok(location) => format!("{location:?}"),
            Err(error) => format!("{error:?}"),
        }
    }

    #[tokio::test]
    async fn a_place_is_a_directory_or_object_storage() {
        assert_eq!(debug("a/b").await, r#"Directory("a/b")"#);
        assert_eq!(debug("file:///a/b").await, r#"Directory("/a/b")"#);
        let memory = debug("memory://a/b").await;
        assert!(memory.contains("memory://a/b"), "{memory}");
        let unknown = debug("ftp://a").await;
        assert!(unknown.starts_with("config"), "{unknown}");
        assert!(unknown.contains("ftp"), "{unknown}");
    }

    #[test]
    fn two_pipelines_never_share_an_object() {
        let keys = [
            ("shop-weekly_2.1", "shop-weekly_2.1.state"),
            ("a b", "a=20b.state"),
            ("a=20b", "a=3D20b.state"),
            (".hidden", "=2Ehidden.state"),
            ("ä/ö", "=C3=A4=2F=C3=B6.state"),
            ("Shop", "Shop.state"),
            ("shop", "shop.state"),
        ];
        for (name, expected) in keys {
            assert_eq!(key(name), expected);
            assert_eq!(pipeline_of(&head_key(name)).as_deref(), Some(name));
        }
        for other in [
            "a.state",
            "a b.state.json",
            "a=2.state.json",
            "a=2b.state.json",
        ] {
            assert_eq!(pipeline_of(other), None);
        }
    }

    #[tokio::test]
    async fn parts_lie_beside_their_head_until_they_are_deleted() {
        let place = "memory://parts-of-heads/a";
        let location = Location::parse(place, Path::new("")).unwrap();
        let storage = Storage::open(&location, &Access::default()).await.unwrap();
        let heads = Heads(storage.clone());
        for pipeline in ["a/b", "a"] {
            heads.write(pipeline, b"{}".into(), None).await.unwrap();
            for part in ["1", "2"] {
                let bytes = json!([pipeline, part]).to_string().into_bytes();
                heads.write_part(pipeline, part, bytes).await.unwrap();
            }
        }
        let found = heads.heads().await.unwrap().into_iter();
        assert!(found.map(|head| head.name).eq(["a", "a/b"]));
        assert_eq!(heads.parts("a").await.unwrap(), ["1", "2"]);
        let gone = ["1".to_owned(), "3".to_owned()];
        heads.delete_parts("a", &gone).await.unwrap();
        assert_eq!(heads.parts("a").await.unwrap(), ["2"]);
        assert_eq!(heads.parts("a/b").await.unwrap(), ["1", "2"]);
        assert_eq!(heads.read_part("a", "1").await.unwrap(), None);
        let left = heads.read_part("a/b", "1").await.unwrap();
        assert_eq!(left.as_deref(), Some(&br#"["a/b","1"]"#[..]));
        let keys = storage.list("", Names::NoDotfiles).await.unwrap();
        let keys: Vec<String> = keys.into_iter().map(|file| file.key).collect();
        assert_eq!(
            keys,
            [
                "a.state.json",
                "a.state/2.ndjson",
                "a=2Fb.state.json",
                "a=2Fb.state/1.ndjson",
                "a=2Fb.state/2.ndjson"
            ]
        );
    }
}
