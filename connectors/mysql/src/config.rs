//! The source as it stands in a pipeline file.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    ByteSize, Error, PlanState, Result, Source, SourceConfig, SourceContext, Span, StreamName,
    async_trait, typetag,
};

use crate::connect::{ConnectionKeys, with_connection};
use crate::plan;
use crate::sample::Sample;
use crate::source::MySqlSource;
use crate::types::{Mapping, ZeroDates};

with_connection! {
    /// Reads tables and queries of MySQL, MariaDB, Amazon RDS and Aurora.
    ///
    /// Each table is a stream of its name, with exact types: decimals keep their digits, unsigned
    /// numbers their range. A table with a primary key, or another unique key that can't be NULL,
    /// is cut into ranges of that key that hold about as many rows each, and these are read over
    /// several connections. A run that was interrupted resumes in the middle of a range. A table
    /// without such a key, a view and a query are read in one piece each, and again from their
    /// beginning if the run was interrupted in the middle of it. How many rows there are, the server
    /// estimates: after a large import, `ANALYZE TABLE` lets it see them.
    ///
    /// Columns that nobody needs are not read, and simple conditions and limits of the transforms
    /// behind are put into the SQL. Memory depends on `batch_size` and `connections`, not on how
    /// large a table is.
    ///
    /// By default every run reads everything. With a `cursor`, a run reads the rows that were added
    /// or changed since the one before. With `follow`, the pipeline continues with every change as it
    /// happens, deletes too.
    ///
    /// The user needs the right SELECT on what is read.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct MySqlConfig {
        /// The tables and views to read: names or patterns, in which `*` stands for any characters,
        /// `?` for one, and `[ab]` and `{a,b}` for a choice: `["sales", "inv_*"]`. Default: all
        /// tables of the database, without its views; none if there are `queries`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tables: Option<Vec<String>>,

        /// What is particular about a table, by its name or a pattern:
        /// `[sources.shop.table.sales]`. A name goes before a pattern. It chooses no tables: that
        /// is what `tables` does.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub table: BTreeMap<String, TableOptions>,

        /// Queries by the name that their stream gets: `{ top = "SELECT … ORDER BY … LIMIT 10" }`.
        /// Each is sent as it stands, once in each run, and read over one connection.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub queries: BTreeMap<String, String>,

        /// How far rows that are read at different times belong together.
        #[serde(default)]
        pub snapshot: Snapshot,

        /// Whether to continue with the changes when the tables have been read: inserts, updates and
        /// deletes, from the server's binary log, without an end. The log must hold whole rows:
        /// `binlog_format = ROW` and `binlog_row_image = FULL`. With `binlog_row_metadata = FULL`
        /// it also tells of altered tables; without it, they are looked up at the server, and the run
        /// is ended if they were altered again meanwhile, because nothing says how the rows in
        /// between are made. The user needs the permissions REPLICATION SLAVE
        /// and REPLICATION CLIENT (on MariaDB also called BINLOG MONITOR).
        ///
        /// Each stream has three columns more. `_op` says what happened: `snapshot` (the row was
        /// there at the beginning), `insert`, `update` or `delete`. `_ts` is when, in UTC: the time
        /// of the commit or of the statement, as the log has it, and for `snapshot` when reading
        /// began. `_pos` is a text that sorts as the changes happened.
        ///
        /// A row of the snapshot may already have a change in it that comes again later. The last
        /// row of each key by `_pos`, unless it is a `delete`, is the row of the table. A delete has
        /// all columns, as they were before; an update all, as they are after. An update of the key
        /// comes as a `delete` and an `insert`. Rows of a table without a key can't be told apart:
        /// what changes while it is read comes twice, and an update is a `delete` and an `insert`.
        ///
        /// After a restart, reading resumes where it was, on another server of the cluster too if
        /// there are GTIDs. TRUNCATE, DROP and RENAME of a table that is followed, and XA
        /// transactions that write to one, end the run with an error: they can't be told as rows.
        /// New tables are read when the pipeline starts over.
        #[serde(default)]
        pub follow: bool,

        /// With `follow`: our number among the server's replicas, which no other one may have.
        /// Default: a number above 2147483647 that is made from the pipeline's identity.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        pub server_id: Option<u32>,

        /// Gives random rows of the tables again and again, without an end, as if somebody were at
        /// work: for demonstrations and tests.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub sample: Option<Sample>,

        /// What becomes of dates that no calendar has, such as `0000-00-00`.
        #[serde(default)]
        pub zero_dates: ZeroDates,

        /// Whether `TINYINT(1)`, which is what MySQL makes of `BOOL`, is read as a boolean. A row
        /// with a number other than 0 and 1 in such a column is then rejected.
        #[serde(default = "yes")]
        pub map_tinyint1_to_bool: bool,

        /// The most connections at a time, from 1 to 256. Default: one for each CPU thread of the
        /// pipeline, at least 4.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = 256))]
        pub connections: Option<usize>,

        /// About so many bytes of rows are read and decoded at once, from `"16 KiB"` to `"256 MiB"`.
        /// Each connection has one such batch in memory, and a row more than this is a batch of its
        /// own.
        #[serde(default = "default_batch_size")]
        pub batch_size: ByteSize,
    }
}

