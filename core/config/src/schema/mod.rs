//! Components' JSON Schemas: what they admit, and what is wrong with a table that doesn't fit.

mod check;
mod explain;
mod plain;
mod shape;
mod typing;

pub(crate) use check::check;
pub(crate) use plain::plain_secrets;
