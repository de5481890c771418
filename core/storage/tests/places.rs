//! What storage promises, in every place: a directory, memory, and two servers of S3.

#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::try_join_all;
use serde_json::json;
use tidegate_aws::{Aws, AwsSettings};
use tidegate_core::{Context, Error, ErrorKind, Metrics, Result};
use tidegate_storage::{Access, Location, Names, Pattern, Staged, StagedToken, Storage};
use tidegate_testkit::servers::{self, AwsServer, Fault, Faults, Proxy, Reply};

/// A place, new and empty, that is gone after the test.
struct World {
    url: String,
    settings: serde_json::Value,
    metrics: Arc<Metrics>,
    server: Option<Arc<AwsServer>>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn local() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            url: directory.path().to_str().unwrap().to_owned(),
            settings: json!({}),
            metrics: Arc::default(),
            server: None,
            _folder: directory,
        }
    }

    async fn memory() -> Self {
        Self {
            url: format!("memory://{}", uuid::Uuid::new_v4()),
            ..Self::local().await
        }
    }

    async fn seaweedfs() -> Self {
        static SHARED: Mutex<Weak<AwsServer>> = Mutex::new(Weak::new());
        Self::s3(shared(&SHARED, servers::seaweedfs).await).await
    }

    async fn moto() -> Self {
        static SHARED: Mutex<Weak<AwsServer>> = Mutex::new(Weak::new());
        Self::s3(shared(&SHARED, servers::moto).await).await
    }

    async fn s3(server: Arc<AwsServer>) -> Self {
        let world = Self {
            url: format!("s3://lake/{}", uuid::Uuid::new_v4()),
            settings: server.settings(),
            server: Some(server),
            ..Self::local().await
        };
        // Tests begin at once, and SeaweedFS may know nothing of a bucket that another is making.
        let mut tries = 0;
        loop {
            let client = world.client().await;
            let Err(error) = client.create_bucket().bucket("lake").send().await else {
                break;
            };
            let text = format!("{error:?}");
            if text.contains("Already") {
                break;
            }
            tries += 1;
            assert!(tries < 20 && text.contains("NoSuchBucket"), "{text}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        world
    }

    fn access(&self) -> Access {
        access(&self.settings, &self.metrics)
    }

    async fn open(&self, path: &str) -> Storage {
        let url = format!("{}/{path}", self.url);
        let location = Location::parse(&url, Path::new("/")).unwrap();
        Storage::open(&location, &self.access()).await.unwrap()
    }

    /// A client beside Tidegate's, to see and do what nobody is to do.
    async fn client(&self) -> Client {
        client(&self.settings).await
    }

    /// The open uploads of this world.
    async fn uploads(&self) -> Vec<(String, String)> {
        let prefix = self.url.strip_prefix("s3://lake/").unwrap();
        let request = self.client().await.list_multipart_uploads();
        let found = request.bucket("lake").prefix(prefix).send().await.unwrap();
        let found = found.uploads().iter();
        found
            .map(|upload| {
                (
                    upload.key().unwrap().to_owned(),
                    upload.upload_id().unwrap().to_owned(),
                )
            })
            .collect()
    }
}

async fn client(settings: &serde_json::Value) -> Client {
    let settings: AwsSettings = serde_json::from_value(settings.clone()).unwrap();
    let aws = Aws::connect(&settings, &Arc::default()).await.unwrap();
    let config = aws_sdk_s3::config::Builder::from(aws.config()).force_path_style(true);
    Client::from_conf(config.build())
}

fn access(settings: &serde_json::Value, metrics: &Arc<Metrics>) -> Access {
    let mut all = serde_json::Map::new();
    all.insert("aws".into(), settings.clone());
    let mut cx = Context::detached(Path::new("/"), Arc::new(all)).unwrap();
    cx.metrics = Arc::clone(metrics);
    Access::of(&cx, None).unwrap()
}

/// The server that other tests use at this moment, or a new one.
async fn shared(at: &'static Mutex<Weak<AwsServer>>, start: fn() -> AwsServer) -> Arc<AwsServer> {
    let get = move || {
        let mut at = at.lock().unwrap_or_else(PoisonError::into_inner);
        at.upgrade().unwrap_or_else(|| {
            let server = Arc::new(start());
            *at = Arc::downgrade(&server);
            server
        })
    };
    tokio::task::spawn_blocking(get).await.unwrap()
}

async fn stage(storage: &Storage, key: &str, parts: &[&[u8]]) -> Result<Staged> {
    let token = storage.begin(key).await?;
    let mut writer = storage.create(&token).await?;
    for part in parts {
        writer.write(Bytes::copy_from_slice(part)).await?;
    }
    writer.finish().await
}

async fn stage_whole(storage: &Storage, key: &str, bytes: Vec<u8>) -> Result<Staged> {
    stage(storage, key, &[&bytes]).await
}

async fn put(storage: &Storage, key: &str, bytes: &[u8]) {
    let staged = stage(storage, key, &[bytes]).await.unwrap();
    storage.publish(&[staged]).await.unwrap();
}

async fn keys(storage: &Storage) -> Vec<String> {
    let files = storage.list("", Names::NoDotfiles).await.unwrap();
    files.into_iter().map(|file| file.key).collect()
}

async fn content(storage: &Storage, key: &str) -> Vec<u8> {
    let file = storage.head(key).await.unwrap();
    let chunks = storage.stream(&file, 0..file.size, storage.read_ahead());
    let chunks: Vec<Bytes> = chunks.try_collect().await.unwrap();
    chunks.concat()
}

/// Through the state and back, as JSON.
fn stored(staged: &Staged) -> Staged {
    serde_json::from_value(serde_json::to_value(staged).unwrap()).unwrap()
}

macro_rules! in_every_place {
    ($($name:ident,)*) => {
        in_every_place!(@ local $($name,)*);
        in_every_place!(@ memory $($name,)*);
        in_every_place!(@ seaweedfs $($name,)*);
        in_every_place!(@ moto $($name,)*);
    };
    (@ $place:ident $($name:ident,)*) => {
        mod $place {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::$place().await).await;
            })*
        }
    };
}

