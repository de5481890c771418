//! tidegate-sink-parquet
