//! A program's own rows: handed into a pipeline that runs inside it, and taken out of it.
//!
//! ```text
//! RowsIn::send ──> rows ──> … ──> commit ──> send returns
//!                    └──> … ──> commit ──> RowsOut::next
//! ```
//!
//! Neither is linked: a program makes them, and adds them to its registry under tags of its own.
//!
//! ```no_run
//! # async fn example(batch: arrow_array::RecordBatch) -> tidegate_core::Result<()> {
//! use tidegate_core::Registry;
//!
//! let mut registry = Registry::linked()?;
//! let (orders, source) = tidegate_program::source("orders", batch.schema());
//! registry.add(source)?;
//! // … a pipeline with `type = "orders"` among its sources is running …
//! orders.send(batch).await?; // now its rows are committed in every sink
//! # Ok(())
//! # }
//! ```

mod rows_in;
mod rows_out;

pub use rows_in::{RowsIn, source};
pub use rows_out::{Committed, RowsOut, sink};

/// The JSON Schema of a component that has no keys.
fn without_keys(description: &'static str) -> impl Fn() -> serde_json::Value + Send + Sync {
    move || {
        serde_json::json!({
            "description": description,
            "type": "object",
            "properties": {},
            "additionalProperties": false,
        })
    }
}
