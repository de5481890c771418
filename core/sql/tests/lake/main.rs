//! Queries over the lake: catalog tables and plain files.

mod catalogued;
mod paths;
mod world;
