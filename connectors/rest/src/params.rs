//! Values of parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::Secret;

/// A parameter's value: a text, a number, true or false, the name of a secret
/// (`{ env = "API_KEY" }`), or a list of these.
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
    /// Where a text that is secret is to be found.
    Secret(Secret),
}

impl Param {
    /// Each value that is sent.
    pub(crate) fn all(&self) -> &[One] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(all) => all,
        }
    }
}

impl One {
    /// The text that is sent; of a secret, where it is to be found.
    pub(crate) fn text(&self) -> Result<String, &Secret> {
        Ok(match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => serde_json::Value::from(*value).to_string(),
            Self::Text(value) => value.clone(),
            Self::Secret(secret) => return Err(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn values_are_sent_as_they_are_written() {
        let texts = |value: Value| {
            let param: Param = serde_json::from_value(value).unwrap();
            let texts = param.all().iter().map(One::text);
            texts.collect::<Result<Vec<_>, _>>().unwrap()
        };
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
        let secret = json!([1, { "env": "KEY" }]);
        let param: Param = serde_json::from_value(secret.clone()).unwrap();
        assert_eq!(param.all()[1].text(), Err(&Secret::Env("KEY".into())));
        assert_eq!(serde_json::to_value(param).unwrap(), secret);
    }
}