/// What is particular about a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TableOptions {
    /// The columns of the stream, in the table's order. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,

    /// A condition in SQL that rows must fulfil: `"region = 'north' AND total > 0"`.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,

    /// Reads only what is new: the column whose value grows with each change of a row, such as
    /// `updated_at`, or with each new row, such as `id`. A TIMESTAMP, DATETIME, DATE or integer.
    ///
    /// A run reads the rows from where the run before ended up to a bound that is fixed when it
    /// begins, so none is read twice and rows that arrive meanwhile are left for the next run. Of a
    /// time, the bound is the server's clock less `lag`; rows of the very last unit (second,
    /// microsecond, day) are left too, because more of the same may come. DATETIME and DATE have no
    /// zone: they are compared with UTC or the server's own zone, whichever is behind, so rows are
    /// never passed over if they are written in one of these; where clocks go back within a day,
    /// the hour that comes twice is left for a run after it. Of an integer, the bound is the
    /// greatest value less `lag`.
    ///
    /// Rows where it is NULL can't be placed: if there are any, the run is refused; leave them out
    /// by `where`. Rows that were deleted are not seen: for these, see `follow`. An index that
    /// begins with the column makes runs short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,

    /// How late a row may be committed after its cursor got its value. What is not older than this
    /// is left for the next run. For a time a span; default: `"30s"`. For an integer the number of
    /// values; default: `0`, which is right if rows are committed in the order of their numbers:
    /// of two open transactions the later number may be committed first, and the other one is then
    /// missed forever unless it is within `lag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
}

/// How late a row may be: a time, or a number of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Lag {
    /// Of integers: how many values below the greatest.
    Values(u64),
    /// Of times: `"30s"`.
    Time(Span),
}

/// How far rows that are read at different times belong together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Snapshot {
    /// Each piece of a table is read as it is when its turn comes. Nothing is locked or held, and
    /// an interrupted run resumes where it was.
    #[default]
    Relaxed,
    /// All tables and queries are read as they were at one moment, over all connections. An
    /// interrupted run starts over, because the server has forgotten that moment. `tidegate check`
    /// and the run's log say how the moment is held fast: the first of these ways that the user's
    /// rights and the server allow.
    ///
    /// 1. `FLUSH TABLES WITH READ LOCK` while the connections begin their transactions: some
    ///    milliseconds in which nobody writes. It needs the right RELOAD; RDS and Aurora refuse it.
    /// 2. `LOCK TABLES … READ` of the tables that are read, for as long. It needs the right LOCK
    ///    TABLES, and that there are no `queries`, whose tables aren't known.
    /// 3. No lock, on MySQL with `gtid_mode = ON`: the transactions are begun again until the GTIDs
    ///    show that nothing was committed in between. What is kept out of the binary log
    ///    (`sql_log_bin = 0`) isn't seen by it.
    /// 4. One connection reads everything, which is always right, and slower.
    ///
    /// A lock is waited for a second at a time, and given up after five tries.
    ///
    /// Only tables with transactions (InnoDB, MyRocks) can be read so; others are refused. What
    /// stands behind views and queries isn't checked. The server keeps old versions of rows until
    /// the run ends. A table that is altered before it is read makes the run start over; one that
    /// is being read makes ALTER TABLE wait for the run. On MySQL 8, with the right BACKUP_ADMIN,
    /// all such statements wait for the run.
    Consistent,
}

