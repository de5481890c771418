//! How tables are cut into splits.

mod line;
mod probe;
mod ranges;
mod splits;
mod window;

pub(crate) use splits::{plan, understands};

#[cfg(test)]
mod tests;