in_every_place! {
    a_file_appears_at_publish_and_again_is_nothing,
    a_renamed_file_replaces_what_was_there_and_again_is_nothing,
    recovery_leaves_exactly_what_was_checkpointed,
    odd_names_are_kept_as_they_are,
    a_large_file_goes_in_parts,
    an_empty_file_is_a_file,
    many_files_are_written_at_once,
    a_check_leaves_nothing_behind,
    a_directory_is_where_keys_are,
    a_file_that_changed_is_not_read_on,
    a_file_is_moved_unless_it_is_another_one_and_replaces_none,
    names_that_cannot_be_are_refused,
    a8_a_name_that_is_there_is_taken_as_it_is,
    partitions_that_begin_with_an_underscore_are_found,
}

async fn a_file_appears_at_publish_and_again_is_nothing(world: World) {
    let storage = world.open("out").await;
    let staged = stage(&storage, "y=1/part.txt", &[b"hello ", b"world"])
        .await
        .unwrap();
    assert_eq!(staged.bytes, 11);
    assert!(keys(&storage).await.is_empty());
    assert_eq!(storage.file("y=1/part.txt").await.unwrap(), None);
    let staged = stored(&staged);
    for _ in 0..3 {
        storage
            .publish(std::slice::from_ref(&staged))
            .await
            .unwrap();
        storage
            .discard(std::slice::from_ref(&staged.token))
            .await
            .unwrap();
        assert_eq!(keys(&storage).await, ["y=1/part.txt"]);
        assert_eq!(content(&storage, "y=1/part.txt").await, b"hello world");
    }
    let gone = ["y=1/part.txt".to_owned(), "y=2/none".to_owned()];
    storage.delete(&gone).await.unwrap();
    storage.delete(&gone).await.unwrap();
    assert!(keys(&storage).await.is_empty());
    let error = storage.publish(&[staged]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(error.hint_text().is_some());
}

async fn a_renamed_file_replaces_what_was_there_and_again_is_nothing(world: World) {
    let storage = world.open("out").await;
    put(&storage, "day one.csv", b"old").await;
    let staged = stage(&storage, "day one-7-1.csv", &[b"new"]).await.unwrap();
    let staged = Staged {
        renamed: Some("day one.csv".into()),
        ..stored(&staged)
    };
    assert_eq!(content(&storage, "day one.csv").await, b"old");
    for _ in 0..3 {
        storage
            .publish(std::slice::from_ref(&staged))
            .await
            .unwrap();
        assert_eq!(keys(&storage).await, ["day one.csv"]);
        assert_eq!(content(&storage, "day one.csv").await, b"new");
    }
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

async fn write_until(storage: &Storage, key: &str, died: Died) -> (StagedToken, Option<Staged>) {
    let token = storage.begin(key).await.unwrap();
    if died == Died::Begun {
        return (token, None);
    }
    let mut writer = storage.create(&token).await.unwrap();
    if died >= Died::Written {
        writer.write(Bytes::from(key.to_owned())).await.unwrap();
    }
    if died < Died::Finished {
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

async fn recovery_leaves_exactly_what_was_checkpointed(world: World) {
    const ALL: [Died; 6] = [
        Died::Begun,
        Died::Created,
        Died::Written,
        Died::Finished,
        Died::Checkpointed,
        Died::Published,
    ];
    let storage = world.open("out").await;
    let (mut begun, mut kept, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for (i, died) in ALL.into_iter().cycle().take(12).enumerate() {
        let key = format!("p={}/file-{i}", i % 3);
        let (token, staged) = write_until(&storage, &key, died).await;
        match staged {
            Some(staged) => {
                kept.push(stored(&staged));
                wanted.push(key);
            }
            None => begun.push(token),
        }
    }
    // Recovery may die and be done again.
    for _ in 0..2 {
        storage.publish(&kept).await.unwrap();
        storage.discard(&begun).await.unwrap();
    }
    wanted.sort();
    assert_eq!(keys(&storage).await, wanted);
    for key in wanted {
        assert_eq!(content(&storage, &key).await, key.as_bytes());
    }
    if world.server.is_some() {
        assert_eq!(world.uploads().await, []);
    }
}

async fn odd_names_are_kept_as_they_are(world: World) {
    const ODD: [&str; 8] = [
        "a b.csv",
        "day=2024-01-01 00:00:00/x.csv",
        "100%/50%25.csv",
        "a+b&c.csv",
        "größe/日本.csv",
        "it's \"here\" (1)!.csv",
        "#1?.csv",
        "a~b,c;d@e$f.csv",
    ];
    let storage = world.open("odd + names/ü=1").await;
    for name in ODD {
        put(&storage, name, name.as_bytes()).await;
        let renamed = format!("{name}.renamed");
        let staged = stage(&storage, &format!("{name}-1"), &[b"r"])
            .await
            .unwrap();
        let staged = Staged {
            renamed: Some(renamed),
            ..staged
        };
        storage.publish(&[staged]).await.unwrap();
        assert_eq!(content(&storage, name).await, name.as_bytes());
        let pattern = world.open("").await.url("odd + names/**/*.csv");
        let files = Pattern::parse(&pattern, Path::new("/"), &world.access())
            .await
            .unwrap();
        assert_eq!(files.list().await.unwrap().len(), 1, "{name}");
        assert_eq!(keys(&storage).await.len(), 2, "{name}");
        storage
            .delete(&[name.to_owned(), format!("{name}.renamed")])
            .await
            .unwrap();
        assert!(keys(&storage).await.is_empty(), "{name}");
    }
}

/// Bytes that differ wherever two parts could be confused.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise.extend_from_slice(&state.to_be_bytes());
    }
    noise.truncate(bytes);
    noise
}

async fn a_large_file_goes_in_parts(world: World) {
    let storage = world.open("out").await;
    let bytes = noise((28 << 20) + 12_345);
    let token = storage.begin("large").await.unwrap();
    let mut writer = storage.create(&token).await.unwrap();
    let (small, large) = bytes.split_at(9 << 20);
    for piece in small.chunks(100_003) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.write(Bytes::copy_from_slice(large)).await.unwrap();
    let staged = writer.finish().await.unwrap();
    assert_eq!(staged.bytes, bytes.len() as u64);
    if world.server.is_some() {
        assert_eq!(staged.receipt["parts"].as_array().unwrap().len(), 4);
    }
    storage.publish(&[stored(&staged)]).await.unwrap();
    assert!(content(&storage, "large").await == bytes);
    let file = storage.head("large").await.unwrap();
    let middle = 8_388_600..8_388_700;
    let read = storage
        .read(&file, middle.start as u64..middle.end as u64)
        .await
        .unwrap();
    assert_eq!(read, bytes[middle]);
}

async fn an_empty_file_is_a_file(world: World) {
    let storage = world.open("out").await;
    put(&storage, "empty", b"").await;
    assert_eq!(keys(&storage).await, ["empty"]);
    assert_eq!(storage.head("empty").await.unwrap().size, 0);
    assert!(content(&storage, "empty").await.is_empty());
}

async fn many_files_are_written_at_once(world: World) {
    let storage = world.open("out").await;
    let names: Vec<String> = (100..140).map(|i| format!("p={}/{i}", i % 4)).collect();
    let staging = names
        .iter()
        .map(|name| stage_whole(&storage, name, name.clone().into()));
    let staged = try_join_all(staging).await.unwrap();
    storage.publish(&staged).await.unwrap();
    let mut wanted = names.clone();
    wanted.sort();
    assert_eq!(keys(&storage).await, wanted);
    // More than one request may name, and most of them not there.
    let all: Vec<String> = (0..2_500).map(|i| format!("p={}/{i}", i % 4)).collect();
    storage.delete(&all).await.unwrap();
    assert!(keys(&storage).await.is_empty());
}

async fn a_check_leaves_nothing_behind(world: World) {
    let storage = world.open("not/there").await;
    storage.check_writable().await.unwrap();
    assert!(!storage.exists().await.unwrap());
    if world.server.is_some() {
        assert_eq!(world.uploads().await, []);
    }
}

async fn a_directory_is_where_keys_are(world: World) {
    let root = world.open("root").await;
    assert!(!root.exists().await.unwrap());
    put(&root, "a/b/c.csv", b"1").await;
    put(&root, "a/d.csv", b"1").await;
    put(&root, "ab.csv", b"1").await;
    assert!(root.exists().await.unwrap());
    let directory = world.open("root/a").await;
    assert!(directory.exists().await.unwrap());
    assert!(!world.open("root/a/b/c").await.exists().await.unwrap());
    assert_eq!(root.file("a").await.unwrap(), None);
    assert_eq!(keys(&directory).await, ["b/c.csv", "d.csv"]);
    let right_here = root.list_directory("a").await.unwrap();
    assert_eq!(right_here.len(), 1);
    assert_eq!(right_here[0].key, "a/d.csv");
    let file = world.open("root/a/d.csv").await;
    assert!(file.exists().await.unwrap());
    assert_eq!(file.file("").await.unwrap().unwrap().size, 1);
    let url = root.url("*/*.csv");
    let found = Pattern::parse(&url, Path::new("/"), &world.access())
        .await
        .unwrap();
    assert_eq!(found.list().await.unwrap().len(), 1);
    let url = root.url("a");
    let found = Pattern::parse(&url, Path::new("/"), &world.access())
        .await
        .unwrap();
    assert_eq!(found.list().await.unwrap().len(), 2);
}

async fn a_file_that_changed_is_not_read_on(world: World) {
    let storage = world.open("in").await;
    put(&storage, "f", b"12345678").await;
    let file = storage.head("f").await.unwrap();
    put(&storage, "f", b"123").await;
    let error = storage.read(&file, 0..8).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
}

async fn a_file_is_moved_unless_it_is_another_one_and_replaces_none(world: World) {
    let (from, to) = (world.open("in").await, world.open("bad").await);
    put(&from, "y=1/a b.csv", b"one").await;
    put(&from, "b.csv", b"two").await;
    let known = from.head("y=1/a b.csv").await.unwrap();
    let moved = from.move_to(&known, &to, "y=1/a b.csv").await.unwrap();
    assert_eq!(moved, Some(to.show("y=1/a b.csv")));
    assert_eq!(content(&to, "y=1/a b.csv").await, b"one");
    assert_eq!(keys(&from).await, ["b.csv"]);
    // Again is nothing.
    let moved = from.move_to(&known, &to, "y=1/a b.csv").await.unwrap();
    assert_eq!(moved, None);
    put(&from, "y=1/a b.csv", b"another").await;
    let moved = from.move_to(&known, &to, "y=1/a b.csv").await.unwrap();
    assert_eq!(moved, None);
    let known = from.head("y=1/a b.csv").await.unwrap();
    let moved = from.move_to(&known, &to, "y=1/a b.csv").await.unwrap();
    let name = format!("y=1/a b.csv.{}", known.modified.timestamp_micros());
    assert_eq!(moved, Some(to.show(&name)));
    assert_eq!(content(&to, "y=1/a b.csv").await, b"one");
    assert_eq!(content(&to, &name).await, b"another");
    // A storage may be the file itself.
    let file = world.open("in/b.csv").await;
    let known = file.head("").await.unwrap();
    let moved = file.move_to(&known, &to, "b.csv").await.unwrap();
    assert_eq!(moved, Some(to.show("b.csv")));
    assert!(keys(&from).await.is_empty());
}

async fn names_that_cannot_be_are_refused(world: World) {
    let storage = world.open("out").await;
    if world.url.starts_with("memory") {
        return;
    }
    for key in ["../x", "a//b", "", "a/./b", "a/"] {
        let error = storage.begin(key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{key}");
    }
    if world.server.is_none() {
        for key in [
            "x".repeat(256),
            format!("{}/a", "x".repeat(256)),
            format!("a/{}.csv", "ü".repeat(126)),
        ] {
            assert_eq!(
                storage.check_name(&key).unwrap_err().kind(),
                ErrorKind::Config
            );
            let error = storage.begin(&key).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{key}");
            assert!(error.hint_text().unwrap().contains("255"), "{error:?}");
        }
        let longest = format!("a/{}", "x".repeat(255));
        put(&storage, &longest, b"1").await;
        assert_eq!(keys(&storage).await, [longest]);
    }
    if world.server.is_some() {
        let long = "x".repeat(1_000);
        let error = storage.begin(&long).await.unwrap_err();
        assert!(error.hint_text().unwrap().contains("1,024"), "{error:?}");
    }
}

/// What only S3 can do to us; on both servers.
macro_rules! on_s3 {
    ($($name:ident,)*) => {
        mod s3_seaweedfs {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::seaweedfs().await).await;
            })*
        }
        mod s3_moto {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::moto().await).await;
            })*
        }
    };
}

