//! Where a program keeps its pipelines' state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::{Error, Result};

use super::{Listed, PipelineState, SqliteStore, StateStore};

/// Where pipelines' states are: a folder of this machine, or any other store.
///
/// ```
/// use tidegate_runtime::state::StateLocation;
///
/// let location: StateLocation = "state/of/pipelines".into();
/// ```
#[derive(Debug, Clone)]
pub enum StateLocation {
    /// A folder, made when a run needs it: [`SqliteStore`].
    Folder(PathBuf),
    /// A store that is open.
    Store(Arc<dyn StateStore>),
}

impl StateLocation {
    /// Opens the store, and makes the folder.
    pub async fn open(&self) -> Result<Arc<dyn StateStore>> {
        match self {
            Self::Store(store) => Ok(Arc::clone(store)),
            Self::Folder(folder) => Ok(Arc::new(in_folder(folder).await?)),
        }
    }

    /// The state of a pipeline, if there is any; makes nothing.
    pub async fn load(&self, pipeline: &str) -> Result<Option<PipelineState>> {
        match self.is_empty().await {
            true => Ok(None),
            false => self.open().await?.load(pipeline).await,
        }
    }

    /// The pipelines that have something here, sorted by name; makes nothing.
    pub async fn pipelines(&self) -> Result<Vec<Listed>> {
        match self.is_empty().await {
            true => Ok(Vec::new()),
            false => self.open().await?.pipelines().await,
        }
    }

    /// Writes a copy of the state of all pipelines to `file`: see [`SqliteStore::export`].
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no state here, `Unsupported` if it isn't in a folder.
    pub async fn export(&self, file: &Path) -> Result<()> {
        let Self::Folder(folder) = self else {
            return Err(
                Error::unsupported("only a state in a folder can be copied into a file").hint(
                    "copy all objects of the place while none of its pipelines runs, or let the \
                     bucket keep their versions",
                ),
            );
        };
        if self.is_empty().await {
            return Err(Error::not_found("there is no state here")
                .with("path", folder.join("state.db").display())
                .hint("say with --state where pipelines keep it"));
        }
        in_folder(folder).await?.export(file).await
    }

    /// Whether nothing was ever kept here, as far as that can be told without making it.
    async fn is_empty(&self) -> bool {
        let Self::Folder(folder) = self else {
            return false;
        };
        !tokio::fs::try_exists(folder.join("state.db"))
            .await
            .unwrap_or(true)
    }
}

async fn in_folder(folder: &Path) -> Result<SqliteStore> {
    let folder = folder.to_owned();
    let opening = tokio::task::spawn_blocking(move || SqliteStore::open(&folder));
    opening
        .await
        .map_err(|error| Error::internal("the state's thread broke").because(error))?
}

impl Default for StateLocation {
    /// The folder `.tidegate`.
    fn default() -> Self {
        Self::Folder(".tidegate".into())
    }
}

impl From<PathBuf> for StateLocation {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

impl From<&Path> for StateLocation {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl From<&str> for StateLocation {
    fn from(folder: &str) -> Self {
        Self::Folder(folder.into())
    }
}

impl From<Arc<dyn StateStore>> for StateLocation {
    fn from(store: Arc<dyn StateStore>) -> Self {
        Self::Store(store)
    }
}
