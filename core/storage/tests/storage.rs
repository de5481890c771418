//! What storage promises: finding, reading, and writes that appear at once and whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;
use proptest::prelude::*;
use tidegate_core::{ErrorKind, Result};
use tidegate_storage::{Access, Location, Names, Pattern, ReadAhead, Staged, StagedToken, Storage};

async fn open(path: &Path) -> Storage {
    let location = Location::parse(path.to_str().unwrap(), Path::new("/")).unwrap();
    Storage::open(&location, &Access::default()).await.unwrap()
}

fn put(root: &Path, key: &str, bytes: &[u8]) {
    let path = root.join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Every file under a directory, hidden ones too.
fn tree(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if path.is_dir() {
                names.push(format!("{name}/"));
                directories.push(path);
            } else {
                names.push(name);
            }
        }
    }
    names.sort();
    names
}

async fn stage(storage: &Storage, key: &str, parts: &[&str]) -> Result<Staged> {
    let token = storage.begin(key).await?;
    let mut writer = storage.create(&token).await?;
    for part in parts {
        writer
            .write(Bytes::copy_from_slice(part.as_bytes()))
            .await?;
    }
    writer.finish().await
}

async fn found(text: &str, base: &Path) -> Vec<String> {
    let pattern = Pattern::parse(text, base, &Access::default())
        .await
        .unwrap();
    let storage = pattern.storage().clone();
    let files = pattern.list().await.unwrap();
    let base = format!("{}/", base.display());
    files
        .iter()
        .map(|file| storage.show(&file.key).replace(&base, ""))
        .collect()
}

#[tokio::test]
async fn a_pattern_finds_files_sorted_and_leaves_hidden_ones_out() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for key in [
        "b.csv",
        "a.csv",
        "sub/c.csv",
        "sub/deep/d.csv",
        ".a.csv.123.tidegate-tmp",
        "sub/_SUCCESS",
        "x y%20z:=ü.csv",
        "n[1].txt",
    ] {
        put(root, key, b"1");
    }
    assert_eq!(
        found("*.csv", root).await,
        ["a.csv", "b.csv", "x y%20z:=ü.csv"]
    );
    assert_eq!(found("a.csv", root).await, ["a.csv"]);
    assert_eq!(found("**/*.csv", root).await.len(), 5);
    assert_eq!(
        found("s*/**/[cd].csv", root).await,
        ["sub/c.csv", "sub/deep/d.csv"]
    );
    assert_eq!(found("*/*.csv", root).await, ["sub/c.csv"]);
    assert_eq!(found("sub", root).await, ["sub/c.csv", "sub/deep/d.csv"]);
    assert_eq!(found("n[[]1].txt", root).await, ["n[1].txt"]);
    assert!(found("nowhere/*.csv", root).await.is_empty());
    let absolute = format!("file://{}/?.csv", root.display());
    assert_eq!(found(&absolute, root).await, ["a.csv", "b.csv"]);
}

#[tokio::test]
async fn nothing_found_is_an_error_that_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let pattern = Pattern::parse("in/*.csv", dir.path(), &Access::default())
        .await
        .unwrap();
    let error = pattern.expect("here").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("`in/*.csv`"), "{error}");
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn a_file_is_read_in_order_whatever_the_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..100_003_u32).flat_map(u32::to_le_bytes).collect();
    put(dir.path(), "f", &bytes);
    let storage = open(dir.path()).await;
    let file = storage.head("f").await.unwrap();
    assert_eq!(file.size, bytes.len() as u64);
    for (chunk, ahead, begin) in [
        (1 << 12, 0, 0_usize),
        (7001, 3, 12_345),
        (1 << 30, 1, 400_011),
    ] {
        let how = ReadAhead { chunk, ahead };
        let chunks: Vec<Bytes> = storage
            .stream(&file, begin as u64..file.size, how)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(chunks.concat(), bytes[begin..]);
    }
    assert_eq!(storage.read(&file, 8..12).await.unwrap(), bytes[8..12]);
    assert_eq!(storage.file("nothing").await.unwrap(), None);
}