on_s3! {
    an_upload_that_someone_aborted_is_a_conflict,
    an_object_of_someone_else_is_not_taken_for_ours,
    only_uploads_of_exactly_the_journalled_keys_are_discarded,
    a_rename_that_died_halfway_is_finished,
    a_bucket_that_is_not_there_is_named,
    empty_directories_of_a_console_are_no_files,
    names_of_either_normal_form_are_told_apart,
}

async fn abort_all(world: &World) {
    for (key, id) in world.uploads().await {
        let request = world.client().await.abort_multipart_upload();
        request
            .bucket("lake")
            .key(key)
            .upload_id(id)
            .send()
            .await
            .unwrap();
    }
}

fn is_a_conflict_with_a_way_out(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(error.hint_text().unwrap().contains("bucket"), "{error:?}");
}

async fn an_upload_that_someone_aborted_is_a_conflict(world: World) {
    let storage = world.open("out").await;
    let staged = stage(&storage, "a", &[b"1"]).await.unwrap();
    let renamed = Staged {
        renamed: Some("c".into()),
        ..stage(&storage, "b", &[b"1"]).await.unwrap()
    };
    abort_all(&world).await;
    for lost in [staged, renamed] {
        let error = storage.publish(&[lost]).await.unwrap_err();
        is_a_conflict_with_a_way_out(&error);
    }
}

