//! Texts that were made safe for HTML, back to what somebody wrote.

use arrow_array::builder::StringBuilder;
use arrow_array::{Array, StringArray};

/// Decodes one level of HTML entities (`&amp;`, `&#39;`, `&#x27;`, `&eacute;`): what a safe filter
/// encodes once. What is no entity stays as it is.
pub(crate) fn decode(texts: &StringArray) -> StringArray {
    if !texts.value_data().contains(&b'&') {
        return texts.clone();
    }
    let mut decoded = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        match text {
            Some(text) => decoded.append_value(html_escape::decode_html_entities(text)),
            None => decoded.append_null(),
        }
    }
    decoded.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> String {
        decode(&StringArray::from(vec![text])).value(0).to_owned()
    }

    #[test]
    fn exactly_one_level_is_decoded() {
        for (sent, meant) in [
            ("Tom &amp; Jerry", "Tom & Jerry"),
            (
                "What does &quot;&lt;?&gt;&quot; mean?",
                "What does \"<?>\" mean?",
            ),
            ("It&#39;s &#233;t&#xE9;", "It's été"),
            ("&#128512;", "\u{1F600}"),
            ("How to write &amp;lt; in HTML", "How to write &lt; in HTML"),
            ("&amp;amp;amp;", "&amp;amp;"),
            ("AT&T; R&D, a && b", "AT&T; R&D, a && b"),
            (
                "&nosuchthing; &#0; &#xFFFFFFFF; &",
                "&nosuchthing; &#0; &#xFFFFFFFF; &",
            ),
        ] {
            assert_eq!(one(sent), meant);
        }
    }

    #[test]
    fn nulls_and_texts_without_entities_stay() {
        let texts = StringArray::from(vec![Some("a &amp; b"), None, Some(""), Some("plain")]);
        let meant = StringArray::from(vec![Some("a & b"), None, Some(""), Some("plain")]);
        assert_eq!(decode(&texts), meant);
    }

    /// As .NET's `HtmlEncode` does, which the API uses.
    fn encode(text: &str) -> String {
        let encoded = |c: char| match c {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&#39;".to_owned(),
            '&' => "&amp;".to_owned(),
            '\u{A0}'..='\u{FF}' | '\u{10000}'.. => format!("&#{};", u32::from(c)),
            other => other.to_string(),
        };
        text.chars().map(encoded).collect()
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(text in any::<String>()) {
            prop_assert_eq!(one(&encode(&text)), text);
        }

        #[test]
        fn what_looks_encoded_comes_back(text in "(&|amp|lt|#3|9|;|x){0,12}") {
            prop_assert_eq!(one(&encode(&text)), text);
        }
    }
}
