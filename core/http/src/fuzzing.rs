//! What the targets in `fuzz/` call, and nobody else.

use crate::hidden::Hidden;

fn hidden(secrets: &[&str]) -> Hidden {
    let hidden = Hidden::default();
    secrets.iter().for_each(|secret| hidden.add(secret));
    hidden
}

/// A text as it may be shown where these secrets are hidden.
pub fn shown(secrets: &[&str], text: &str) -> String {
    hidden(secrets).text(text).into_owned()
}

/// Whether the text holds one of these secrets, so that it must not be stored.
pub fn is_echo(secrets: &[&str], text: &str) -> bool {
    hidden(secrets).is_in(text)
}
