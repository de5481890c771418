//! Where what doesn't fit in memory goes.

use std::path::Path;

use tidegate_core::{Error, Result};

/// The folder for what doesn't fit in memory; gone when the attempt ends.
#[derive(Debug)]
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn new() -> Result<Self> {
        tempfile::Builder::new()
            .prefix("tidegate-")
            .tempdir()
            .map(Self)
            .map_err(|error| {
                Error::io("no temporary folder can be made", error)
                    .hint("set TMPDIR to a folder on a disk with room")
            })
    }
}
