//! Where a program keeps its pipelines' state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::{Error, Result};

use super::{Listed, PipelineState, SqliteStore, StateCopy, StateStore};

/// Where pipelines' states are: a directory of this machine, or any other store.
///
/// ```
/// use tidegate_runtime::state::StateLocation;
///
/// let location: StateLocation = "state/of/pipelines".into();
/// ```
#[derive(Debug, Clone)]
pub enum StateLocation {
    /// A directory, made when a run needs it: [`SqliteStore`].
    Directory(PathBuf),
    /// A store that is open.
    Store(Arc<dyn StateStore>),
}

impl StateLocation {
    /// Opens the store, and makes the directory.
    pub async fn open(&self) -> Result<Arc<dyn StateStore>> {
        match self {
            Self::Store(store) => Ok(Arc::clone(store)),
            Self::Directory(directory) => Ok(Arc::new(in_directory(directory).await?)),
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
    /// `NotFound` if there is no state here, `Unsupported` if it isn't in a directory.
    pub async fn export(&self, file: &Path) -> Result<()> {
        let Self::Directory(directory) = self else {
            return Err(Error::unsupported(
                "only a state in a directory can be copied into a file",
            )
            .hint(
                "copy all objects of the place while none of its pipelines runs, or let the \
                     bucket keep their versions",
            ));
        };
        if self.is_empty().await {
            return Err(Error::not_found("there is no state here")
                .with("path", directory.join("state.db").display())
                .hint("say with --state where pipelines keep it"));
        }
        in_directory(directory).await?.export(file).await
    }

    /// Puts what a copy has of its pipelines in the place of what is here of them: see
    /// [`SqliteStore::import`]. Makes the directory.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the state isn't in a directory.
    pub async fn import(&self, copy: StateCopy, replaces: bool) -> Result<()> {
        let Self::Directory(directory) = self else {
            return Err(Error::unsupported(
                "a copy can only be imported into a state in a directory",
            )
            .hint("say with --state which"));
        };
        in_directory(directory).await?.import(copy, replaces).await
    }

    /// Whether nothing was ever kept here, as far as that can be told without making it.
    async fn is_empty(&self) -> bool {
        let Self::Directory(directory) = self else {
            return false;
        };
        !tokio::fs::try_exists(directory.join("state.db"))
            .await
            .unwrap_or(true)
    }
}

async fn in_directory(directory: &Path) -> Result<SqliteStore> {
    let directory = directory.to_owned();
    let opening = tokio::task::spawn_blocking(move || SqliteStore::open(&directory));
    opening
        .await
        .map_err(|error| Error::internal("the state's thread broke").because(error))?
}

impl StateLocation {
    /// What the directory of a state is called where nobody says.
    pub const DIRECTORY: &str = ".tidegate";
}

impl Default for StateLocation {
    /// The directory `.tidegate`.
    fn default() -> Self {
        Self::Directory(Self::DIRECTORY.into())
    }
}

impl From<PathBuf> for StateLocation {
    fn from(directory: PathBuf) -> Self {
        Self::Directory(directory)
    }
}

impl From<&Path> for StateLocation {
    fn from(directory: &Path) -> Self {
        Self::Directory(directory.to_owned())
    }
}

impl From<&str> for StateLocation {
    fn from(directory: &str) -> Self {
        Self::Directory(directory.into())
    }
}

impl From<Arc<dyn StateStore>> for StateLocation {
    fn from(store: Arc<dyn StateStore>) -> Self {
        Self::Store(store)
    }
}
