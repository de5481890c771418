//! tidegate-formats
