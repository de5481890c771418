//! What sources stand on whose rows are sent to them: by clients of a server, by the program itself.
//!
//! | | the sender is answered | after a crash |
//! |---|---|---|
//! | [`wal`] | when its record is on the disk | the log is read from the last checkpoint: `Replay::Offset` |
//! | [`handover`] | when its record is committed in every sink | the sender sends again: `Replay::Upstream` |

pub mod handover;
pub mod wal;
