//! A loop that gives one random row of each table at a time.
