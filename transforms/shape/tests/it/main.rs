//! What the transforms give, and that they keep the contract.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dedupe;
mod extract;
mod flatten;
mod mask;
mod support;
