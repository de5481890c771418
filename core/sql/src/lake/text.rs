//! Tables of text files: read by whoever reads them elsewhere, so that a query and a pipeline see
//! the same rows.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::common::project_schema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
};
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_core::{BatchStream, CatalogTable, Result};
use tidegate_storage::{FileMeta, Storage};

use super::places::Found;
use super::traffic::Traffic;
use crate::table::{external, pieces, project};

/// Reads text files: NDJSON, JSON and delimited text, compressed or not.
#[async_trait]
pub trait TextFiles: fmt::Debug + Send + Sync {
    /// The columns that files have together, by their beginnings. Errors: `Data`, `Schema`; those
    /// of the place.
    async fn columns(&self, files: &[TextFile]) -> Result<SchemaRef>;

    /// Rows of one file, as `wanted` has them. A row that can't be taken is an error that names
    /// the file, the line and the reason; dropping the stream ends the reading.
    async fn read(&self, file: TextFile, wanted: TextRows) -> Result<BatchStream>;
}

/// A text file that was found.
#[derive(Debug, Clone)]
pub struct TextFile {
    /// Where it lies.
    pub storage: Storage,
    /// Which file it is there.
    pub meta: FileMeta,
    /// The table that it is of, which says its format; `None` for a path, whose name says it.
    pub table: Option<Arc<CatalogTable>>,
}

/// What is wanted of a text file.
#[derive(Debug, Clone)]
pub struct TextRows {
    /// The table's columns: those of the files, then the partition keys.
    pub schema: SchemaRef,
    /// The values of the partition keys: arrays of one row each.
    pub keys: Vec<ArrayRef>,
    /// The names of the columns that are wanted. A batch may have them in any order.
    pub columns: Vec<String>,
    /// How many chunks of the file may be decoded at once.
    pub at_once: usize,
    /// Where what is read is counted.
    pub traffic: Arc<Traffic>,
}

/// A scan of text files, about equally many bytes a partition.
#[derive(Debug)]
pub(crate) struct TextExec {
    pub(crate) name: String,
    pub(crate) readers: Arc<dyn TextFiles>,
    groups: Vec<Vec<Share>>,
    wanted: TextRows,
    limit: Option<usize>,
    /// The wanted columns, in the query's order.
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

/// A file, and the values of its partition's keys.
type Share = (TextFile, Arc<Vec<ScalarValue>>);

/// What a scan of text is to read.
pub(crate) struct TextScan<'a> {
    pub(crate) name: &'a str,
    pub(crate) readers: &'a Arc<dyn TextFiles>,
    pub(crate) table: Option<Arc<CatalogTable>>,
    /// The table's columns: those of the files, then the partition keys.
    pub(crate) schema: &'a SchemaRef,
    pub(crate) projection: Option<&'a Vec<usize>>,
    pub(crate) limit: Option<usize>,
    pub(crate) traffic: &'a Arc<Traffic>,
}

impl TextScan<'_> {
    /// The plan that reads `files` in about `partitions` partitions.
    pub(crate) fn plan(
        self,
        files: Vec<(Found, Arc<Vec<ScalarValue>>)>,
        partitions: usize,
    ) -> DfResult<TextExec> {
        let schema = project_schema(self.schema, self.projection)?;
        let mut files = files;
        files.sort_by_key(|(found, _)| std::cmp::Reverse(found.object.size));
        let count = partitions.clamp(1, files.len().max(1));
        let mut groups: Vec<(u64, Vec<Share>)> = vec![(0, Vec::new()); count];
        for (found, values) in files {
            let file = found.text(self.table.clone()).map_err(external)?;
            if let Some(smallest) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
                smallest.0 = smallest.0.saturating_add(file.meta.size.max(1));
                smallest.1.push((file, values));
            }
        }
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(count),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let columns = schema.fields().iter().map(|field| field.name().clone());
        Ok(TextExec {
            name: self.name.to_owned(),
            readers: Arc::clone(self.readers),
            groups: groups.into_iter().map(|(_, files)| files).collect(),
            wanted: TextRows {
                schema: Arc::clone(self.schema),
                keys: Vec::new(),
                columns: columns.collect(),
                at_once: (partitions / count).max(1),
                traffic: Arc::clone(self.traffic),
            },
            limit: self.limit,
            schema,
            properties: Arc::new(properties),
        })
    }
}

impl DisplayAs for TextExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: usize = self.groups.iter().map(Vec::len).sum();
        let columns = self.wanted.columns.join(", ");
        write!(
            f,
            "TextExec: {}, files={files}, columns=[{columns}]",
            self.name
        )?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for TextExec {
    fn name(&self) -> &'static str {
        "TextExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let files = self.groups.get(partition).cloned().unwrap_or_default();
        let (readers, wanted) = (Arc::clone(&self.readers), self.wanted.clone());
        let size = context.session_config().batch_size();
        let schema = Arc::clone(&self.schema);
        // A file is opened when the one before it has ended.
        let batches = stream::iter(files)
            .then(move |(file, values)| {
                let (readers, mut wanted) = (Arc::clone(&readers), wanted.clone());
                async move {
                    let keys = values.iter().map(ScalarValue::to_array);
                    wanted.keys = keys.collect::<DfResult<_>>()?;
                    let rows = readers.read(file, wanted).await.map_err(external)?;
                    Ok::<_, DataFusionError>(rows.map_err(external))
                }
            })
            .try_flatten()
            .map(move |batch| -> DfResult<_> {
                let batch = project(&batch?, &schema)?;
                Ok(stream::iter(pieces(&batch, size)?.into_iter().map(Ok)))
            })
            .try_flatten();
        let batches = match self.limit {
            None => batches.boxed(),
            Some(limit) => first(limit, batches.boxed()),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        )))
    }
}

type Batches = stream::BoxStream<'static, DfResult<RecordBatch>>;

/// The first rows; nothing is asked for once there are enough.
fn first(limit: usize, batches: Batches) -> Batches {
    stream::unfold((limit, batches), |(left, mut batches)| async move {
        if left == 0 {
            return None;
        }
        let batch = match batches.next().await? {
            Ok(batch) => batch.slice(0, batch.num_rows().min(left)),
            Err(error) => return Some((Err(error), (0, batches))),
        };
        let left = left - batch.num_rows();
        Some((Ok(batch), (left, batches)))
    })
    .boxed()
}
