//! The law of resuming, for any number and size of pages.

use proptest::prelude::*;
use serde_json::json;

use crate::paging::{way, ways};
use crate::support::{pager, read, run, source};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn from_every_position_exactly_the_rest_is_read(
        count in 0_usize..14,
        size in 1_usize..6,
        which in 0_usize..14,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = pager(count, size);
            let mut one = ways()[which].clone();
            if let Some(asked) = one.2.get_mut("size") {
                *asked = json!(size);
            }
            let open = || source(way(&server, &one));
            for split in run(&open(), None).await.unwrap().splits {
                let whole = read(&open(), &split, None).await.unwrap();
                let rows = whole.rows.get("records").cloned().unwrap_or_default();
                prop_assert_eq!(whole.upto.last().copied().unwrap_or(0), rows.len());
                for (offset, upto) in whole.offsets.iter().zip(&whole.upto) {
                    server.asked();
                    let rest = read(&open(), &split, Some(offset)).await.unwrap();
                    let rest = rest.rows.get("records").cloned().unwrap_or_default();
                    prop_assert_eq!(&rest[..], &rows[*upto..]);
                    // Nothing that was read is asked for again.
                    let left = whole.offsets.len() - whole.offsets.iter().position(|one| one == offset).unwrap() - 1;
                    prop_assert_eq!(server.asked().len(), left);
                }
            }
            Ok(())
        })?;
    }
}
