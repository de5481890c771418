//! The source and the sinks against kinesis-local, and against what it doesn't do.

#![allow(clippy::unwrap_used)]

mod aggregating;
mod apart;
mod failures;
mod fan_out;
mod loss;
mod putting;
mod reading;
mod resharding;
mod runs;
mod site;
mod strict;
