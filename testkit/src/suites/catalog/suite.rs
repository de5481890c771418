//! What the suite is given, and the helpers that its checks share.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::{
    Catalog, CatalogTable, Context, ErrorKind, Lineage, Result, TableFormat, TableName,
    TablePartition,
};

use super::{merging, partitions, tables};
use crate::suites::check::{Outcome, Refusal, Report, checks, fail};
use crate::suites::context::TestContext;

type Open = Arc<dyn Fn(Context) -> BoxFuture<'static, Result<Arc<dyn Catalog>>> + Send + Sync>;

/// Checks of a catalog; made by [`catalog_suite`].
#[derive(Clone)]
pub struct CatalogSuite {
    open: Open,
    refusals: Vec<Refusal>,
}

impl fmt::Debug for CatalogSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogSuite").finish_non_exhaustive()
    }
}

/// A suite for the catalog that `open` opens. Opened twice with one context, it is one catalog, as
/// two processes see it. Each check has a context of its own, whose `base` is an empty directory, and
/// databases of its own, whose names begin with `suite_`.
pub fn catalog_suite<F, Fut>(open: F) -> CatalogSuite
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Arc<dyn Catalog>>> + Send + 'static,
{
    CatalogSuite {
        open: Arc::new(move |cx| open(cx).boxed()),
        refusals: Vec::new(),
    }
}

checks! { CatalogSuite:
    tables::a_table_comes_back,
    tables::formats_come_back,
    tables::what_is_not_there_is_not_found,
    tables::names_are_listed_in_order,
    tables::folding_is_done_once,
    tables::dropping_forgets_all,
    merging::merge_adds_and_widens,
    merging::merge_drops_nothing,
    merging::merge_again_changes_nothing,
    merging::contradictions_change_nothing,
    merging::two_at_once,
    partitions::partitions_come_back_in_order,
    partitions::a_partition_stays_where_it_is,
    partitions::odd_values_come_back,
    partitions::many_partitions,
    partitions::predicates_are_offers,
    partitions::dropped_partitions_are_gone,
    partitions::partitions_need_a_table,
    partitions::partitions_survive_a_merge,
    errors_have_kinds,
}

impl CatalogSuite {
    /// Says that an attempt with a bad configuration fails, and how.
    #[must_use]
    pub fn refuses<F, Fut>(mut self, what: &str, kind: ErrorKind, attempt: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.refusals.push(Refusal::new(what, kind, attempt));
        self
    }

    /// Runs all checks, and panics with what failed.
    pub async fn check(self) {
        self.report().await.assert();
    }

    /// Runs all checks.
    pub async fn report(self) -> Report {
        Report::of(&self, CHECKS).await
    }

    /// The names of the checks.
    pub fn names() -> Vec<&'static str> {
        CHECKS
            .iter()
            .map(|(name, _)| name.rsplit("::").next().unwrap_or(name).trim())
            .collect()
    }

    /// A place for one check.
    pub(super) async fn site(&self) -> Outcome<Site> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let cx = TestContext::new();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // The server may outlive this process.
        let database = format!("suite_{}_{number}", Lineage::new().short()).to_lowercase();
        let catalog = (self.open)(cx.common()).await?;
        Ok(Site {
            open: Arc::clone(&self.open),
            cx,
            catalog,
            database: database.replace('-', "_"),
        })
    }
}

/// A catalog for one check, and what it is filled with.
pub(super) struct Site {
    open: Open,
    cx: TestContext,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) database: String,
}

impl Site {
    /// The same catalog, as another process opens it.
    pub(super) async fn again(&self) -> Outcome<Arc<dyn Catalog>> {
        Ok((self.open)(self.cx.common()).await?)
    }

    /// A table of Parquet with these columns, without partitions. Its columns are as the catalog
    /// would store them.
    pub(super) fn table(&self, name: &str, columns: &[(&str, DataType)]) -> Outcome<CatalogTable> {
        let columns = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        let columns = Schema::new(columns.collect::<Vec<_>>());
        Ok(CatalogTable {
            name: TableName::new(&self.database, name),
            location: format!("s3://lake/{}/{name}", self.database),
            format: TableFormat::Parquet,
            columns: self.catalog.storable(&columns)?,
            partition_keys: Vec::new(),
            properties: Default::default(),
        })
    }

    /// A table with a column `id`, partitioned by these.
    pub(super) fn partitioned(
        &self,
        name: &str,
        keys: &[(&str, DataType)],
    ) -> Outcome<CatalogTable> {
        let keys = keys
            .iter()
            .map(|(name, data_type)| -> FieldRef {
                Arc::new(Field::new(*name, data_type.clone(), true))
            })
            .collect();
        Ok(CatalogTable {
            partition_keys: keys,
            ..self.table(name, &[("id", DataType::Int64)])?
        })
    }

    /// The table as it is there.
    pub(super) async fn find(&self, name: &TableName) -> Outcome<CatalogTable> {
        match self.again().await?.table(name).await? {
            Some(table) => Ok(table),
            None => fail!("table `{name}` was made, and isn't there"),
        }
    }

    /// All partitions of a table.
    pub(super) async fn partitions(&self, table: &CatalogTable) -> Outcome<Vec<TablePartition>> {
        Ok(self.again().await?.partitions(table, &[]).await?)
    }
}

/// A table's columns as `name: type`, in order.
pub(super) fn shape(columns: &SchemaRef) -> Vec<String> {
    let fields = columns.fields().iter();
    let shape = |field: &FieldRef| format!("{}: {}", field.name(), field.data_type());
    fields.map(shape).collect()
}

/// A partition whose directory is a number: the catalog has no business in it.
pub(super) fn partition(
    table: &CatalogTable,
    number: usize,
    values: &[Option<&str>],
) -> TablePartition {
    TablePartition {
        values: values
            .iter()
            .map(|value| value.map(str::to_owned))
            .collect(),
        location: format!("{}/part-{number}", table.location),
    }
}

/// Bad configurations are refused with the kind of error that says what to do.
async fn errors_have_kinds(suite: &CatalogSuite) -> Outcome {
    Refusal::check(&suite.refusals).await
}