/// Not on moto, which answers 500 to a part of an upload that is gone.
#[tokio::test]
async fn an_upload_aborted_while_it_is_written_is_a_conflict() {
    let world = World::seaweedfs().await;
    let storage = world.open("out").await;
    let token = storage.begin("a").await.unwrap();
    let mut writer = storage.create(&token).await.unwrap();
    writer.write(Bytes::from_static(b"1")).await.unwrap();
    abort_all(&world).await;
    let error = writer.finish().await.unwrap_err();
    is_a_conflict_with_a_way_out(&error);
}

async fn an_object_of_someone_else_is_not_taken_for_ours(world: World) {
    let storage = world.open("out").await;
    let staged = stage(&storage, "a", &[b"mine"]).await.unwrap();
    abort_all(&world).await;
    put(&storage, "a", b"theirs").await;
    let error = storage.publish(&[staged]).await.unwrap_err();
    is_a_conflict_with_a_way_out(&error);
    assert_eq!(content(&storage, "a").await, b"theirs");
}

async fn only_uploads_of_exactly_the_journalled_keys_are_discarded(world: World) {
    let storage = world.open("out").await;
    let mut tokens = Vec::new();
    for key in ["p=1/a", "p=1/ab", "p=2/a", "a"] {
        tokens.push(stage(&storage, key, &[b"1"]).await.unwrap().token);
    }
    let published = stage(&storage, "p=2/b", &[b"1"]).await.unwrap();
    storage
        .publish(std::slice::from_ref(&published))
        .await
        .unwrap();
    let left = |uploads: Vec<(String, String)>| {
        let keys = uploads.into_iter().map(|(key, _)| key);
        let mut keys: Vec<_> = keys
            .map(|key| key.split_once("/out/").unwrap().1.to_owned())
            .collect();
        keys.sort();
        keys
    };
    storage.discard(&tokens[..1]).await.unwrap();
    assert_eq!(left(world.uploads().await), ["a", "p=1/ab", "p=2/a"]);
    let rest = [tokens[0].clone(), tokens[2].clone(), published.token];
    storage.discard(&rest).await.unwrap();
    assert_eq!(left(world.uploads().await), ["a", "p=1/ab"]);
    assert_eq!(keys(&storage).await, ["p=2/b"]);
}

