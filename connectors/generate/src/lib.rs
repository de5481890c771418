//! tidegate-generate
