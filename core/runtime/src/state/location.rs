//! Where a program keeps its pipelines' state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::{Error, Result};

use super::{PipelineState, SqliteStore, StateStore};

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
            Self::Folder(folder) => {
                let folder = folder.clone();
                let store = tokio::task::spawn_blocking(move || SqliteStore::open(&folder))
                    .await
                    .map_err(|error| {
                        Error::internal("the state's thread broke").because(error)
                    })??;
                Ok(Arc::new(store))
            }
        }
    }

    /// The state of a pipeline, if there is any; makes nothing.
    pub async fn load(&self, pipeline: &str) -> Result<Option<PipelineState>> {
        if let Self::Folder(folder) = self {
            let file = folder.join("state.db");
            if !tokio::fs::try_exists(&file).await.unwrap_or(true) {
                return Ok(None);
            }
        }
        self.open().await?.load(pipeline).await
    }
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
