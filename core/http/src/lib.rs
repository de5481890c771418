//! tidegate-http
