//! Rows as records of a stream: encoded, put together to requests, and put again where they failed.

mod firehose;
mod key;
mod kinesis;
mod live;
mod put;
mod records;

pub use firehose::FirehoseSinkConfig;
pub use kinesis::KinesisSinkConfig;
pub use records::RecordFormat;
