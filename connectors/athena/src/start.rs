//! Which token a run's query is started with, kept where it outlives the process.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tidegate_core::{Error, KeyValue, Result, RunId};
use uuid::Uuid;

use crate::AthenaSettings;
use crate::statement::Statement;

/// Where the note is in the component's store.
const KEY: &str = "start";

/// Notes with which token the query is started, before it is. So a process that takes over from one
/// that was killed finds the same execution, and the query isn't paid for twice; Athena gives the
/// execution of a token that it knows. An execution that failed or was stopped is forgotten.
///
/// Nothing depends on it but the bill: a query that is started anew is read from its beginning.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    store: Arc<dyn KeyValue>,
    run: RunId,
    /// Tells one request from another: Athena refuses a token that comes with another request.
    fingerprint: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    run: RunId,
    fingerprint: String,
    token: String,
}

impl Start {
    pub(crate) fn new(
        store: &Arc<dyn KeyValue>,
        run: RunId,
        statement: &Statement,
        settings: &AthenaSettings,
    ) -> Result<Self> {
        let settings = serde_json::to_string(settings)
            .map_err(|error| Error::internal("settings can't be noted").because(error))?;
        let mut hash = Sha256::new();
        hash.update(statement.text());
        hash.update([0]);
        hash.update(settings);
        let fingerprint = hash
            .finalize()
            .into_iter()
            .map(|byte| format!("{byte:02x}"));
        Ok(Self {
            store: Arc::clone(store),
            run,
            fingerprint: fingerprint.collect(),
        })
    }

    /// The token of this run's query: the noted one, or a new one that is noted now.
    pub(crate) async fn token(&self) -> Result<String> {
        let known = self.store.get(KEY).await?;
        if let Some(note) = self.ours(known.as_ref()) {
            return Ok(note.token);
        }
        let note = Note {
            run: self.run,
            fingerprint: self.fingerprint.clone(),
            token: format!("tidegate-{}", Uuid::new_v4().simple()),
        };
        let value = serde_json::to_value(&note)
            .map_err(|error| Error::internal("a token can't be noted").because(error))?;
        // Whether it was noted makes no difference to what is right, see above.
        self.store
            .compare_and_set(KEY, known.as_ref(), &value)
            .await?;
        Ok(note.token)
    }

    /// Forgets the token, so that the query is started anew the next time.
    pub(crate) async fn forget(&self) -> Result<()> {
        let known = self.store.get(KEY).await?;
        if self.ours(known.as_ref()).is_some() {
            let nothing = Value::Null;
            self.store
                .compare_and_set(KEY, known.as_ref(), &nothing)
                .await?;
        }
        Ok(())
    }

    fn ours(&self, known: Option<&Value>) -> Option<Note> {
        let note = Note::deserialize(known?).ok()?;
        (note.run == self.run && note.fingerprint == self.fingerprint).then_some(note)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use tidegate_testkit::suites::context;

    use super::*;

    #[tokio::test]
    async fn a_run_has_one_token_until_it_is_forgotten() {
        let store = context().common().store;
        let start = |run, sql: &str| {
            let statement = Statement::parse(sql).unwrap();
            Start::new(&store, run, &statement, &AthenaSettings::default()).unwrap()
        };
        let run = RunId::new();
        let first = start(run, "SELECT 1").token().await.unwrap();
        assert!((32..=128).contains(&first.len()), "{first}");
        assert_eq!(start(run, "SELECT 1").token().await.unwrap(), first);
        let other = start(run, "SELECT 2").token().await.unwrap();
        assert_ne!(other, first, "another query");
        start(run, "SELECT 1").forget().await.unwrap();
        assert_eq!(start(run, "SELECT 2").token().await.unwrap(), other);
        start(run, "SELECT 2").forget().await.unwrap();
        let again = start(run, "SELECT 2").token().await.unwrap();
        assert_ne!(again, other, "forgotten");
        assert_ne!(
            start(RunId::new(), "SELECT 2").token().await.unwrap(),
            again
        );
    }
}
