//! From tables to splits that follow the data.
