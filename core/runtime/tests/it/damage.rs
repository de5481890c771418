//! A state in a directory that is lost, damaged, replaced, looked into by others, and copied.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tidegate_core::{ByteSize, Error, ErrorKind};
use tidegate_runtime::state::{SqliteStore, StateLocation, StateStore};
use tidegate_runtime::{Report, RunOptions, Status};

use crate::heads::{Bucket, Process};
use crate::running::Running;
use crate::state::begun;
use crate::world::{World, all, until};

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory).unwrap()
}

/// What a crash at this moment leaves of a directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, to).unwrap()),
        }
    }
}

/// A run that was killed after some commits; the directory, with a WAL that nobody emptied.
async fn killed(name: &str) -> (World, tempfile::TempDir) {
    let mut world = World::new(name)
        .source("n", json!({"rows": 2000, "step": 100, "pause_ms": 20}))
        .sink("out", &["n"], json!({}));
    world.options.checkpoint.bytes = Some(ByteSize(1));
    let left = tempfile::tempdir().unwrap();
    // While it is open, no other connection empties the WAL.
    let open = world.store();
    let running = Running::start(&world);
    until("two commits", || world.place("out").visible.len() >= 2).await;
    running.run.abort();
    let _ = running.run.await;
    // What it left going comes to its end, or else the copy were of several moments.
    tokio::time::sleep(Duration::from_millis(300)).await;
    copy(&world.state(), left.path());
    drop(open);
    let wal = fs::metadata(left.path().join("state.db-wal")).unwrap();
    assert!(wal.len() > 10_000, "{} bytes", wal.len());
    (world, left)
}

async fn run_in(world: &World, state: &Path) -> (Report, tidegate_core::Result<()>) {
    let (_stop, options) = world.run_options();
    let state = state.into();
    let options = RunOptions { state, ..options };
    world.pipeline().unwrap().run(options).await
}

