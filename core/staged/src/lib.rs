//! What sinks that write files have in common: files are hidden until their epoch is committed.
//!
//! ```text
//! CPU writers                 Files                                  I/O runtime
//! encode ── append(key, …) ─> one open file for each key ── bytes ─> journal, create, write, finish
//!                             full, idle: the next one               (hidden, durable)
//!
//! seal ── Values { files, register } ──> checkpoint ──> Destination::commit:
//! conclude ── Values { names, delete, forget } ──┘      publish ─> register ─> delete ─> forget
//! ```
//!
//! A sink says by a [`Format`] how its files are encoded and what they are called, and by a
//! [`Destination`] where they lie. Writers don't wait for the place: while much is under way to it,
//! nothing more is read for them (`SinkEpoch::ready`). So their number follows from the work, and the number of files from
//! the bytes. A table format commits the same files in another way.
//!
//! Here is nothing of rows, and of what bytes mean.

mod destination;
mod failure;
mod files;
mod prepared;
mod room;

pub use destination::Destination;
pub use files::{Files, FilesEpoch, Format, Outlet};
pub use prepared::{File, Old, Values, directory_of};
