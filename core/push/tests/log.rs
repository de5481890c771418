//! The log over crashes, damage, and readers that keep up with it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tidegate_core::ErrorKind;
use tidegate_push::wal::{Log, Options, Refused};

const SMALL: Options = Options { max_bytes: 8 << 20 };

fn open(directory: &Path) -> Log {
    Log::open(directory, SMALL).unwrap()
}

async fn append(log: &Log, record: &[u8]) -> u64 {
    log.append(&[record]).unwrap().await.unwrap()
}

/// Everything after `from`.
async fn read(log: &Log, from: u64) -> Vec<Vec<u8>> {
    const END: &[u8] = b"<the end of a reading>";
    let end = append(log, END).await;
    let mut reader = log.reader(from).unwrap();
    let mut records = Vec::new();
    loop {
        let chunk = reader.next().await.unwrap();
        let found = chunk.records().filter(|record| *record != END);
        records.extend(found.map(<[u8]>::to_vec));
        if chunk.end == end {
            return records;
        }
    }
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .collect();
    files.sort();
    files
}

/// The directory as a crash leaves it: what the log's own end would tidy up isn't.
fn crashed(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash_and_positions_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let first = append(&log, b"one").await;
    let second = log.append(&[&b"t"[..], b"", b"wo"]).unwrap().await.unwrap();
    append(&log, b"").await;
    let left = crashed(directory.path());
    let again = open(left.path());
    assert_eq!(again.id(), log.id());
    assert_eq!(read(&again, 0).await, [&b"one"[..], b"two", b""]);
    assert_eq!(read(&again, first).await, [&b"two"[..], b""]);
    let more = append(&again, b"three").await;
    assert!(more > second);
    assert_eq!(read(&again, second).await, [&b""[..], b"three"]);
}

#[tokio::test]
async fn many_at_once_are_all_kept_in_the_order_of_their_positions() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let appended = (0..5000u32).map(|number| {
        let record = number.to_le_bytes();
        log.append(&[&record[..], &[0; 700]]).unwrap()
    });
    let positions = futures::future::try_join_all(appended.collect::<Vec<_>>())
        .await
        .unwrap();
    assert!(positions.is_sorted());
    assert!(
        segments(directory.path()).len() > 2,
        "so much needs several segments"
    );
    drop(log);
    let read = read(&open(directory.path()), 0).await;
    let numbers = read
        .iter()
        .map(|record| u32::from_le_bytes(*record.first_chunk().unwrap()));
    assert!(numbers.eq(0..5000));
}

#[tokio::test]
async fn a_reader_waits_for_what_comes_and_takes_records_longer_than_its_chunks() {
    let directory = tempfile::tempdir().unwrap();
    let log = std::sync::Arc::new(open(directory.path()));
    let mut reader = log.reader(0).unwrap();
    let of = std::sync::Arc::clone(&log);
    let sender = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        append(&of, b"short").await;
        append(&of, &vec![7; 3 << 20]).await
    });
    let mut lengths = Vec::new();
    let mut end = 0;
    while lengths.len() < 2 {
        let chunk = reader.next().await.unwrap();
        lengths.extend(chunk.records().map(<[u8]>::len));
        end = chunk.end;
    }
    assert_eq!(lengths, [5, 3 << 20]);
    assert_eq!(sender.await.unwrap(), end);
}

#[tokio::test]
async fn a_full_log_refuses_until_it_is_trimmed_and_forgets_what_was_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let record = vec![1; 500 << 10];
    let mut taken = Vec::new();
    let refused = loop {
        match log.append(&[&record]) {
            Ok(append) => taken.push(append.await.unwrap()),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Refused::Full), "{refused:?}");
    assert_eq!(taken.len(), 16);
    let before = segments(directory.path()).len();
    log.trim(taken[7]).unwrap();
    assert!(segments(directory.path()).len() < before);
    append(&log, &record).await;
    assert_eq!(log.reader(0).unwrap_err().kind(), ErrorKind::Data);
    assert_eq!(log.reader(u64::MAX).unwrap_err().kind(), ErrorKind::Data);
    drop(log);
    let again = open(directory.path());
    assert_eq!(again.trimmed(), taken[7]);
    assert_eq!(read(&again, again.trimmed()).await.len(), 9);
}

