//! Files that somebody damaged: an error, never a panic, and never a wait without end.

use std::fs;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, Int64Array, StringArray};
use tidegate_core::ErrorKind;

use crate::world::World;

#[tokio::test]
async fn a_footer_that_is_longer_than_its_file_is_no_parquet() {
    let world = World::new().await;
    fs::write(world.path("y.parquet"), b"PAR1xxxxxxxx\xff\xff\xff\x00PAR1").unwrap();
    let error = world.query("SELECT * FROM 'y.parquet'").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
    assert!(error.to_string().contains("y.parquet"), "{error:?}");
}

/// A file of three columns in four row groups.
fn whole(world: &World) -> Vec<u8> {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..200).map(|n| format!("text {}", n % 7)),
    ));
    let ids = (0..200_u8).map(|n| [n; 16]);
    let ids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(ids).unwrap());
    world.parquet(
        "a.parquet",
        vec![("n", numbers), ("t", texts), ("id", ids)],
        64,
    );
    fs::read(world.path("a.parquet")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_off_is_an_error_and_zeros_are_one_or_other_values() {
    let world = World::new().await;
    let whole = whole(&world);
    for part in 0..60 {
        let at = whole.len() * part / 60;
        fs::write(world.path("b.parquet"), &whole[..at]).unwrap();
        let error = world.try_rows("SELECT * FROM 'b.parquet'").await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{at}: {error:?}");
        let mut bytes = whole.clone();
        bytes[at..whole.len() * (part + 1) / 60].fill(0);
        fs::write(world.path("b.parquet"), &bytes).unwrap();
        // A panic would end the test.
        let _ = world.try_rows("SELECT * FROM 'b.parquet'").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bytes_are_an_error_or_other_values() {
    let world = World::new().await;
    let whole = whole(&world);
    // The footer, and what the file says of itself in Arrow's words, are its second half.
    let mut at = whole.len() / 3;
    let mut read = 0;
    while at < whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            fs::write(world.path("b.parquet"), &bytes).unwrap();
            // A panic would end the test.
            let rows = world.try_rows("SELECT * FROM 'b.parquet'").await;
            read += usize::from(rows.is_ok());
        }
        at += 5;
    }
    assert!(read > 0);
}
