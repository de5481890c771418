//! Pipeline files as people write them, right and wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy's exemption of tests doesn't reach their helpers"
)]

mod components;
mod layering;
mod mistakes;
mod places;
mod robustness;

use std::path::Path;

use tempfile::TempDir;
use tidegate_config::{Diagnostics, LoadOptions, Loaded, load};
use tidegate_core::Registry;

/// A directory with a pipeline file, and what it is loaded with.
pub(crate) struct Files {
    pub(crate) directory: TempDir,
    pub(crate) options: LoadOptions,
}

impl Files {
    pub(crate) fn new(pipeline: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pipeline.toml");
        std::fs::write(&file, pipeline).unwrap();
        let options = LoadOptions {
            file,
            profile: None,
            sets: Vec::new(),
            env: Vec::new(),
            settings: None,
        };
        Self { directory, options }
    }

    pub(crate) fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.options.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn set(mut self, set: &str) -> Self {
        self.options.sets.push(set.to_owned());
        self
    }

    pub(crate) fn profile(mut self, profile: &str) -> Self {
        self.options.profile = Some(profile.to_owned());
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn load(&self) -> Result<Loaded, Diagnostics> {
        load(&self.options, &Registry::linked().unwrap())
    }

    pub(crate) fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    /// The errors as they are printed, without the directory's name.
    pub(crate) fn mistakes(&self) -> String {
        let wrong = self.load().expect_err("the file has errors");
        let directory = format!("{}/", self.directory.path().display());
        wrong.to_string().replace(&directory, "")
    }
}

/// A right pipeline, to be spoilt.
pub(crate) const GOOD: &str = r#"
[sources.shop]
type = "files"
url = "data/*.csv"
format = "csv"

[transforms.weekly]
type = "sql"
inputs = ["shop"]
query = "SELECT 1"

[sinks.lake]
type = "parquet"
inputs = ["weekly"]
url = "out"
"#;
