//! tidegate-transform-json
