//! What components note outside of what they read and write: what sinks begin, and their own values.
//! As questions and answers that are data, so that whoever has the state may be another process.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{ComponentId, Epoch, Error, Journal, KeyValue, Result, Token};

use crate::state::{Change, Fence, StateStore};

/// Something to note or to look up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    /// Note what a sink is about to begin.
    Begin {
        sink: ComponentId,
        epoch: Epoch,
        token: Token,
    },
    /// Look up a value. `component`: none for what all share.
    Get {
        component: Option<ComponentId>,
        key: String,
    },
    /// Set a value if it still is the expected one.
    CompareAndSet {
        component: Option<ComponentId>,
        key: String,
        expected: Maybe,
        value: Value,
    },
}

/// A value, if there is one: JSON alone doesn't tell none from null.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Maybe {
    is_there: bool,
    value: Value,
}

impl From<Option<Value>> for Maybe {
    fn from(value: Option<Value>) -> Self {
        Self {
            is_there: value.is_some(),
            value: value.unwrap_or_default(),
        }
    }
}

impl From<Maybe> for Option<Value> {
    fn from(maybe: Maybe) -> Self {
        maybe.is_there.then_some(maybe.value)
    }
}

/// What came of a question.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is noted.
    Begun,
    /// The value, if there is one.
    Value(Maybe),
    /// Whether the value was the expected one.
    Set(bool),
}

/// Who keeps the records.
#[async_trait]
pub(crate) trait Records: std::fmt::Debug + Send + Sync {
    async fn answer(&self, question: Question) -> Result<Answer>;
}

/// In the place of a pipeline's and a component's name: what all of them share. Neither can be
/// called so.
const SHARED: &str = "<shared>";

/// Records in a pipeline's state.
#[derive(Debug)]
pub(crate) struct StateRecords {
    pub(crate) state: Arc<dyn StateStore>,
    pub(crate) fence: Fence,
    pub(crate) pipeline: Arc<str>,
}

impl StateRecords {
    /// Where a component's values are, or those of all.
    fn place<'a>(&'a self, component: Option<&'a ComponentId>) -> (&'a str, &'a str) {
        match component {
            Some(component) => (&self.pipeline, component.as_str()),
            None => (SHARED, SHARED),
        }
    }
}

#[async_trait]
impl Records for StateRecords {
    async fn answer(&self, question: Question) -> Result<Answer> {
        match question {
            Question::Begin { sink, epoch, token } => {
                let change = Change::Begun { sink, epoch, token };
                let applied = self.state.apply(&self.pipeline, self.fence, change);
                applied.await.map(|()| Answer::Begun)
            }
            Question::Get { component, key } => {
                let (pipeline, component) = self.place(component.as_ref());
                let value = self.state.get_value(pipeline, component, &key).await?;
                Ok(Answer::Value(value.into()))
            }
            Question::CompareAndSet {
                component,
                key,
                expected,
                value,
            } => {
                let (pipeline, component) = self.place(component.as_ref());
                let expected: Option<Value> = expected.into();
                let expected = expected.as_ref();
                let state = &self.state;
                let set = state.compare_and_set_value(pipeline, component, &key, expected, &value);
                set.await.map(Answer::Set)
            }
        }
    }
}

/// The key-value store of one component, or the one of all.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) records: Arc<dyn Records>,
    pub(super) component: Option<ComponentId>,
}

#[async_trait]
impl KeyValue for Values {
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        let question = Question::Get {
            component: self.component.clone(),
            key: key.to_owned(),
        };
        match self.records.answer(question).await? {
            Answer::Value(value) => Ok(value.into()),
            _ => Err(stray()),
        }
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        let question = Question::CompareAndSet {
            component: self.component.clone(),
            key: key.to_owned(),
            expected: expected.cloned().into(),
            value: value.clone(),
        };
        match self.records.answer(question).await? {
            Answer::Set(set) => Ok(set),
            _ => Err(stray()),
        }
    }
}

/// The journal of one sink; none while a pipeline is only checked.
#[derive(Debug)]
pub(super) struct SinkJournal {
    pub(super) records: Option<Arc<dyn Records>>,
    pub(super) sink: ComponentId,
}

#[async_trait]
impl Journal for SinkJournal {
    async fn begin(&self, epoch: Epoch, token: Token) -> Result<()> {
        let Some(records) = &self.records else {
            return Err(Error::internal(
                "a sink began to write while it was only checked",
            ));
        };
        let question = Question::Begin {
            sink: self.sink.clone(),
            epoch,
            token,
        };
        match records.answer(question).await? {
            Answer::Begun => Ok(()),
            _ => Err(stray()),
        }
    }
}

fn stray() -> Error {
    Error::internal("an answer to another question")
}
