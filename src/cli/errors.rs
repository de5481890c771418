//! How errors look.

use std::error::Error as _;
use std::fmt;
use std::io::Write;

use owo_colors::{OwoColorize, Style};
use serde_json::{Map, Value, json};
use tidegate::config::{Diagnostic, Diagnostics, Document};
use tidegate::core::printable;
use tidegate::runtime::Exhausted;
use tidegate::{Error, ErrorKind};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::args::{Global, LogFormat};
use super::terminal;

/// Prints the errors of a file.
pub(crate) fn print_diagnostics(global: &Global, diagnostics: &Diagnostics) {
    if global.log_format == LogFormat::Json {
        return diagnostics.iter().for_each(log_diagnostic);
    }
    let count = diagnostics.len();
    let mut err = std::io::stderr().lock();
    let _ = writeln!(
        err,
        "{}\n",
        drawn(
            &diagnostics.render_within(global.color_stderr(), terminal::width()),
            global.color_stderr()
        )
    );
    let noun = if count == 1 { "error" } else { "errors" };
    let _ = writeln!(err, "{count} {noun}; nothing was read or written");
}

/// Prints one error, at its place in the text.
pub(crate) fn print_diagnostic(global: &Global, diagnostic: &Diagnostic) {
    if global.log_format == LogFormat::Json {
        return log_diagnostic(diagnostic);
    }
    draw(global, diagnostic);
}

/// Prints what is strange in a file, but no error.
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
            draw(global, warning);
        }
    }
}

fn draw(global: &Global, diagnostic: &Diagnostic) {
    let color = global.color_stderr();
    let text = diagnostic.render_within(color, terminal::width());
    let _ = writeln!(std::io::stderr().lock(), "{}", drawn(&text, color));
}