async fn a_rename_that_died_halfway_is_finished(world: World) {
    let storage = world.open("out").await;
    put(&storage, "plain", b"old").await;
    let staged = stage(&storage, "plain-1", &[b"new"]).await.unwrap();
    // Died between the completion and the copy.
    storage
        .publish(std::slice::from_ref(&staged))
        .await
        .unwrap();
    let renamed = Staged {
        renamed: Some("plain".into()),
        ..staged
    };
    for _ in 0..2 {
        storage
            .publish(std::slice::from_ref(&renamed))
            .await
            .unwrap();
        assert_eq!(keys(&storage).await, ["plain"]);
        assert_eq!(content(&storage, "plain").await, b"new");
    }
}

async fn a_bucket_that_is_not_there_is_named(world: World) {
    let location = Location::parse("s3://nowhere/x", Path::new("/")).unwrap();
    let storage = Storage::open(&location, &world.access()).await.unwrap();
    let checked = storage.check_writable().await.unwrap_err();
    let listed = storage.list("", Names::NoDotfiles).await.unwrap_err();
    for error in [checked, listed] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.to_string().contains("bucket"), "{error:?}");
        assert!(error.to_string().contains("s3://nowhere/x"), "{error:?}");
        assert!(error.hint_text().unwrap().contains("bucket"), "{error:?}");
    }
}

