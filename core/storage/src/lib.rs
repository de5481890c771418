//! tidegate-storage