/// A drawn error without what a terminal would act on but its colours. The renderer has escaped
/// the controls of ASCII in what it was given, and indents lines.
fn drawn(text: &str, color: bool) -> String {
    let lines = text.trim_end().lines().map(|line| match color {
        false => printable::line(line).into_owned(),
        true => {
            let parts: Vec<_> = line.split('\u{1b}').map(printable::line).collect();
            parts.join("\u{1b}")
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Prints an error: the sentence, where, the causes, the hint. An error about the configuration of
/// a component is shown at its place in the file.
pub(crate) fn print(global: &Global, error: &Error, document: Option<&Document>) {
    let place = document.zip(place_of(error));
    let explained = place
        .map(|(document, component)| document.explain(component, &shown(global.log_format, error)));
    if global.log_format == LogFormat::Json {
        match explained {
            Some(diagnostic) => log_diagnostic(&diagnostic),
            None => log_error(error),
        }
        return;
    }
    match explained {
        Some(diagnostic) => draw(global, &diagnostic),
        None => {
            let text = render(error, global.color_stderr());
            let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
        }
    }
}

/// The same error where everything that it says is of a length to be shown, and for people each part
/// of it on one line.
pub(crate) fn shown(format: LogFormat, error: &Error) -> Error {
    let cut = |text: &str| match format {
        LogFormat::Text => printable::value(text),
        LogFormat::Json => printable::cut(text, printable::LONGEST).into_owned(),
    };
    let mut shown = Error::new(error.kind(), cut(error.message()));
    for (key, value) in error.context() {
        shown = shown.with(key, cut(value));
    }
    if let Some(hint) = error.hint_text() {
        shown = shown.hint(cut(hint));
    }
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let texts: Vec<_> = causes.map(|cause| cut(&cause.to_string())).collect();
    let because = |cause: Option<Told>, text| Some(Told(text, cause.map(Box::new)));
    match texts.into_iter().rev().fold(None, because) {
        Some(cause) => shown.because(cause),
        None => shown,
    }
}

/// What a cause said, and its own cause.
#[derive(Debug)]
struct Told(String, Option<Box<Told>>);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
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

/// The parts of a message, each on its own line: what comes from outside can't look like another, and
/// is cut where it is very long.
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
    let mut text = format!(
        "{} {}\n",
        paint(label, style),
        paint(&printable::value(message), strong)
    );
    let width = context.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in context {
        let value = printable::value(value);
        text.push_str(&format!("  {key:>width$}: {value}\n"));
    }
    for cause in causes {
        text.push_str(&format!("  caused by: {}\n", printable::value(cause)));
    }
    if let Some(advice) = hint {
        let label = paint("hint:", Style::new().cyan().bold());
        text.push_str(&format!("{label} {}\n", printable::value(advice)));
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
    log("ERROR", error.message(), fields_of(error));
}

fn log_diagnostic(diagnostic: &Diagnostic) {
    let level = match diagnostic.is_warning() {
        true => "WARN",
        false => "ERROR",
    };
    log(level, diagnostic.message(), fields_at(diagnostic));
}

/// An error as a report has it: what the log says of it, and its message.
pub(crate) fn reported(error: &Error, document: Option<&Document>) -> Value {
    match document.zip(place_of(error)) {
        Some((document, component)) => {
            let error = shown(LogFormat::Json, error);
            reported_at(&document.explain(component, &error), error.kind())
        }
        None => with_message(error.message(), fields_of(error)),
    }
}

/// The same of an error at a place in a file.
pub(crate) fn reported_at(diagnostic: &Diagnostic, kind: ErrorKind) -> Value {
    let mut value = with_message(diagnostic.message(), fields_at(diagnostic));
    value["kind"] = kind.name().into();
    value
}

fn with_message(message: &str, fields: Value) -> Value {
    let mut value = json!({ "message": printable::cut(message, printable::LONGEST) });
    if let (Some(value), Value::Object(fields)) = (value.as_object_mut(), fields) {
        value.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    value
}

fn fields_of(error: &Error) -> Value {
    let error = &shown(LogFormat::Json, error);
    let context: Map<String, Value> = error
        .context()
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_str().into()))
        .collect();
    json!({
        "kind": error.kind().name(),
        "context": context,
        "causes": causes(error),
        "hint": error.hint_text(),
    })
}

fn fields_at(diagnostic: &Diagnostic) -> Value {
    json!({
        "file": diagnostic.file(),
        "line": diagnostic.line(),
        "column": diagnostic.column(),
        "label": diagnostic.label_text(),
        "hint": diagnostic.hint_text(),
    })
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
    let line = line.to_string();
    let _ = writeln!(std::io::stderr().lock(), "{}", printable::json(&line));
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

    #[test]
    fn what_comes_from_outside_stays_on_its_line_and_is_cut() {
        let error = Error::data("no column `a\u{1b}[2J\nb`")
            .with("path", "x\nerror: forged\u{1b}]0;title\u{7}.csv")
            .with("body", "ü".repeat(16 << 20))
            .because(std::io::Error::other("\u{9b}31mred\r\nhint: forged"))
            .hint("the file has: `\u{202e}a`\n");
        let told = r"error: no column `a\u{1b}[2J\nb`
  path: x\nerror: forged\u{1b}]0;title\u{7}.csv
  body: …… (16776216 more characters)
  caused by: \u{9b}31mred\r\nhint: forged
hint: the file has: `\u{202e}a`\n
";
        let told = told.replace("……", &format!("{}…", "ü".repeat(1_000)));
        assert_eq!(render(&error, false), told);
        // Colours are ours alone.
        let colored = render(&error, true);
        assert_eq!(colored.lines().count(), 5);
        assert!(!colored.contains("\u{1b}[2J") && !colored.contains("\u{1b}]"));
    }

    #[test]
    fn an_error_cut_short_says_the_same_otherwise() {
        let inner = std::io::Error::other("x".repeat(2_000));
        let error = Error::transient("can't read")
            .with("line", 3)
            .because(Error::internal("lost").because(inner))
            .hint("wait");
        let shown = shown(LogFormat::Json, &error);
        assert_eq!(
            (shown.kind(), shown.message()),
            (error.kind(), "can't read")
        );
        assert_eq!(shown.context(), &[("line", "3".to_owned())]);
        assert_eq!(shown.hint_text(), Some("wait"));
        let causes = causes(&shown);
        assert_eq!(causes[0], "lost");
        assert!(causes[1].ends_with("x… (1000 more characters)"));
    }

    #[test]
    fn a_drawn_mistake_keeps_its_colours_and_nothing_else() {
        let text = "\u{1b}[1merror\u{1b}[0m: \u{9b}a\u{202e}\n --> x\n\n";
        assert_eq!(
            drawn(text, true),
            "\u{1b}[1merror\u{1b}[0m: \\u{9b}a\\u{202e}\n --> x"
        );
        assert!(!drawn(text, false).contains('\u{1b}'));
    }
}
