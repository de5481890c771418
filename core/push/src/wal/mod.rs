//! A write-ahead log: records are on the disk before whoever sent them is answered.
//!
//! ```text
//! append ─┐
//! append ─┼─> pending ─> one write, one fdatasync ─> all of the group are told their positions
//! append ─┘                       │
//!                                 └─> Reader: from any position, whatever is durable, in order
//! trim: what lies before a position isn't needed any more; whole segments are deleted
//! ```
//!
//! A position is a number of bytes since the log was made; it never goes back. The directory has:
//!
//! | file | what it holds |
//! |---|---|
//! | `lock` | held by the process that has the log |
//! | `mark` | the log's identity, and up to where it was trimmed |
//! | `<position>.log` | a segment: frames of records, from this position on |
//!
//! **What is promised.** A record whose [`Append`] has given its position is read back after any
//! crash, also of the machine. One that has not may be read back or not. A write or sync that fails
//! ends the log: nothing more is taken until it is opened again, because what the kernel makes of
//! pages that it could not write is anybody's guess. Damage is told, never skipped: only what was
//! written last, after the last sync, may end in the middle.

mod frame;
mod log;
mod open;
mod reader;
mod segment;
mod writer;

pub use log::{Append, Log, Options, Refused};
pub use reader::{Chunk, Reader};
