//! How errors look.

use std::error::Error as _;
use std::io::Write;

use owo_colors::OwoColorize;
use tidegate::Error;
use tidegate::config::{Diagnostics, Document};

use super::args::Global;

/// Prints the mistakes of a file.
pub(crate) fn print_diagnostics(global: &Global, diagnostics: &Diagnostics) {
    let count = diagnostics.len();
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{}", diagnostics.render(global.color_stderr()));
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    let _ = writeln!(err, "{count} {noun}; nothing was read or written");
}

/// Prints an error: the sentence, where, the causes, the hint. An error about the configuration of
/// a component is shown at its place in the file.
pub(crate) fn print(global: &Global, error: &Error, document: Option<&Document>) {
    let mut err = std::io::stderr().lock();
    let place = document.zip(place_of(error));
    if let Some((document, component)) = place {
        let _ = write!(err, "{}", document.explain(component, error).render(global.color_stderr()));
        return;
    }
    let _ = write!(err, "{}", render(error, global.color_stderr()));
}

fn place_of(error: &Error) -> Option<&str> {
    use tidegate::ErrorKind as Kind;
    let about_the_file = matches!(error.kind(), Kind::Config | Kind::Schema | Kind::Unsupported);
    let component = error.context().iter().find(|(key, _)| *key == "component");
    component.filter(|_| about_the_file).map(|(_, id)| id.as_str())
}

/// An error as text.
pub(crate) fn render(error: &Error, color: bool) -> String {
    let paint = |text: &str, style: owo_colors::Style| {
        if color { text.style(style).to_string() } else { text.to_owned() }
    };
    let label = owo_colors::Style::new().red().bold();
    let strong = owo_colors::Style::new().bold();
    let hint = owo_colors::Style::new().cyan().bold();
    let mut text = format!("{} {}\n", paint("error:", label), paint(error.message(), strong));
    let width = error.context().iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in error.context() {
        text.push_str(&format!("  {key:>width$}: {value}\n"));
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  caused by: {error}\n"));
        cause = error.source();
    }
    if let Some(advice) = error.hint_text() {
        text.push_str(&format!("{} {advice}\n", paint("hint:", hint)));
    }
    text
}
