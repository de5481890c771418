//! What is seen on a terminal of 60, 80, 120 and 200 columns.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use super::support::{Site, until};

const WIDTHS: [usize; 4] = [60, 80, 120, 200];

/// The program on a terminal of its own, so wide.
fn on_terminal(site: &Site, width: usize, args: &[&str]) -> Command {
    let program = site.command(args);
    let quoted = |text: &std::ffi::OsStr| {
        let text = text.to_str().expect("UTF-8");
        format!("'{}'", text.replace('\'', r"'\''"))
    };
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let words: Vec<_> = words.map(quoted).collect();
    let line = format!("stty cols {width} rows 50; exec {}", words.join(" "));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]);
    script.current_dir(program.get_current_dir().expect("a directory"));
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script
        .env("TERM", "xterm-256color")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    script
}

/// What is on the screen when the program has ended.
#[track_caller]
fn seen(site: &Site, width: usize, args: &[&str]) -> Screen {
    let child = on_terminal(site, width, args).spawn();
    let child = child.expect("`script` of util-linux");
    screen_of(child, width)
}

#[track_caller]
fn screen_of(child: Child, width: usize) -> Screen {
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Screen::of(&text, width)
}

/// A terminal, as far as the program uses one.
struct Screen {
    width: usize,
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Lines that were longer than the terminal is wide.
    broken: usize,
}

impl Screen {
    fn of(text: &str, width: usize) -> Self {
        let mut screen = Self {
            width,
            lines: vec![Vec::new()],
            row: 0,
            column: 0,
            broken: 0,
        };
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '\r' => screen.column = 0,
                '\n' => screen.down(),
                '\u{1b}' => screen.obey(&mut chars),
                char if char.is_control() => {}
                char => screen.put(char),
            }
        }
        screen
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn put(&mut self, char: char) {
        // A terminal waits with the next line until there is something to put on it.
        if self.column == self.width {
            self.broken += 1;
            self.column = 0;
            self.down();
        }
        let line = &mut self.lines[self.row];
        if line.len() <= self.column {
            line.resize(self.column + 1, ' ');
        }
        line[self.column] = char;
        self.column += 1;
    }

    /// `ESC [ numbers letter`.
    fn obey(&mut self, chars: &mut std::str::Chars<'_>) {
        if chars.next() != Some('[') {
            return;
        }
        let mut number = String::new();
        let is_number = |char: &char| char.is_ascii_digit() || matches!(char, ';' | '?');
        let letter = loop {
            match chars.next() {
                Some(char) if is_number(&char) => number.push(char),
                other => break other,
            }
        };
        let count = number.parse().unwrap_or(1);
        match letter {
            Some('A') => self.row = self.row.saturating_sub(count),
            Some('B') => self.row = (self.row + count).min(self.lines.len() - 1),
            Some('K') if number == "2" => self.lines[self.row].clear(),
            Some('K') => self.lines[self.row].truncate(self.column),
            Some('J') => {
                self.lines[self.row].truncate(self.column);
                self.lines.truncate(self.row + 1);
            }
            _ => {}
        }
    }

    fn text(&self) -> String {
        let lines = self.lines.iter();
        let lines: Vec<String> = lines
            .map(|line| line.iter().collect::<String>().trim_end().to_owned())
            .collect();
        lines.join("\n").trim_end().to_owned() + "\n"
    }
}

/// Thirteen columns, of numbers and texts.
fn wide() -> Site {
    let site = Site::with(
        r#"
        name = "wide"

        [sources.orders]
        type = "files"
        url = "wide.csv"

        [sinks.screen]
        type = "console"
        inputs = ["orders"]
        "#,
    );
    let mut text = String::from("order_id,amount,customer,note");
    for at in 0..9 {
        text += &format!(",measure_{at}");
    }
    for row in 0..3 {
        text += &format!("\n{},{row}05.25,", 7_640_000 + row);
        text += [
            "ann,",
            "a customer with a long name,\"\"",
            "bob,a note that is longer than the others are",
        ][row];
        for at in 0..9 {
            text += &format!(",{}", (row + 1) * 123_456 * (at + 1));
        }
    }
    site.write("wide.csv", text + "\n");
    site
}

#[test]
fn numbers_are_whole_and_columns_that_have_no_room_are_counted() {
    let site = wide();
    let mut all = String::new();
    for width in WIDTHS {
        let sql = "SELECT * FROM 'wide.csv'";
        let query = seen(&site, width, &["query", "--quiet", sql]);
        let run = seen(&site, width, &["run", "--quiet", "pipeline.toml"]);
        for screen in [&query, &run] {
            assert_eq!(screen.broken, 0, "{width}:\n{}", screen.text());
        }
        all += &format!("=== {width} columns: query\n{}", query.text());
        all += &format!("=== {width} columns: console\n{}", run.text());
    }
    assert!(all.contains("7640000"), "{all}");
    insta::assert_snapshot!("tables", all);
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let site = wide();
    for width in WIDTHS {
        for args in [
            &["list"] as &[&str],
            &["describe", "files", "source"],
            &["plan", "pipeline.toml"],
            &["check", "pipeline.toml"],
            &["run", "pipeline.toml"],
            &["--help"],
        ] {
            let screen = seen(&site, width, args);
            assert_eq!(screen.broken, 0, "{width} {args:?}:\n{}", screen.text());
        }
    }
}

#[test]
fn what_a_run_shows_at_its_end_fits() {
    let site = wide();
    let mut all = String::new();
    for width in WIDTHS {
        let text = seen(&site, width, &["run", "pipeline.toml"]).text();
        // Without what differs from run to run.
        let at = text.find("rows in").expect("a summary");
        let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
        for line in text[start..].lines().take(3) {
            let line: String = line.split("0.0s").collect::<Vec<_>>().join("");
            all += &format!("{width}: {}\n", line.trim_end());
        }
    }
    insta::assert_snapshot!("summary", all);
}

#[test]
fn ctrl_c_leaves_nothing_stale() {
    let site = Site::with(
        r#"
        name = "endless"

        [checkpoint]
        interval = "100ms"

        [sources.numbers]
        type = "generate"
        rate = 2000
        batch_rows = 20
        columns = [{ name = "id", type = "sequence" }]

        [transforms.positive]
        type = "sql"
        inputs = ["numbers"]
        query = "SELECT id FROM numbers WHERE id > 0"

        [sinks.out]
        type = "files"
        inputs = ["positive"]
        url = "out"
        "#,
    );
    for width in WIDTHS {
        let mut child = on_terminal(&site, width, &["run", "--restart", "pipeline.toml"])
            .spawn()
            .expect("`script` of util-linux");
        let visible = || super::support::visible_files(&site.path("out")).len();
        let before = visible();
        until("a file", || (visible() > before + 2).then_some(()));
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(b"\x03").expect("Ctrl-C");
        let screen = screen_of(child, width);
        let text = screen.text();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines.iter().any(|line| line.ends_with("stopping after a last commit; once more stops at once")),
            "{width}:\n{text}"
        );
        let live = |line: &&&str| line.contains("/s  ") || line.contains('⠋');
        assert_eq!(lines.iter().filter(live).count(), 0, "{width}:\n{text}");
        assert!(text.contains("endless stopped after"), "{width}:\n{text}");
        drop(input);
    }
}
