//! tidegate-sql
