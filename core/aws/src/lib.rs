//! What all connectors to AWS share: one credential chain, endpoints and retry settings.
//!
//! ```text
//! [aws] in tidegate.toml ─┐
//! `aws` of a component ───┴─> AwsSettings ── (feature `sdk`) Aws::load ──> SdkConfig ──> clients
//! environment, profile ───────────────────────────┘
//! ```
//!
//! Without the feature `sdk` there is only [`AwsSettings`], so that the configuration of a
//! connector that may read `s3://` compiles no SDK.

mod settings;

pub use settings::{AwsSettings, Checksums, Keys};
