//! tidegate-sink-console
