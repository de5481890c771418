//! tidegate-jsonplaceholder