const fn yes() -> bool {
    true
}

const fn default_batch_size() -> ByteSize {
    ByteSize(2 << 20)
}

/// The fewest connections, unless told otherwise: most of the time they wait for the server.
const CONNECTIONS: usize = 4;
const MOST_CONNECTIONS: usize = 256;

impl MySqlConfig {
    pub(crate) fn mapping(&self) -> Mapping {
        Mapping {
            tinyint1_to_bool: self.map_tinyint1_to_bool,
            zero_dates: self.zero_dates,
        }
    }

    pub(crate) fn connections(&self, cx: &SourceContext) -> usize {
        self.connections
            .unwrap_or_else(|| cx.parallelism.clamp(CONNECTIONS, MOST_CONNECTIONS))
    }

    /// The tables that are asked for; `None` for all.
    pub(crate) fn patterns(&self) -> Option<&[String]> {
        match &self.tables {
            Some(tables) => Some(tables),
            None if self.queries.is_empty() => None,
            None => Some(&[]),
        }
    }

    fn has_cursor(&self) -> bool {
        self.table.values().any(|table| table.cursor.is_some())
    }
}

#[async_trait]
#[typetag::serde(name = "mysql")]
impl SourceConfig for MySqlConfig {
    fn validate(&self) -> Result<()> {
        self.connection().validate()?;
        if self.patterns().is_some_and(<[_]>::is_empty) && self.queries.is_empty() {
            return Err(
                of_key("tables", "`tables` is empty, and there are no queries")
                    .hint("leave `tables` out to read all tables of the database"),
            );
        }
        for (name, query) in &self.queries {
            if name == StreamName::REJECTED || name.trim().is_empty() {
                return Err(of_key(
                    "queries",
                    format!("a stream can't be named `{name}`"),
                ));
            }
            if query.trim().is_empty() {
                return Err(of_key("queries", format!("the query `{name}` is empty")));
            }
        }
        for (name, table) in &self.table {
            if table.columns.as_ref().is_some_and(Vec::is_empty) {
                return Err(of_key("table", format!("`columns` of `{name}` is empty"))
                    .hint("leave `columns` out to read all of them"));
            }
            if table
                .filter
                .as_ref()
                .is_some_and(|sql| sql.trim().is_empty())
            {
                return Err(of_key("table", format!("`where` of `{name}` is empty")));
            }
            if table.lag.is_some() && table.cursor.is_none() {
                return Err(
                    of_key("table", format!("`lag` of `{name}` has no `cursor`"))
                        .hint("`lag` says how late rows may be that a cursor finds"),
                );
            }
        }
        if !matches!(self.connections, None | Some(1..=MOST_CONNECTIONS)) {
            return Err(of_key("connections", "`connections` is out of bounds")
                .hint(format!("from 1 to {MOST_CONNECTIONS}")));
        }
        if !(16 << 10..=256 << 20).contains(&self.batch_size.0) {
            return Err(of_key("batch_size", "`batch_size` is out of bounds")
                .hint("from \"16 KiB\" to \"256 MiB\""));
        }
        self.check_ways()
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(MySqlSource::open(self, cx).await?))
    }

    fn understands(&self, state: &PlanState) -> Result<()> {
        plan::understands(state)
    }

    fn remembered_under(&self) -> Option<&'static str> {
        Some(plan::REMEMBERED_UNDER)
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        const {
            let [a, b, c, d, e, f] = ConnectionKeys::TUNING;
            &[a, b, c, d, e, f, "connections", "batch_size"]
        }
    }
}

