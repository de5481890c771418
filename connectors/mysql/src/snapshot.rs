//! One consistent view of all tables over several connections.