#[tokio::test]
async fn a_file_that_changed_is_not_read_on() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "f", b"12345678");
    let storage = open(dir.path()).await;
    let file = storage.head("f").await.unwrap();
    put(dir.path(), "f", b"123");
    let error = storage.read(&file, 0..8).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_file_appears_at_publish_and_again_is_nothing() {
    for place in ["dir", "memory"] {
        let dir = tempfile::tempdir().unwrap();
        let storage = match place {
            "dir" => open(&dir.path().join("out")).await,
            _ => Storage::open(
                &Location::parse("memory://publish/a", Path::new("/")).unwrap(),
                &Access::default(),
            )
            .await
            .unwrap(),
        };
        let staged = stage(&storage, "y=1/part.txt", &["hello ", "world"])
            .await
            .unwrap();
        assert_eq!(staged.bytes, 11);
        assert!(
            storage
                .list("", Names::NoDotfiles)
                .await
                .unwrap()
                .is_empty()
        );
        // The token and what was staged go through the state as JSON.
        let staged: Staged =
            serde_json::from_value(serde_json::to_value(&staged).unwrap()).unwrap();
        for _ in 0..3 {
            storage
                .publish(std::slice::from_ref(&staged))
                .await
                .unwrap();
            storage
                .discard(std::slice::from_ref(&staged.token))
                .await
                .unwrap();
            let files = storage.list("", Names::NoDotfiles).await.unwrap();
            assert_eq!(files.len(), 1, "{place}");
            assert_eq!(storage.read(&files[0], 0..11).await.unwrap(), "hello world");
        }
        storage
            .delete(&["y=1/part.txt".into(), "y=2/none".into()])
            .await
            .unwrap();
        assert!(
            storage
                .list("", Names::NoDotfiles)
                .await
                .unwrap()
                .is_empty()
        );
        let error = storage.publish(&[staged]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{place}");
    }
}

#[tokio::test]
async fn discard_leaves_nothing_behind_but_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "old/keep", b"1");
    let before = tree(dir.path());
    let storage = open(dir.path()).await;
    let a = stage(&storage, "new/x=1/a", &["1"]).await.unwrap();
    let b = stage(&storage, "new/x=2/b", &["1"]).await.unwrap();
    let c = stage(&storage, "old/c", &["1"]).await.unwrap();
    storage.discard(&[a.token, b.token, c.token]).await.unwrap();
    assert_eq!(tree(dir.path()), before);
}

#[tokio::test]
async fn deleting_removes_the_directories_that_it_empties() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "t/y=1/m=1/a", b"1");
    put(dir.path(), "t/y=2/b", b"1");
    put(dir.path(), "t/y=2/c", b"1");
    let storage = open(&dir.path().join("t")).await;
    storage
        .delete(&["y=1/m=1/a".into(), "y=2/b".into()])
        .await
        .unwrap();
    assert_eq!(tree(dir.path()), ["t/", "t/y=2/", "t/y=2/c"]);
}

#[tokio::test]
async fn names_are_refused_where_they_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "directory/x", b"1");
    put(dir.path(), "file", b"1");
    let storage = open(dir.path()).await;
    let error = storage.begin("directory").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint_text().is_some());
    for key in ["../x", "a//b", "", "a/./b"] {
        assert_eq!(
            storage.begin(key).await.unwrap_err().kind(),
            ErrorKind::Config,
            "{key}"
        );
    }
    let error = stage(&storage, "file/x", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let error = open(&dir.path().join("file/out"))
        .await
        .check_writable()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    // As long as a name may be, its temporary name is cut.
    let long = format!("{}.parquet", "ü".repeat(120));
    let staged = stage(&storage, &long, &["1"]).await.unwrap();
    storage.publish(&[staged]).await.unwrap();
    assert!(dir.path().join(long).is_file());
}

