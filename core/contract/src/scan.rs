//! What the consumers of a stream need of it.

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, StreamName};

/// What all consumers of a stream together need of it.
///
/// `columns` is a law: the source gives exactly these, in the order of the stream's schema.
/// `predicates` and `limit` are offers: a source may use them to read less, and everything is
/// applied again above it. They are only set where every consumer agrees. `places` is a wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// The stream.
    pub stream: StreamName,
    /// The top-level columns that are needed; `None` for all.
    pub columns: Option<Vec<String>>,
    /// Conditions, all of which a row must fulfil to matter.
    pub predicates: Vec<Predicate>,
    /// No consumer needs more rows than this.
    pub limit: Option<u64>,
    /// Whether it may be asked where a row stands: see [`Decoded::places`](crate::Decoded::places).
    #[serde(default)]
    pub places: bool,
}

impl Scan {
    /// A scan of everything.
    pub fn all(stream: impl Into<StreamName>) -> Self {
        Self {
            stream: stream.into(),
            columns: None,
            predicates: Vec::new(),
            limit: None,
            places: false,
        }
    }

    /// The positions, within `schema`, of the columns asked for, in the schema's order.
    pub fn indices(&self, schema: &Schema) -> Result<Vec<usize>> {
        let Some(columns) = &self.columns else {
            return Ok((0..schema.fields().len()).collect());
        };
        let mut indices = columns
            .iter()
            .map(|name| {
                schema.index_of(name).map_err(|_| {
                    Error::schema(format!("stream `{}` has no column `{name}`", self.stream))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        indices.sort_unstable();
        indices.dedup();
        Ok(indices)
    }

    /// The schema of what this scan gives of a stream with `schema`.
    pub fn schema(&self, schema: &SchemaRef) -> Result<SchemaRef> {
        match self.columns {
            None => Ok(schema.clone()),
            Some(_) => Ok(schema.project(&self.indices(schema)?)?.into()),
        }
    }

    /// The columns asked for, of a batch that has all.
    pub fn project(&self, batch: RecordBatch) -> Result<RecordBatch> {
        match self.columns {
            None => Ok(batch),
            Some(_) => Ok(batch.project(&self.indices(&batch.schema())?)?),
        }
    }

    /// What serves both this consumer and another of the same stream.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.columns = match (self.columns, &other.columns) {
            (Some(mut mine), Some(theirs)) => {
                for column in theirs {
                    if !mine.contains(column) {
                        mine.push(column.clone());
                    }
                }
                Some(mine)
            }
            _ => None,
        };
        // What only one of them can do without is still needed by the other.
        if self.predicates != other.predicates {
            self.predicates.clear();
            self.limit = None;
        }
        self.limit = self
            .limit
            .zip(other.limit)
            .map(|(mine, theirs)| mine.max(theirs));
        self.places |= other.places;
        self
    }
}

/// A condition that is simple enough for any source to understand. NULL fulfils only `IsNull`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Predicate {
    /// The column compared with a constant.
    Compare {
        /// The column.
        column: String,
        /// How.
        op: Comparison,
        /// With what.
        value: Literal,
    },
    /// The column is one of these.
    In {
        /// The column.
        column: String,
        /// The constants.
        values: Vec<Literal>,
    },
    /// The column is NULL.
    IsNull(String),
    /// The column is not NULL.
    IsNotNull(String),
}

/// The comparisons of a [`Predicate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Comparison {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

/// A constant in a [`Predicate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Literal {
    /// A boolean.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer too large for [`Literal::Int`].
    UInt(u64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00; in UTC if the column has a zone.
    Timestamp(i64),
}
