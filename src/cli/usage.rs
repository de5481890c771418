//! Arguments that can't be understood.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde_json::json;

use super::{errors, exit, out};

/// What other programs call what a command of this one does.
const COMMANDS: [(&str, &str); 16] = [
    ("validate", "check"),
    ("verify", "check"),
    ("lint", "check"),
    ("test", "check"),
    ("dry-run", "plan"),
    ("preview", "plan"),
    ("explain", "plan"),
    ("show", "plan"),
    ("start", "run"),
    ("exec", "run"),
    ("sync", "run"),
    ("sql", "query"),
    ("crawl", "catalog crawl"),
    ("connectors", "list"),
    ("types", "list"),
    ("plugins", "list"),
];

/// Prints the help that was asked for, or what is wrong with the arguments.
pub(crate) fn told(error: &clap::Error) -> ExitCode {
    // `--help` and `--version` come this way too, with code 0.
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
    let hint = hint(error);
    if error.use_stderr() && wants_json() {
        let text = error.render().to_string();
        let mut lines = text.lines();
        let message = lines.next().unwrap_or_default();
        let message = message.trim_start_matches("error: ");
        let tip = lines.find_map(|line| line.trim().strip_prefix("tip: "));
        let hint = hint.or_else(|| tip.map(str::to_owned));
        errors::log("ERROR", message, json!({ "kind": "config", "hint": hint }));
        return code;
    }
    let printed = match &hint {
        Some(hint) => {
            let text = without_tips(&error.render().to_string());
            let mut err = std::io::stderr().lock();
            write!(err, "{text}").and_then(|()| writeln!(err, "hint: {hint}"))
        }
        None => error.print(),
    };
    match out::unless_closed(printed) {
        Ok(()) => code,
        Err(unwritten) => {
            let mut err = std::io::stderr().lock();
            let _ = writeln!(err, "error: the help can't be written: {unwritten}");
            ExitCode::from(exit::FAILED)
        }
    }
}

/// What was meant, where the library guesses wrong.
fn hint(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let given = text(ContextKind::InvalidSubcommand)?;
            let (_, ours) = COMMANDS.iter().find(|(theirs, _)| *theirs == given)?;
            Some(format!("`tidegate {ours}` does that"))
        }
        ErrorKind::UnknownArgument => match text(ContextKind::InvalidArg)? {
            "--dry-run" | "--dryrun" | "--check" | "--validate" => Some(
                "`tidegate check FILE` validates it, `tidegate plan FILE` shows what a run would do"
                    .to_owned(),
            ),
            _ => None,
        },
        // Its source is optional, so a file that follows it is taken for one.
        ErrorKind::MissingRequiredArgument => {
            let args: Vec<_> = std::env::args().collect();
            let mut pairs = args.windows(2);
            let swallowed =
                pairs.any(|two| two[0] == "--full-refresh" && two[1].ends_with(".toml"));
            swallowed.then(|| "write the file first: tidegate run FILE --full-refresh".to_owned())
        }
        _ => None,
    }
}

/// The library's own guess is left out where ours stands.
fn without_tips(text: &str) -> String {
    let mut shown = String::new();
    let mut blank = false;
    for line in text.lines().filter(|line| !line.trim().starts_with("tip:")) {
        if line.is_empty() && blank {
            continue;
        }
        blank = line.is_empty();
        shown.push_str(line);
        shown.push('\n');
    }
    shown
}

/// Whether JSON was asked for, as far as arguments tell that can't be understood.
fn wants_json() -> bool {
    let args: Vec<_> = std::env::args_os().collect();
    let pair = args
        .windows(2)
        .any(|two| two[0] == "--log-format" && two[1] == "json");
    pair || args.iter().any(|arg| arg == "--log-format=json")
}