#[tokio::test]
async fn what_stands_in_the_way_of_publishing_can_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path()).await;
    let staged = stage(&storage, "part.txt", &["1"]).await.unwrap();
    fs::create_dir(dir.path().join("part.txt")).unwrap();
    let error = storage
        .publish(std::slice::from_ref(&staged))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    fs::remove_dir(dir.path().join("part.txt")).unwrap();
    storage.publish(&[staged]).await.unwrap();
    assert_eq!(tree(dir.path()), ["part.txt"]);
}

#[tokio::test]
async fn a_check_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir.path().join("a/b/c")).await;
    storage.check_writable().await.unwrap();
    assert!(tree(dir.path()).is_empty());
}

/// The last thing a process did for a file before it died.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Died {
    Begun,
    Created,
    Written,
    Finished,
    Checkpointed,
    Published,
}

/// Writes `key` as far as `died` lets it; what was journalled, and what was checkpointed.
async fn write_until(storage: &Storage, key: &str, died: Died) -> (StagedToken, Option<Staged>) {
    let token = storage.begin(key).await.unwrap();
    if died == Died::Begun {
        return (token, None);
    }
    let mut writer = storage.create(&token).await.unwrap();
    if died == Died::Created {
        return (token, None);
    }
    writer.write(Bytes::from(key.to_owned())).await.unwrap();
    if died == Died::Written {
        return (token, None);
    }
    let staged = writer.finish().await.unwrap();
    if died >= Died::Published {
        storage
            .publish(std::slice::from_ref(&staged))
            .await
            .unwrap();
    }
    (token, (died >= Died::Checkpointed).then_some(staged))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever each of several files had come to when the process died: after recovery exactly
    /// those of the checkpoint are there, whole, and nothing else; and recovery may die and be
    /// done again.
    #[test]
    fn recovery_leaves_exactly_what_was_checkpointed(
        deaths in proptest::collection::vec(0..6_usize, 1..8),
        again in 1..3_usize,
    ) {
        const ALL: [Died; 6] = [
            Died::Begun, Died::Created, Died::Written,
            Died::Finished, Died::Checkpointed, Died::Published,
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let storage = open(&dir.path().join("out")).await;
            let (mut begun, mut kept, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
            for (i, death) in deaths.iter().enumerate() {
                let key = format!("p={}/file-{i}", i % 3);
                let (token, staged) = write_until(&storage, &key, ALL[*death]).await;
                match staged {
                    Some(staged) => {
                        kept.push(staged);
                        wanted.push(key);
                    }
                    None => begun.push(token),
                }
            }
            for _ in 0..again {
                storage.publish(&kept).await.unwrap();
                storage.discard(&begun).await.unwrap();
            }
            wanted.sort();
            let files = tree(&dir.path().join("out"));
            let files: Vec<_> = files.into_iter().filter(|name| !name.ends_with('/')).collect();
            assert_eq!(files, wanted);
            for key in wanted {
                assert_eq!(fs::read_to_string(dir.path().join("out").join(&key)).unwrap(), key);
            }
        });
    }
}

#[tokio::test]
async fn a_name_that_became_too_long_is_published_under_a_shorter_one() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path()).await;
    // As a state of a version that began such names has it.
    let token = |unique: &str| StagedToken {
        key: format!("day=1/{}.csv.gz", "ü".repeat(140)),
        unique: unique.to_owned(),
        directories: 1,
    };
    let mut staged = Vec::new();
    for unique in [
        "0123456789abcdef0123456789abcdef",
        "00000000000000000000000000000000",
    ] {
        let writer = storage.create(&token(unique)).await.unwrap();
        staged.push(writer.finish().await.unwrap());
    }
    for _ in 0..2 {
        storage.publish(&staged).await.unwrap();
        let tokens: Vec<_> = staged.iter().map(|one| one.token.clone()).collect();
        storage.discard(&tokens).await.unwrap();
        let names = tree(dir.path());
        assert_eq!(names.len(), 3, "{names:?}");
        for (name, staged) in names[1..].iter().rev().zip(&staged) {
            assert!(name.contains(&staged.token.unique), "{name}");
            assert!(name.ends_with(".csv.gz") && name.len() < 255, "{name}");
        }
    }
    for name in &tree(dir.path())[1..] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let error = storage.publish(&staged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}