fn expect_older(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.message().contains("older"), "{error}");
    let hint = error.hint_text().unwrap();
    assert!(
        hint.contains("-wal") && hint.contains("lock file"),
        "{hint}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_wal_is_refused_and_nothing_is_published_twice() {
    let (world, left) = killed("lost_wal").await;
    let before = world.place("out").rows();

    let scratch = tempfile::tempdir().unwrap();
    let damaged = scratch.path().join("state");
    copy(left.path(), &damaged);
    fs::remove_file(damaged.join("state.db-wal")).unwrap();
    let (report, result) = run_in(&world, &damaged).await;
    expect_older(&result.unwrap_err());
    assert_eq!(report.status, Status::Failed);
    assert_eq!(world.place("out").rows(), before);

    // Put back together, it continues as if nothing had been.
    fs::copy(
        left.path().join("state.db-wal"),
        damaged.join("state.db-wal"),
    )
    .unwrap();
    fs::copy(left.path().join("state.db"), damaged.join("state.db")).unwrap();
    let (report, result) = run_in(&world, &damaged).await;
    result.unwrap();
    assert!(report.resumed);
    assert_eq!(world.place("out").rows(), all(2000));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_is_refused_until_the_lock_file_is_removed() {
    let (_world, left) = killed("older_copy").await;
    // Only state.db was kept.
    for helper in ["state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(left.path().join(helper));
    }
    for _ in 0..2 {
        let refused = open(left.path()).acquire("older_copy").await.unwrap_err();
        expect_older(&refused);
        let lock = left.path().join("locks/older_copy");
        let lock = fs::canonicalize(lock).unwrap();
        let text = format!("{refused:?}");
        assert!(text.contains(lock.to_str().unwrap()), "{text}");
    }
    // Nor does it matter if all of it is gone.
    fs::remove_file(left.path().join("state.db")).unwrap();
    expect_older(&open(left.path()).acquire("older_copy").await.unwrap_err());
    // The other pipelines of the directory have lost nothing.
    open(left.path()).acquire("another").await.unwrap();

    fs::remove_file(left.path().join("locks/older_copy")).unwrap();
    let store = open(left.path());
    let hold = store.acquire("older_copy").await.unwrap();
    let fence = hold.fence();
    store.apply("older_copy", fence, begun(1)).await.unwrap();
    hold.release().await.unwrap();
    store.acquire("older_copy").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_in_the_wal_are_refused_or_lose_nothing() {
    let (_world, left) = killed("flipped").await;
    let scratch = tempfile::tempdir().unwrap();
    let in_a_copy = |name: &str| {
        let directory = scratch.path().join(name);
        copy(left.path(), &directory);
        directory
    };
    let whole = open(&in_a_copy("whole")).load("flipped").await.unwrap();
    let wal = fs::read(left.path().join("state.db-wal")).unwrap();
    let (mut refused, flips) = (0, 40);
    for flip in 0..flips {
        let directory = in_a_copy(&flip.to_string());
        let mut bytes = wal.clone();
        let at = wal.len() * flip / flips;
        bytes[at] ^= 1 << (flip % 8);
        fs::write(directory.join("state.db-wal"), bytes).unwrap();
        let store = open(&directory);
        match store.acquire("flipped").await {
            Ok(_) => {
                let mut found = store.load("flipped").await.unwrap().unwrap();
                let mut whole = whole.clone().unwrap();
                // What was only begun is left over then.
                found.journal.clear();
                whole.journal.clear();
                assert!(found == whole, "byte {at}: {found:#?}\n{whole:#?}");
            }
            Err(error) => {
                expect_older(&error);
                refused += 1;
            }
        }
    }
    assert!(refused > flips / 2, "{refused} of {flips}");
}

#[tokio::test]
async fn a_state_of_an_earlier_version_is_taken_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let hold = store.acquire("p").await.unwrap();
    store.apply("p", hold.fence(), begun(1)).await.unwrap();
    drop((hold, store));
    // It counts nothing, and its lock files are empty.
    let db = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    db.execute_batch("DROP TABLE changes").unwrap();
    drop(db);
    fs::write(directory.path().join("locks/p"), "").unwrap();

    let store = open(directory.path());
    let hold = store.acquire("p").await.unwrap();
    assert_eq!(fs::read(directory.path().join("locks/p")).unwrap(), b"");
    store.apply("p", hold.fence(), begun(2)).await.unwrap();
    assert_ne!(fs::read(directory.path().join("locks/p")).unwrap(), b"");
    let state = store.load("p").await.unwrap().unwrap();
    assert_eq!(state.journal.len(), 2);
}

#[tokio::test]
async fn a_damaged_database_is_refused_when_it_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let hold = store.acquire("p").await.unwrap();
    for epoch in 1..200 {
        store.apply("p", hold.fence(), begun(epoch)).await.unwrap();
    }
    drop((hold, store));
    let path = directory.path().join("state.db");
    let whole = fs::read(&path).unwrap();
    // The page of a table: the count of its cells.
    let mut bytes = whole.clone();
    bytes[4096 + 3..4096 + 5].copy_from_slice(&[0xff, 0xff]);
    fs::write(&path, bytes).unwrap();
    let error = SqliteStore::open(directory.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.hint_text().unwrap().contains("damaged"), "{error}");
    fs::write(&path, whole).unwrap();
    open(directory.path());
}

