//! Amazon Kinesis: the `kinesis` source and sink, and the `firehose` sink.
//!
//! ```text
//! plan: ListShards ─> a split for each shard, children after their parents
//! read: GetShardIterator ─> GetRecords, paced ─┬─> pages ─> events ─> decode (workers) ─> Arrow
//!       SubscribeToShard ──────────────────────┘              │
//!                                   position: (sequence number, index in an aggregated record)
//!
//! sinks: rows ─> records (─> aggregated) ─> PutRecords, PutRecordBatch ─> what failed, again
//! ```

mod aggregate;
mod api;
mod config;
mod decode;
mod plan;
mod position;
mod read;
mod sink;
mod source;

pub use config::{KinesisConfig, Mode, Moment, OnLoss, Start, Until};
pub use sink::{FirehoseSinkConfig, KinesisSinkConfig, RecordFormat};

tidegate_core::register_source!("kinesis", KinesisConfig);
tidegate_core::register_sink!("kinesis", KinesisSinkConfig);
tidegate_core::register_sink!("firehose", FirehoseSinkConfig);