#[tokio::test]
async fn an_empty_log_that_was_trimmed_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let end = append(&log, b"one").await;
    log.trim(end).unwrap();
    drop(log);
    for _ in 0..3 {
        let log = open(directory.path());
        assert_eq!(log.trimmed(), end);
        assert!(read(&log, end).await.is_empty());
    }
    assert!(append(&open(directory.path()), b"two").await > end);
}

#[tokio::test]
async fn one_process_has_it_and_nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    append(&log, b"secret").await;
    let error = Log::open(directory.path(), SMALL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    for path in segments(directory.path()) {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o077, 0);
    }
    drop(log);
    open(directory.path());
}

#[tokio::test]
async fn a_write_that_fails_ends_the_log_and_is_told_to_all() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let mut reader = log.reader(0).unwrap();
    let kept = append(&log, &vec![0; 900 << 10]).await;
    assert_eq!(reader.next().await.unwrap().end, kept);
    // The next segment can't be made.
    fs::remove_dir_all(directory.path()).unwrap();
    let error = log
        .append(&[&vec![0; 900 << 10]])
        .unwrap()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("can't be written"), "{error}");
    let refused = log.append(&[b"later"]).unwrap_err();
    assert!(matches!(refused, Refused::Failed(_)), "{refused:?}");
    assert!(log.failure().is_some());
    reader.next().await.unwrap_err();
}

/// A log of five groups, as a crash leaves it, and where each ends.
async fn five() -> (tempfile::TempDir, Vec<u64>) {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let mut ends = Vec::new();
    for number in 0..5u8 {
        ends.push(append(&log, &vec![number; 10 + usize::from(number)]).await);
    }
    (crashed(directory.path()), ends)
}

#[tokio::test]
async fn a_log_that_was_cut_anywhere_gives_the_whole_records_before() {
    let (directory, ends) = five().await;
    let whole = fs::read(&segments(directory.path())[0]).unwrap();
    for cut in 0..=usize::try_from(ends[4]).unwrap() {
        let copy = crashed(directory.path());
        let path = &segments(copy.path())[0];
        fs::write(path, &whole[..cut]).unwrap();
        let log = open(copy.path());
        let expected = ends.iter().filter(|end| **end <= cut as u64).count();
        assert_eq!(read(&log, 0).await.len(), expected, "cut at {cut}");
        append(&log, b"more").await;
        assert_eq!(read(&log, 0).await.len(), expected + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_byte_that_changed_before_the_last_group_is_damage(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (directory, ends) = five().await;
            let path = &segments(directory.path())[0];
            let mut bytes = fs::read(path).unwrap();
            let at = at.index(usize::try_from(ends[3]).unwrap());
            bytes[at] ^= flip;
            fs::write(path, bytes).unwrap();
            let error = Log::open(directory.path(), SMALL).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(error.to_string().contains("damaged"), "{error}");
        });
    }
}

#[tokio::test]
async fn a_segment_that_is_missing_or_short_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    for _ in 0..6 {
        append(&log, &vec![3; 700 << 10]).await;
    }
    drop(log);
    let files = segments(directory.path());
    assert_eq!(files.len(), 6);
    let missing = crashed(directory.path());
    fs::remove_file(missing.path().join(files[2].file_name().unwrap())).unwrap();
    assert_eq!(
        Log::open(missing.path(), SMALL).unwrap_err().kind(),
        ErrorKind::Data
    );
    let short = crashed(directory.path());
    let path = short.path().join(files[2].file_name().unwrap());
    fs::write(&path, &fs::read(&path).unwrap()[..1000]).unwrap();
    assert_eq!(
        Log::open(short.path(), SMALL).unwrap_err().kind(),
        ErrorKind::Data
    );
    // What lies in the middle of one is found by its reader.
    let bent = crashed(directory.path());
    let path = bent.path().join(files[2].file_name().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let log = open(bent.path());
    let mut reader = log.reader(0).unwrap();
    for _ in 0..2 {
        reader.next().await.unwrap();
    }
    assert_eq!(reader.next().await.unwrap_err().kind(), ErrorKind::Data);
}
