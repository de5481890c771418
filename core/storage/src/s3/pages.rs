//! Pages of a listing, which come to an end: none comes twice, and what is kept of them has a limit.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use tidegate_core::{Error, Result};

use super::error::misbehaved;

/// What one listing may keep in memory: some ten million files.
const MOST: u64 = 2 << 30;

/// So many pages may be empty one after another: a server may pass over what was deleted.
const MOST_EMPTY: u32 = 100_000;

/// The pages of one listing that were seen. That keys only grow isn't asked for: SeaweedFS lists
/// directory by directory, and directory buckets of S3 in no order.
#[derive(Debug, Default)]
pub(super) struct Pages {
    seen: HashSet<u64>,
    empty: u32,
    kept: u64,
    bytes: u64,
}

impl Pages {
    /// Turns over a page with these names, after which the page is asked for that `next` leads to.
    pub(super) fn turn<'a>(
        &mut self,
        next: &str,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let mut page = DefaultHasher::new();
        let mut count = 0_u64;
        for name in names {
            name.hash(&mut page);
            count += 1;
        }
        self.empty = if count == 0 { self.empty + 1 } else { 0 };
        if self.empty > MOST_EMPTY {
            return Err(misbehaved("the server lists nothing, page after page"));
        }
        let mut token = DefaultHasher::new();
        ("next", next).hash(&mut token);
        let again =
            !self.seen.insert(token.finish()) || (count > 0 && !self.seen.insert(page.finish()));
        if again {
            return Err(misbehaved("the server lists the same again and again"));
        }
        Ok(())
    }

    /// Counts something of so many bytes that is kept.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<()> {
        self.kept += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes > MOST {
            let text = format!(
                "there are more files than can be listed at once: {} take {} GiB of memory",
                self.kept,
                MOST >> 30
            );
            return Err(Error::config(text).hint(
                "narrow the pattern, to a directory or to names that begin alike, and read the others \
                 with another pipeline",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use tidegate_core::ErrorKind;

    use super::*;

    #[test]
    fn pages_may_be_in_any_order_and_none_comes_twice() {
        let mut pages = Pages::default();
        pages.turn("1", ["b", "c"].into_iter()).unwrap();
        pages.turn("2", ["a"].into_iter()).unwrap();
        pages.turn("3", [].into_iter()).unwrap();
        pages.turn("4", [].into_iter()).unwrap();
        let token = pages.turn("2", ["d"].into_iter()).unwrap_err();
        let page = pages.turn("5", ["b", "c"].into_iter()).unwrap_err();
        for error in [token, page] {
            assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
        }
    }

    #[test]
    fn empty_pages_come_to_an_end() {
        let mut pages = Pages::default();
        let error = (0..).find_map(|page| {
            let turned = pages.turn(&format!("{page}"), [].into_iter());
            turned.err()
        });
        assert_eq!(error.unwrap().kind(), ErrorKind::Data);
    }

    #[test]
    fn a_listing_keeps_so_much_and_no_more() {
        let mut pages = Pages::default();
        let error = (0..3_000).find_map(|_| pages.keep(1 << 20).err());
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("2049 take 2 GiB"), "{error}");
        assert!(error.hint_text().unwrap().contains("pattern"));
    }
}
