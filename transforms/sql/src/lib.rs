//! tidegate-transform-sql
