//! How each session is set up, so that the same statement means the same on every server.

use std::time::Duration;

use crate::wire::Server;

/// Strict, so that what doesn't fit is refused rather than bent. Neither ANSI_QUOTES nor
/// NO_BACKSLASH_ESCAPES: literals mean what they say. Not NO_ZERO_DATE: such dates are found in
/// tables, and must be comparable. NO_AUTO_VALUE_ON_ZERO: a 0 that is written stays a 0.
const SQL_MODE: &str =
    "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO";

/// The statement that sets a session up:
///
/// - texts come and go as UTF-8, times as UTC;
/// - each statement is a transaction of its own until one is begun;
/// - `id IS NULL` has no second meaning, no limit of rows or of time is laid on a SELECT;
/// - GROUP_CONCAT cuts off at 1 MiB, which is MariaDB's default (MySQL's is 1 KiB);
/// - the server waits `patience` for us to take rows or to send them, and 8 hours in between.
///
/// All of this is anybody's right to set.
pub(super) fn set_up(server: &Server, patience: Duration) -> String {
    let seconds = patience.as_secs();
    // A limit of time is the server's default at times; MySQL has it since 5.7.8, in milliseconds.
    let limit = match server {
        Server { mariadb: true, .. } => ", max_statement_time = 0",
        Server { numbers, .. } if *numbers >= (5, 7, 8) => ", max_execution_time = 0",
        Server { .. } => "",
    };
    format!(
        "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '{SQL_MODE}', autocommit = 1, \
         sql_auto_is_null = 0, sql_select_limit = 18446744073709551615, \
         group_concat_max_len = GREATEST(@@group_concat_max_len, 1048576), \
         net_write_timeout = GREATEST(@@net_write_timeout, {seconds}), \
         net_read_timeout = GREATEST(@@net_read_timeout, {seconds}), \
         wait_timeout = GREATEST(@@wait_timeout, 28800){limit}"
    )
}
