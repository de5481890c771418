//! Changes, from the binlog.
