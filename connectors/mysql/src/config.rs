//! The source as it stands in a pipeline file.