#[tokio::test]
async fn a_directory_that_is_removed_or_replaced_stops_whoever_holds_a_pipeline() {
    for replaced in [false, true] {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("state");
        let store = open(&directory);
        let hold = store.acquire("p").await.unwrap();
        let fence = hold.fence();
        store.apply("p", fence, begun(1)).await.unwrap();
        match replaced {
            true => fs::rename(&directory, scratch.path().join("elsewhere")).unwrap(),
            false => fs::remove_dir_all(&directory).unwrap(),
        }
        let expect = |result: tidegate_core::Result<()>| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.message().contains("removed or replaced"), "{error}");
        };
        expect(store.apply("p", fence, begun(2)).await);
        expect(store.verify("p", fence).await);
        // A second process finds nothing, and begins anew.
        let second = open(&directory);
        let other = second.acquire("p").await.unwrap();
        expect(store.apply("p", fence, begun(2)).await);
        expect(store.verify("p", fence).await);
        second.apply("p", other.fence(), begun(1)).await.unwrap();
        second.verify("p", other.fence()).await.unwrap();
        drop(hold);
        second.verify("p", other.fence()).await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_file_that_is_removed_stops_its_holder() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let hold = store.acquire("p").await.unwrap();
    store.apply("p", hold.fence(), begun(1)).await.unwrap();
    fs::remove_file(directory.path().join("locks/p")).unwrap();
    let stopped = [
        store.apply("p", hold.fence(), begun(2)).await,
        store.verify("p", hold.fence()).await,
    ];
    for error in stopped.map(Result::unwrap_err) {
        assert!(error.message().contains("removed or replaced"), "{error}");
    }
    let state = store.load("p").await.unwrap().unwrap();
    assert_eq!(state.journal.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_state_is_removed_publishes_no_more() {
    let mut world = World::new("removed_state")
        .source("n", json!({"rows": 4000, "step": 10, "pause_ms": 5}))
        .sink("out", &["n"], json!({}));
    world.options.checkpoint.bytes = Some(ByteSize(1));
    let running = Running::start(&world);
    until("a commit", || !world.place("out").visible.is_empty()).await;
    fs::remove_dir_all(world.state()).unwrap();
    let (report, result) = running.end().await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(report.status, Status::Failed);
    assert!(world.place("out").rows().len() < 4000);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_files_of_a_state_are_their_owners() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("a/state");
    let store = open(&directory);
    let _hold = store.acquire("p").await.unwrap();
    let files = [
        "state.db",
        "state.db-wal",
        "state.db-shm",
        "locks/p",
        "p.lock",
    ];
    for name in ["", "locks", ".."] {
        assert_eq!(mode(&directory.join(name)), 0o700, "{name}");
    }
    for name in files {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }

    // As earlier versions left them, in a directory that was made by others.
    let wide = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    drop((_hold, store));
    let other = open(&directory);
    wide(&directory, 0o755);
    for name in files {
        wide(&directory.join(name), 0o644);
    }
    let store = open(&directory);
    let _hold = store.acquire("p").await.unwrap();
    for name in files {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&directory), 0o755);
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_the_state_of_one_moment_while_runs_go_on() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("state");
    let location = StateLocation::from(directory.as_path());
    let file = scratch.path().join("copy.db");
    let none = location.export(&file).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound, "{none}");
    assert!(!directory.exists() && !file.exists());

    let store = open(&directory);
    let hold = store.acquire("p").await.unwrap();
    for epoch in 1..=3 {
        store.apply("p", hold.fence(), begun(epoch)).await.unwrap();
    }
    let state = store.load("p").await.unwrap();
    location.export(&file).await.unwrap();
    store.apply("p", hold.fence(), begun(4)).await.unwrap();
    assert_eq!(mode(&file), 0o600);
    let whole = fs::read(&file).unwrap();
    let again = location.export(&file).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Config, "{again}");
    assert_eq!(fs::read(&file).unwrap(), whole);
    let left = fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(left, 2, "the directory and the copy");

    // Elsewhere it is a state like any other.
    let elsewhere = scratch.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(&file, elsewhere.join("state.db")).unwrap();
    let restored = open(&elsewhere);
    restored.acquire("p").await.unwrap();
    assert_eq!(restored.load("p").await.unwrap(), state);

    // In its old place it is older than what was published.
    drop((hold, store));
    fs::copy(&file, directory.join("state.db")).unwrap();
    expect_older(&open(&directory).acquire("p").await.unwrap_err());

    let bucket = std::sync::Arc::new(Bucket::default());
    let elsewhere = StateLocation::from(Process::new(&bucket).store(Duration::from_secs(1)));
    let error = elsewhere.export(&file).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint_text().unwrap().contains("copy"), "{error}");
}

#[tokio::test]
async fn every_store_lists_its_pipelines() {
    let directory = tempfile::tempdir().unwrap();
    let empty = StateLocation::from(directory.path().join("none"));
    assert_eq!(empty.pipelines().await.unwrap(), []);
    assert!(!directory.path().join("none").exists());

    let bucket = std::sync::Arc::new(Bucket::default());
    let stores: [std::sync::Arc<dyn StateStore>; 2] = [
        std::sync::Arc::new(open(directory.path())),
        Process::new(&bucket).store(Duration::from_secs(60)),
    ];
    for (store, knows_when) in stores.into_iter().zip([true, false]) {
        for name in ["b", "a"] {
            let hold = store.acquire(name).await.unwrap();
            store.apply(name, hold.fence(), begun(1)).await.unwrap();
            hold.release().await.unwrap();
        }
        let listed = StateLocation::from(store).pipelines().await.unwrap();
        let names: Vec<&str> = listed.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(listed.iter().all(|one| one.changed.is_some() == knows_when));
    }
}
