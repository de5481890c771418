//! How much a server may send before it is more than we take.

use tidegate_core::Error;

use super::server::lost;
use super::transport::Unread;

/// The most bytes of something, and how many of them there were already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    bytes: usize,
    spent: usize,
    /// Whether the key `max_row` says so.
    set: bool,
}

impl Most {
    /// More than the protocol has in this place.
    pub(super) const fn fixed(bytes: usize) -> Self {
        Self {
            bytes,
            spent: 0,
            set: false,
        }
    }

    /// As much as the key `max_row` says.
    pub(super) const fn set(bytes: usize) -> Self {
        Self {
            bytes,
            spent: 0,
            set: true,
        }
    }

    /// How many bytes are left.
    pub(super) fn left(self) -> usize {
        self.bytes.saturating_sub(self.spent)
    }

    /// Counts bytes that came. An error if these are too many.
    pub(super) fn spend(&mut self, doing: &str, bytes: usize) -> Result<(), Error> {
        self.spent = self.spent.saturating_add(bytes);
        match self.spent > self.bytes {
            true => Err(self.passed(doing, 0)),
            false => Ok(()),
        }
    }

    /// What it means that nothing was read.
    pub(super) fn unread(self, doing: &str, unread: Unread) -> Error {
        match unread {
            Unread::Lost(error) => lost(doing, error),
            Unread::Long(bytes) => self.passed(doing, bytes),
        }
    }

    /// The error of more bytes than may come.
    fn passed(self, doing: &str, more: usize) -> Error {
        let error = match self.set {
            true => Error::data(format!(
                "can't {doing}: the server sends more at once than `max_row` allows"
            ))
            .hint("if so much is to be read, raise `max_row`, up to \"1 GiB\""),
            false => Error::data(format!(
                "can't {doing}: the server sends more than the protocol has in this place"
            ))
            .hint("is this a MySQL or MariaDB server, and is nothing else listening on that port?"),
        };
        let size = self.spent.saturating_add(more);
        error
            .with("size", format!("at least {size} bytes"))
            .with("limit", format!("{} bytes", self.bytes))
    }
}
