//! Rows as records of a stream: encoded, put together to requests, and put again where they failed.

mod firehose;
mod key;
mod kinesis;
mod live;
mod pack;
mod put;
mod records;
mod shards;

pub use firehose::FirehoseSinkConfig;
pub use kinesis::KinesisSinkConfig;
pub use records::RecordFormat;
