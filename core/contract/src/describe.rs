//! How configurations are described.

/// Of an enum whose variants are the keys of a table, such as [`Secret`](crate::Secret): what is said of
/// a variant becomes what is said of its key, where the reference looks for it.
///
/// ```
/// use schemars::JsonSchema;
/// use tidegate_core::describe_keys;
///
/// #[derive(JsonSchema)]
/// #[serde(rename_all = "snake_case")]
/// #[schemars(transform = describe_keys)]
/// enum Keep {
///     /// So many characters.
///     First(usize),
/// }
///
/// let schema = schemars::schema_for!(Keep).to_value();
/// let first = &schema["oneOf"][0]["properties"]["first"];
/// assert_eq!(first["description"], "So many characters.");
/// ```
pub fn describe_keys(schema: &mut schemars::Schema) {
    let variants = schema.get_mut("oneOf").and_then(|of| of.as_array_mut());
    for variant in variants.into_iter().flatten() {
        let variant = variant.as_object_mut();
        let Some((variant, text)) = variant.and_then(|of| {
            let text = of.remove("description")?;
            Some((of, text))
        }) else {
            continue;
        };
        let keys = variant
            .get_mut("properties")
            .and_then(|keys| keys.as_object_mut());
        for key in keys.into_iter().flat_map(|keys| keys.values_mut()) {
            key["description"] = text.clone();
        }
    }
}
