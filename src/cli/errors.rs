//! How errors look.

use std::error::Error as _;
use std::io::Write;

use owo_colors::{OwoColorize, Style};
use serde_json::{Map, Value, json};
use tidegate::Error;
use tidegate::config::{Diagnostic, Diagnostics, Document};
use tidegate::runtime::Exhausted;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::args::{Global, LogFormat};
use super::terminal;

/// Prints the mistakes of a file.
pub(crate) fn print_diagnostics(global: &Global, diagnostics: &Diagnostics) {
    if global.log_format == LogFormat::Json {
        return diagnostics.iter().for_each(log_diagnostic);
    }
    let count = diagnostics.len();
    let mut err = std::io::stderr().lock();
    let _ = writeln!(
        err,
        "{}\n",
        diagnostics
            .render_within(global.color_stderr(), terminal::width())
            .trim_end()
    );
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    let _ = writeln!(err, "{count} {noun}; nothing was read or written");
}

/// Prints one mistake, at its place in the text.
pub(crate) fn print_diagnostic(global: &Global, diagnostic: &Diagnostic) {
    if global.log_format == LogFormat::Json {
        return log_diagnostic(diagnostic);
    }
    let text = diagnostic.render_within(global.color_stderr(), terminal::width());
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}

/// Prints what is strange in a file, but no mistake.
pub(crate) fn print_warnings<'a>(
    global: &Global,
    warnings: impl IntoIterator<Item = &'a Diagnostic>,
) {
    if global.quiet {
        return;
    }
    for warning in warnings {
        if global.log_format == LogFormat::Json {
            log_diagnostic(warning);
        } else {
            let text = warning.render_within(global.color_stderr(), terminal::width());
            let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
        }
    }
}

/// Prints an error: the sentence, where, the causes, the hint. An error about the configuration of
/// a component is shown at its place in the file.
pub(crate) fn print(global: &Global, error: &Error, document: Option<&Document>) {
    let place = document.zip(place_of(error));
    let explained = place.map(|(document, component)| document.explain(component, error));
    if global.log_format == LogFormat::Json {
        match explained {
            Some(diagnostic) => log_diagnostic(&diagnostic),
            None => log_error(error),
        }
        return;
    }
    let color = global.color_stderr();
    let text = explained.map_or_else(
        || render(error, color),
        |found| found.render_within(color, terminal::width()),
    );
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}

fn place_of(error: &Error) -> Option<&str> {
    use tidegate::ErrorKind as Kind;
    let about_the_file = matches!(
        error.kind(),
        Kind::Config | Kind::Schema | Kind::Unsupported
    );
    let component = error.context().iter().find(|(key, _)| *key == "component");
    component
        .filter(|_| about_the_file)
        .map(|(_, id)| id.as_str())
}

/// An error as text.
fn render(error: &Error, color: bool) -> String {
    let label = ("error:", Style::new().red().bold());
    let context = error
        .context()
        .iter()
        .map(|(key, value)| (*key, value.as_str()));
    let context: Vec<_> = context.collect();
    let causes = causes(error);
    render_parts(
        label,
        error.message(),
        &context,
        &causes,
        error.hint_text(),
        color,
    )
}

fn render_parts(
    (label, style): (&str, Style),
    message: &str,
    context: &[(&str, &str)],
    causes: &[String],
    hint: Option<&str>,
    color: bool,
) -> String {
    let paint = |text: &str, style: Style| {
        if color {
            text.style(style).to_string()
        } else {
            text.to_owned()
        }
    };
    let strong = Style::new().bold();
    let mut text = format!("{} {}\n", paint(label, style), paint(message, strong));
    let width = context.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in context {
        text.push_str(&format!("  {key:>width$}: {value}\n"));
    }
    for cause in causes {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    if let Some(advice) = hint {
        let label = paint("hint:", Style::new().cyan().bold());
        text.push_str(&format!("{label} {advice}\n"));
    }
    text
}

/// Prints why a run stopped without being asked to, as errors are printed.
pub(crate) fn print_exhausted(global: &Global, why: &Exhausted, hint: Option<&str>) {
    if global.log_format == LogFormat::Json {
        let context = &why.context;
        return log(
            "WARN",
            &why.message,
            json!({ "kind": "exhausted", "context": context, "hint": hint }),
        );
    }
    let context = why.context.iter();
    let context = context.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
    let text = render_parts(
        ("stopped:", Style::new().yellow().bold()),
        &why.message,
        &context.collect::<Vec<_>>(),
        &[],
        hint,
        global.color_stderr(),
    );
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}

/// What caused an error, outermost first. Libraries repeat a cause in the text of what it caused:
/// then only the innermost, which is the system's own words, is kept.
fn causes(error: &Error) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        found.retain(|outer| !outer.contains(&text));
        found.push(text);
        cause = error.source();
    }
    found
}

fn log_error(error: &Error) {
    let context: Map<String, Value> = error
        .context()
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_str().into()))
        .collect();
    log(
        "ERROR",
        error.message(),
        json!({
            "kind": error.kind().name(),
            "context": context,
            "causes": causes(error),
            "hint": error.hint_text(),
        }),
    );
}

fn log_diagnostic(diagnostic: &Diagnostic) {
    log(
        if diagnostic.is_warning() {
            "WARN"
        } else {
            "ERROR"
        },
        diagnostic.message(),
        json!({
            "file": diagnostic.file(),
            "line": diagnostic.line(),
            "column": diagnostic.column(),
            "label": diagnostic.label_text(),
            "hint": diagnostic.hint_text(),
        }),
    );
}

/// Writes a line as the log does. It doesn't go through the log, because no filter may hide it.
pub(crate) fn log(level: &str, message: &str, fields: Value) {
    let mut time = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let mut line =
        json!({ "timestamp": time, "level": level, "message": message, "target": "tidegate" });
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_told_again_is_shown_once() {
        let inner = std::io::Error::other("permission denied");
        let middle = Error::internal("can't open: permission denied").because(inner);
        let error = Error::auth("can't read a file")
            .with("path", "a.csv")
            .because(middle)
            .hint("ask");
        assert_eq!(
            render(&error, false),
            "error: can't read a file\n  path: a.csv\n  caused by: permission denied\nhint: ask\n"
        );
    }
}
