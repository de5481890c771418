//! What is known of an account with an API, shared by all runs and pipelines.

mod options;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tidegate_core::{Context, KeyValue, Result};

pub use options::{LedgerOptions, OnSpent, Quota};

/// See the crate's documentation.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Arc<dyn KeyValue>,
    options: Arc<LedgerOptions>,
}

impl Ledger {
    /// The ledger of an account, kept in the store that all pipelines of one state place share.
    pub fn new(cx: &Context, options: LedgerOptions) -> Self {
        Self {
            store: Arc::clone(&cx.shared),
            options: Arc::new(options),
        }
    }

    /// A name for an account that doesn't tell its key: the host, and a hash of the secrets by
    /// which the API knows us (none: the API knows us by our address).
    pub fn account_of(host: &str, secrets: &[&str]) -> String {
        if secrets.is_empty() {
            return format!("{host}/anonymous");
        }
        let mut hash = Sha256::new();
        for text in [host].iter().chain(secrets) {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        let hash: String = hash.finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{host}/{hash}")
    }

    /// What is known of the quota by now; `None` where no answer told of one.
    pub async fn quota(&self) -> Result<Option<Quota>> {
        let _ = (&self.store, &self.options);
        Ok(None)
    }
}
