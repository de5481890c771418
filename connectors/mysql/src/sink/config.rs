//! The sink as it stands in a pipeline file.

use std::collections::HashSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{ByteSize, Error, Result, Sink, SinkConfig, SinkContext, async_trait};

use super::live::MySqlSink;
use crate::connect::{ConnectionKeys, with_connection};

/// The longest name of a table or a column, in characters.
pub(super) const LONGEST_NAME: usize = 64;

/// No statement is longer than this, whatever is asked for.
const MOST_STATEMENT: u64 = 64 << 20;

with_connection! {
    /// Writes rows into a table of MySQL, MariaDB or RDS.
    ///
    /// Rows appear when their epoch is committed, all at once and exactly once: they are first
    /// written to staging tables beside the target (`_tg_…`), and moved in one transaction. That
    /// needs the permissions SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER and DROP on the database. The
    /// last commit of each pipeline is noted in the table `_tidegate_markers`; don't delete it.
    ///
    /// All inputs must have the same columns. They are written to the table's columns of the same
    /// names, in any order; columns that the inputs don't have take their defaults. Nothing is
    /// rounded, cut or bent to fit: a row with a value that its column can't hold exactly is
    /// rejected, with the column and the reason. So is a row that breaks a CHECK or leads by a
    /// foreign key to no row. Times with a zone are written in UTC.
    ///
    /// Several connections write at once, unless rows must be compared as only the server can: in
    /// tables with a unique key of texts or of floats, or with several unique keys.
    ///
    /// A commit that the table refuses, because another program wrote a row with the same key since
    /// ours was checked, or because a trigger does, stops the run with a conflict. Nothing is lost:
    /// once the table is in order, the next run finishes it.
    #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct MySqlSinkConfig {
        /// The table, in the database of `url` or `database`. Its engine must be InnoDB.
        pub table: String,

        /// What happens to rows that are there already.
        #[serde(default)]
        pub mode: Mode,

        /// Columns that tell rows apart. For `mode = "upsert"` they must be exactly those of the
        /// table's primary key or of a unique index; default: the primary key, or else the only
        /// unique index. They are the primary key of a table that is created.
        #[serde(default)]
        pub key: Vec<String>,

        /// Creates the table, if it isn't there, before the first row. Columns that came from a
        /// MySQL or MariaDB get the type they had there. The others: integers, FLOAT, DOUBLE and
        /// DECIMAL as they are (at most 65 digits, 30 behind the point); booleans TINYINT(1);
        /// texts LONGTEXT, in a key VARCHAR(255); bytes LONGBLOB, in a key VARBINARY(255), of a
        /// fixed length VARBINARY; dates DATE; times and durations TIME(6); timestamps DATETIME(6),
        /// those with a zone in UTC; lists, structs and maps JSON. Texts are utf8mb4, and compare
        /// byte by byte (utf8mb4_bin).
        #[serde(default)]
        pub create: bool,

        /// About how long a statement gets that writes rows. At most the server's
        /// `max_allowed_packet`, and `"64 MiB"`; a longer row has a statement of its own.
        #[serde(default = "default_statement")]
        pub statement_bytes: ByteSize,
    }
}

fn default_statement() -> ByteSize {
    ByteSize(1_000_000)
}

/// What happens to rows that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They stay; new ones are added with each commit. A row whose primary or unique key is there
    /// already is rejected.
    #[default]
    Insert,
    /// A row takes the place of the one with the same `key`, in the columns that the inputs have;
    /// a row with a new key is added. Of several rows with one key, the last one stays. A row whose
    /// key is NULL is rejected, as is one that has another row's value in another unique index.
    Upsert,
    /// At the end of the run the table holds exactly the run's rows, also when there are none. Until
    /// then it stays as it was. Rows are deleted and inserted, in one transaction: the table itself,
    /// its permissions, indexes and triggers stay, and whoever reads sees either the old rows or the new
    /// ones. A row whose key another row of the run had is rejected where it is noticed in time, or
    /// stops the run before anything is replaced.
    Replace,
}

#[async_trait]
#[typetag::serde(name = "mysql")]
impl SinkConfig for MySqlSinkConfig {
    fn validate(&self) -> Result<()> {
        self.connection().validate()?;
        name("table", &self.table)?;
        let mut names = HashSet::new();
        for column in &self.key {
            name("key", column)?;
            if !names.insert(column.to_lowercase()) {
                return Err(Error::config(format!("`key` has `{column}` twice")).with("key", "key"));
            }
        }
        if self.statement_bytes.0 == 0 || self.statement_bytes.0 > MOST_STATEMENT {
            return Err(Error::config("`statement_bytes` is too small or too large")
                .with("key", "statement_bytes")
                .hint("more than 0, and at most \"64 MiB\""));
        }
        if self.create && self.mode == Mode::Upsert && self.key.is_empty() {
            return Err(Error::config(
                "a table that is created for `mode = \"upsert\"` needs a `key`",
            )
            .with("key", "create")
            .hint("set `key` to the columns that tell rows apart"));
        }
        Ok(())
    }

    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        self.validate()?;
        Ok(Arc::new(MySqlSink::open(self, cx).await?))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        const {
            let [a, b, c, d, e, f] = ConnectionKeys::TUNING;
            &[a, b, c, d, e, f, "statement_bytes"]
        }
    }
}

fn name(key: &'static str, name: &str) -> Result<()> {
    let wrong = match name.chars().count() {
        0 => "is empty",
        n if n > LONGEST_NAME => "is longer than 64 characters",
        _ if name.ends_with(' ') => "ends with a space",
        _ if name.contains('\0') => "has a zero byte in it",
        _ => return Ok(()),
    };
    Err(Error::config(format!("the name `{name}` {wrong}"))
        .with("key", key)
        .hint("MySQL has no such names"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(more: Value) -> MySqlSinkConfig {
        let mut all = json!({ "url": "mysql://u@db/shop", "table": "sales" });
        let more = more.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(more);
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (wrong, word) in [
            (json!({ "table": "" }), "empty"),
            (json!({ "table": "x".repeat(65) }), "64 characters"),
            (json!({ "key": ["id", "ID"] }), "twice"),
            (json!({ "statement_bytes": 0 }), "statement_bytes"),
            (json!({ "statement_bytes": "1 GB" }), "statement_bytes"),
            (json!({ "create": true, "mode": "upsert" }), "needs a `key`"),
        ] {
            let error = config(wrong.clone()).validate().unwrap_err();
            assert!(error.to_string().contains(word), "{wrong}: {error}");
        }
        config(json!({ "create": true })).validate().unwrap();
    }
}
