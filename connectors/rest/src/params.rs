//! Values of parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A parameter's value: a text, a number, true or false, or a list of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Param {
    /// The parameter is sent once.
    One(One),
    /// The parameter is sent once for each of these.
    Many(Vec<One>),
}

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum One {
    /// Sent as `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// Another number, sent as JSON writes it: `1.0`, `0.5`.
    Number(f64),
    /// A text.
    Text(String),
}

impl Param {
    /// The texts that are sent.
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.text()],
            Self::Many(all) => all.iter().map(One::text).collect(),
        }
    }
}

impl One {
    fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => serde_json::Value::from(*value).to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn values_are_sent_as_they_are_written() {
        let texts = |value: Value| serde_json::from_value::<Param>(value).unwrap().texts();
        assert_eq!(texts(json!("all")), ["all"]);
        assert_eq!(texts(json!(100)), ["100"]);
        assert_eq!(texts(json!(-0.5)), ["-0.5"]);
        assert_eq!(texts(json!(1.0)), ["1.0"]);
        assert_eq!(
            texts(json!(9_007_199_254_740_993_i64)),
            ["9007199254740993"]
        );
        assert_eq!(texts(json!(true)), ["true"]);
        assert_eq!(texts(json!(["a", 1])), ["a", "1"]);
        assert!(serde_json::from_value::<Param>(json!({ "a": 1 })).is_err());
    }
}
