//! tidegate-files