impl MySqlConfig {
    /// Checks that at most one way of reading is asked for.
    fn check_ways(&self) -> Result<()> {
        let both = |key: &'static str, one: &str, other: &str| {
            Err(of_key(
                key,
                format!("`{one}` and `{other}` exclude each other"),
            ))
        };
        if self.follow {
            if self.snapshot == Snapshot::Consistent {
                return both("follow", "follow", "snapshot = \"consistent\"").map_err(|e| {
                    e.hint("following makes up for what changes while the tables are read")
                });
            }
            if !self.queries.is_empty() {
                return both("queries", "queries", "follow")
                    .map_err(|e| e.hint("a query's changes can't be followed: use two sources"));
            }
            if self.table.values().any(|table| table.filter.is_some()) {
                return both("table", "where", "follow").map_err(|e| {
                    e.hint("a change may move a row in or out of the condition: filter behind")
                });
            }
            if self.has_cursor() {
                return both("table", "cursor", "follow")
                    .map_err(|e| e.hint("following needs no cursor: it sees every change"));
            }
        }
        if !self.follow && self.server_id.is_some() {
            return Err(
                of_key("server_id", "`server_id` has no use without `follow`").hint("leave it out"),
            );
        }
        if self.server_id == Some(0) {
            return Err(of_key("server_id", "`server_id` can't be 0").hint("from 1 to 4294967295"));
        }
        if self.sample.is_some() {
            if self.follow {
                return both("sample", "sample", "follow");
            }
            if self.snapshot == Snapshot::Consistent {
                return both("sample", "sample", "snapshot = \"consistent\"");
            }
            if !self.queries.is_empty() {
                return both("queries", "queries", "sample");
            }
            if self.has_cursor() {
                return both("table", "cursor", "sample");
            }
        }
        Ok(())
    }
}

/// An error of this configuration that `key` is to blame for.
pub(crate) fn of_key(key: &'static str, message: impl Into<String>) -> Error {
    Error::config(message).with("key", key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use serde_json::{Value, json};
    use tidegate_core::ErrorKind;

    use super::*;

    fn config(keys: &Value) -> MySqlConfig {
        let mut all = json!({ "url": "mysql://reader@db.example.com/shop" });
        for (key, value) in keys.as_object().unwrap() {
            all[key] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn what_can_be_refused_is_refused_without_a_server() {
        let cursor = json!({ "sales": { "cursor": "id" } });
        for (keys, words) in [
            (json!({ "tables": [] }), "`tables` is empty"),
            (
                json!({ "queries": { "rejected": "SELECT 1" } }),
                "`rejected`",
            ),
            (json!({ "queries": { "top": " " } }), "`top` is empty"),
            (
                json!({ "table": { "sales": { "columns": [] } } }),
                "`columns` of `sales`",
            ),
            (
                json!({ "table": { "sales": { "where": "" } } }),
                "`where` of `sales`",
            ),
            (json!({ "table": { "sales": { "lag": 5 } } }), "no `cursor`"),
            (json!({ "connections": 0 }), "`connections`"),
            (json!({ "batch_size": "1 KiB" }), "`batch_size`"),
            (
                json!({ "follow": true, "snapshot": "consistent" }),
                "exclude each other",
            ),
            (
                json!({ "follow": true, "queries": { "top": "SELECT 1" } }),
                "exclude each other",
            ),
            (
                json!({ "follow": true, "table": cursor }),
                "exclude each other",
            ),
        ] {
            let error = config(&keys).validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{keys}");
            let text = format!("{error:?}");
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_lag_is_a_span_or_a_number() {
        let lag = |lag: Value| {
            let keys = json!({ "table": { "sales": { "cursor": "id", "lag": lag } } });
            config(&keys).table["sales"].lag.unwrap()
        };
        assert_eq!(lag(json!(30)), Lag::Values(30));
        let half_a_minute = Span(std::time::Duration::from_secs(30));
        assert_eq!(lag(json!("30s")), Lag::Time(half_a_minute));
    }

    #[test]
    fn all_tables_are_read_unless_there_are_queries() {
        assert_eq!(config(&json!({})).patterns(), None);
        let query = config(&json!({ "queries": { "top": "SELECT 1" } }));
        assert_eq!(query.patterns(), Some(&[][..]));
        assert!(query.validate().is_ok());
    }
}
