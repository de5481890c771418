//! The `sql` transform: a query over one or many inputs.
//!
//! ```toml
//! [transforms.weekly]
//! type = "sql"
//! inputs = ["shop.sales", "shop.calendar"]
//! query = """
//! SELECT c.yr_num, c.wk_num, sum(s.sales_qty) AS total_sales_qty
//! FROM shop.sales s JOIN shop.calendar c ON c.cal_dt = s.trans_dt
//! GROUP BY c.yr_num, c.wk_num
//! """
//! ```
//!
//! A query that only filters, projects and unnests one input is a [`Map`](tidegate_core::Map): it works
//! batch by batch, and a row that it can't compute is rejected while the others go on. Every other
//! query (join, aggregate, order, limit, distinct, union, window) is a
//! [`Gather`](tidegate_core::Gather): it sees all rows of a bounded run, or of one epoch, within a
//! memory budget and on disk beyond it; there, a row that can't be computed ends the run.
//!
//! What belongs here is how a query stands in a pipeline. Reading, planning and running SQL is in
//! `tidegate-sql`, with the dialect's description.

mod config;
mod gather;
mod map;
mod row;

pub use config::{Scope, SqlConfig};

tidegate_core::register_transform!("sql", SqlConfig);