async fn empty_directories_of_a_console_are_no_files(world: World) {
    let storage = world.open("out").await;
    put(&storage, "a/empty", b"").await;
    let prefix = world.url.strip_prefix("s3://lake/").unwrap();
    for key in ["out/", "out/a/", "out/nothing/"] {
        let request = world.client().await.put_object().bucket("lake");
        request.key(format!("{prefix}/{key}")).send().await.unwrap();
    }
    assert_eq!(keys(&storage).await, ["a/empty"]);
    assert_eq!(storage.list_directory("").await.unwrap(), []);
    let all = storage.url("*");
    let found = Pattern::parse(&all, Path::new("/"), &world.access())
        .await
        .unwrap();
    assert_eq!(found.list().await.unwrap(), []);
}

/// SeaweedFS is a file system below, which has no empty names and takes `directory/` for a directory.
#[tokio::test]
async fn c8_keys_that_cant_be_read_hide_no_others() {
    let world = World::moto().await;
    let storage = world.open("in").await;
    put(&storage, "a/b.csv", b"1").await;
    put(&storage, "a/c d+e%20.csv", b"1").await;
    let prefix = world.url.strip_prefix("s3://lake/").unwrap();
    let odd = [
        "a//b.csv",
        "a/b\u{1}.csv",
        "a/./b.csv",
        "a/../b.csv",
        "a/full/",
    ];
    for key in odd {
        let request = world.client().await.put_object().bucket("lake");
        let request = request.key(format!("{prefix}/in/{key}"));
        let request = request.body(Bytes::from_static(b"x").into());
        request.send().await.unwrap();
    }
    let listing = storage.listing("", Names::Visible).await.unwrap();
    let keys: Vec<_> = listing.files.iter().map(|file| file.key.as_str()).collect();
    assert_eq!(keys, ["a/b.csv", "a/c d+e%20.csv"]);
    let mut left_out: Vec<_> = listing
        .left_out
        .iter()
        .map(|one| one.path.as_str())
        .collect();
    left_out.sort_unstable();
    // `.` and `..` are hidden names.
    let wanted = [odd[0], odd[1], odd[4]].map(|key| storage.show(key));
    let mut wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(left_out, wanted);
    for (text, count) in [
        ("in/a/*.csv", 2),
        ("in/**/*.csv", 2),
        ("in/a/b.*", 1),
        ("in", 2),
    ] {
        let url = world.open("").await.url(text);
        let found = Pattern::parse(&url, Path::new("/"), &world.access()).await;
        assert_eq!(found.unwrap().list().await.unwrap().len(), count, "{text}");
    }
    let url = format!("{}/in/a//b.csv", world.url);
    let error = Pattern::parse(&url, Path::new("/"), &world.access()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
}

async fn names_of_either_normal_form_are_told_apart(world: World) {
    let storage = world.open("in").await;
    for (name, content) in [("\u{e9}.csv", b"1"), ("e\u{301}.csv", b"2")] {
        put(&storage, name, content).await;
    }
    assert_eq!(keys(&storage).await, ["e\u{301}.csv", "\u{e9}.csv"]);
    assert_eq!(content(&storage, "\u{e9}.csv").await, b"1");
    assert_eq!(content(&storage, "e\u{301}.csv").await, b"2");
}

async fn a8_a_name_that_is_there_is_taken_as_it_is(world: World) {
    let root = world.open("").await;
    for key in [
        "in/s[1].csv",
        "in/s1.csv",
        "t[1]/a*.csv",
        "t[1]/ab.csv",
        "t1/c.csv",
    ] {
        put(&root, key, key.as_bytes()).await;
    }
    for (text, wanted) in [
        ("in/s[1].csv", vec!["in/s[1].csv"]),
        ("in/s[[]1].csv", vec!["in/s[1].csv"]),
        ("in/s[12].csv", vec!["in/s1.csv"]),
        ("t[1]", vec!["t[1]/a*.csv", "t[1]/ab.csv"]),
        ("t[1]/a*.csv", vec!["t[1]/a*.csv"]),
        ("t[1]/?b.csv", vec!["t[1]/ab.csv"]),
    ] {
        let url = format!("{}/{text}", world.url);
        let found = Pattern::parse(&url, Path::new("/"), &world.access()).await;
        let found = found.unwrap();
        let mut read = Vec::new();
        for file in found.list().await.unwrap() {
            let bytes = found.storage().read(&file, 0..file.size).await.unwrap();
            read.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
        assert_eq!(read, wanted, "{text}");
    }
}

async fn partitions_that_begin_with_an_underscore_are_found(world: World) {
    let root = world.open("t").await;
    for key in [
        "_op=insert/a.csv",
        "_tmp/b.csv",
        ".x=1/c.csv",
        "_SUCCESS",
        "_op=a/_x=1/d.csv",
    ] {
        put(&root, key, b"1").await;
    }
    let listed = root.list("", Names::Visible).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|file| file.key.as_str()).collect();
    assert_eq!(listed, ["_op=a/_x=1/d.csv", "_op=insert/a.csv"]);
    for (text, count) in [("t", 2), ("t/**/*.csv", 2), ("t/*/*.csv", 2)] {
        let url = format!("{}/{text}", world.url);
        let found = Pattern::parse(&url, Path::new("/"), &world.access()).await;
        assert_eq!(found.unwrap().list().await.unwrap().len(), count, "{text}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_from_a_wrong_key() {
    let world = World::seaweedfs().await;
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "wrong").unwrap();
    let mut secret = world.settings.clone();
    secret["credentials"]["secret_access_key"]["file"] = json!(wrong.path());
    let mut key = world.settings.clone();
    key["credentials"]["access_key_id"] = json!("nobody");
    let location = Location::parse(&world.url, Path::new("/")).unwrap();
    let mut hints = Vec::new();
    for settings in [secret, key] {
        let access = access(&settings, &world.metrics);
        let storage = Storage::open(&location, &access).await.unwrap();
        let written = storage.check_writable().await.unwrap_err();
        let read = storage.list("", Names::NoDotfiles).await.unwrap_err();
        for error in [written, read] {
            assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
            hints.push(error.hint_text().unwrap().to_owned());
        }
    }
    assert_eq!(hints[0], hints[1]);
    assert_eq!(hints[2], hints[3]);
    assert_ne!(hints[0], hints[2]);
}

/// A bucket behind a proxy that can make things go wrong.
async fn behind_a_proxy() -> (Proxy, World) {
    let world = World::seaweedfs().await;
    let server = world.server.as_ref().unwrap();
    let proxy = Proxy::before(&server.url());
    let settings = server.settings_at(&proxy.url());
    (proxy, World { settings, ..world })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_in_ten_going_wrong_changes_nothing_and_is_counted() {
    let (proxy, world) = behind_a_proxy().await;
    let storage = world.open("out").await;
    proxy.fail(Faults::some(0.1, 7));
    let names: Vec<String> = (10..26).map(|i| format!("p={}/{i}", i % 4)).collect();
    let noise = noise(9 << 20);
    let content_of = |name: &str| {
        let more = if name.ends_with('5') {
            &noise[..]
        } else {
            &noise[..1000]
        };
        [name.as_bytes(), more].concat()
    };
    let staging = names
        .iter()
        .map(|name| stage_whole(&storage, name, content_of(name)));
    let mut staged = try_join_all(staging).await.unwrap();
    for (staged, name) in staged.iter_mut().zip(&names).take(4) {
        staged.renamed = Some(format!("{name}.renamed"));
    }
    storage.publish(&staged).await.unwrap();
    storage.publish(&staged).await.unwrap();
    let found = keys(&storage).await;
    assert_eq!(found.len(), names.len());
    for key in &found {
        let name = key.trim_end_matches(".renamed");
        assert!(content(&storage, key).await == content_of(name), "{key}");
    }
    storage.delete(&found[..8]).await.unwrap();
    assert_eq!(keys(&storage).await, found[8..]);
    proxy.calm();
    assert_eq!(
        world.uploads().await,
        [],
        "uploads whose ids were lost on the way"
    );
    let failures = proxy.failures() as u64;
    assert!(failures > 5, "{failures}");
    assert!(world.metrics.total_retries() >= failures, "{failures}");
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_asked_for_again() {
    let (proxy, world) = behind_a_proxy().await;
    let storage = world.open("out").await;
    let staged = stage(&storage, "a", &[b"1"]).await.unwrap();
    storage.publish(&[staged]).await.unwrap();
    proxy.fail(Faults::some(0.5, 3).of(&[Fault::Cut]));
    for _ in 0..10 {
        assert_eq!(keys(&storage).await, ["a"]);
    }
    let cuts = proxy.failures() as u64;
    assert!(cuts > 0);
    assert!(world.metrics.total_retries() >= cuts, "{cuts}");
}

#[tokio::test]
async fn an_error_inside_a_200_and_a_409_are_tried_again() {
    let (proxy, world) = behind_a_proxy().await;
    let storage = world.open("out").await;
    for (name, status, code) in [
        ("a", 200, "InternalError"),
        ("b", 409, "OperationAborted"),
        ("c", 409, "ConditionalRequestConflict"),
    ] {
        let staged = stage(&storage, name, &[b"1"]).await.unwrap();
        let mut left = 2;
        proxy.reply(move |request| {
            let completes = request.method == "POST" && request.path.contains("uploadId=");
            left -= i32::from(completes);
            (completes && left >= 0).then(|| Reply::s3_error(status, code, "again"))
        });
        storage.publish(&[staged]).await.unwrap();
        proxy.calm();
        assert_eq!(content(&storage, name).await, b"1", "{code}");
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_explained() {
    let (proxy, world) = behind_a_proxy().await;
    let storage = world.open("out").await;
    for (status, code, kind, hint) in [
        (301, "PermanentRedirect", ErrorKind::Config, "region"),
        (400, "ExpiredToken", ErrorKind::Auth, "aws sso login"),
        (403, "AccessDenied", ErrorKind::Auth, "policies"),
        (403, "RequestTimeTooSkewed", ErrorKind::Auth, "clock"),
    ] {
        proxy.reply(move |_| {
            let reply = Reply::s3_error(status, code, "no");
            Some(reply.with("x-amz-bucket-region", "eu-west-1"))
        });
        let written = storage.check_writable().await.unwrap_err();
        let listed = storage.list("", Names::NoDotfiles).await.unwrap_err();
        for error in [&written, &listed] {
            assert_eq!(error.kind(), kind, "{code}: {error:?}");
            assert!(
                error.hint_text().unwrap().contains(hint),
                "{code}: {error:?}"
            );
            assert!(error.to_string().contains(&world.url), "{code}: {error:?}");
        }
        if status == 301 {
            assert!(
                written.hint_text().unwrap().contains("eu-west-1"),
                "{written:?}"
            );
        }
    }
}

/// What the process that the next test starts does.
#[tokio::test]
async fn without_settings() {
    let Ok(url) = std::env::var("TIDEGATE_TEST_URL") else {
        return;
    };
    let location = Location::parse(&url, Path::new("/")).unwrap();
    let storage = Storage::open(&location, &Access::default()).await.unwrap();
    put(&storage, "a", b"1").await;
    assert_eq!(keys(&storage).await, ["a"]);
}

#[tokio::test]
async fn the_sdks_variables_hold_for_writing_and_reading() {
    let world = World::seaweedfs().await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "without_settings"]);
    for (name, value) in world.server.as_ref().unwrap().environment() {
        match name {
            "AWS_ENDPOINT_URL" => child
                .env("AWS_ENDPOINT_URL_S3", value)
                .env(name, "http://127.0.0.1:1"),
            _ => child.env(name, value),
        };
    }
    child.env("TIDEGATE_TEST_URL", format!("{}/out", world.url));
    let output = tokio::task::spawn_blocking(move || child.output());
    let output = output.await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert_eq!(keys(&world.open("out").await).await, ["a"]);
}
