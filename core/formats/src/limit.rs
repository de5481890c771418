//! How many columns a schema is found out with.

use tidegate_core::{Error, Result};

/// The most columns that a schema is learnt with, members of structs counted one by one: objects whose
/// keys are data have a column for each, and every row has a place in all of them. A schema that is
/// given may have any number.
pub const MOST_COLUMNS: usize = 2_000;

/// Errors: `Schema` for more columns than [`MOST_COLUMNS`].
pub(crate) fn check_columns(columns: usize) -> Result<()> {
    if columns <= MOST_COLUMNS {
        return Ok(());
    }
    Err(Error::schema(format!(
        "there are more than {MOST_COLUMNS} columns, the most that a schema is found out with"
    ))
    .hint(
        "objects whose keys are data are a column of type `json`: say so in `schema`; a `schema` \
         may have any number of columns",
    ))
}
