//! What is done about files that were passed over, once that is committed.

use tidegate_core::{Error, Result, SourceContext};
use tidegate_storage::{Access, Location, Pattern, Storage};

use super::config::FilesSourceConfig;
use crate::read::{Careful, Failure, OnFileError};

/// What the run is kept under whose readers decode by themselves.
const KEY: &str = "careful";

/// See the module.
#[derive(Debug)]
pub(super) struct Passing {
    on_file_error: OnFileError,
    careful: Careful,
    /// Where such files are moved to.
    quarantine: Option<Storage>,
}

impl Passing {
    pub(super) async fn open(
        config: &FilesSourceConfig,
        cx: &SourceContext,
        pattern: &Pattern,
        access: &Access,
    ) -> Result<Self> {
        let quarantine = match &config.quarantine {
            Some(url) => Some(quarantine(url, cx, pattern, access).await?),
            None => None,
        };
        let on = config.on_file_error != OnFileError::Fail;
        let known = match on {
            true => cx.store.get(KEY).await?,
            false => None,
        };
        let run = cx.run.to_string();
        let decodes = known.is_some_and(|known| known.as_str() == Some(&run));
        Ok(Self {
            on_file_error: config.on_file_error,
            careful: Careful::new(decodes, pattern.storage().location().place()),
            quarantine,
        })
    }

    /// Whether files that can't be read are passed over.
    pub(super) fn is_on(&self) -> bool {
        self.on_file_error != OnFileError::Fail
    }

    pub(super) fn careful(&self) -> &Careful {
        &self.careful
    }

    /// Tells of files whose passing over is committed, and moves them away. Errors: `Transient`, after
    /// which it is told again.
    pub(super) async fn acknowledge(
        &self,
        cx: &SourceContext,
        storage: &Storage,
        failures: impl Iterator<Item = Failure>,
    ) -> Result<()> {
        for failure in failures {
            let moved = self.moved(storage, &failure).await?;
            let file = failure.told(storage);
            let (path, why) = (&file.path, &file.error);
            let rows = file.rows_committed;
            let message = "a file can't be read, and is passed over";
            if cx.metrics.failed_files.add(file.clone(), moved.clone()) {
                match &moved {
                    Some(to) => {
                        tracing::warn!(component = %cx.id, %path, error = %why, rows_committed = rows, moved_to = %to, "{message}");
                    }
                    None => {
                        tracing::warn!(component = %cx.id, %path, error = %why, rows_committed = rows, "{message}");
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves a file away. `None` where it stays, or has gone.
    async fn moved(&self, storage: &Storage, failure: &Failure) -> Result<Option<String>> {
        let Some(quarantine) = &self.quarantine else {
            return Ok(None);
        };
        let file = failure.file();
        match storage.move_to(&file, quarantine, &failure.name).await {
            Ok(to) => Ok(to),
            Err(error) if error.kind() == tidegate_core::ErrorKind::Transient => Err(error),
            Err(error) => {
                let path = storage.show(&file.key);
                tracing::warn!(%path, %error, "a file could not be moved to `quarantine`: it stays where it is");
                Ok(None)
            }
        }
    }

    /// Keeps for the run's next attempt what this one has learnt.
    pub(super) async fn close(&self, cx: &SourceContext) -> Result<()> {
        if !self.careful.is_needed() {
            return Ok(());
        }
        let run = cx.run.to_string().into();
        let before = cx.store.get(KEY).await?;
        // Whoever was faster has set the same.
        cx.store
            .compare_and_set(KEY, before.as_ref(), &run)
            .await
            .map(drop)
    }
}

/// Opens the directory that files are moved to. Errors: `Config` where it can't be that.
async fn quarantine(
    url: &str,
    cx: &SourceContext,
    pattern: &Pattern,
    access: &Access,
) -> Result<Storage> {
    let refused = |what: &str, hint: &str| {
        let error = Error::config(what).with("key", "quarantine");
        error.with("quarantine", url).hint(hint)
    };
    let directory = Location::parse(url, &cx.base)?;
    let root = pattern.storage().location();
    if (directory.place(), directory.bucket()) != (root.place(), root.bucket()) {
        return Err(refused(
            "`quarantine` lies in another place than the files",
            "files are moved by renaming: name a directory of the same file system or bucket as `url`",
        ));
    }
    if pattern.covers(&directory) || directory.key_of(root).is_some() {
        return Err(refused(
            "`url` covers `quarantine`: what is moved there would be read again",
            "name a directory beside that of the files, or one within it that begins with `_`",
        ));
    }
    Storage::open(&directory, access).await
}
