//! Text as wide as a terminal.

/// The widest lines where the terminal is wider, or there is none.
pub(crate) const WIDEST: usize = 100;

/// A text on one line or more, broken between words, of at most so many characters where words
/// allow; `first` is how far the first line has come already, and the others stand in by `indent`.
pub(crate) fn wrapped(text: &str, first: usize, indent: usize, width: usize) -> String {
    let mut shown = String::new();
    let mut at = first;
    for word in text.split(' ') {
        let length = word.chars().count();
        let begins = shown.is_empty();
        if !begins && at + 1 + length > width {
            shown.push('\n');
            shown.push_str(&" ".repeat(indent));
            at = indent;
        } else if !begins {
            shown.push(' ');
            at += 1;
        }
        shown.push_str(word);
        at += length;
    }
    shown
}

/// The paragraphs, lists and blocks of a documentation's Markdown, each broken anew to so many
/// characters. Code blocks stay as they are.
pub(crate) fn reflowed(text: &str, indent: usize, width: usize) -> String {
    let mut shown = String::new();
    let mut paragraph = String::new();
    let mut hanging = 0;
    let mut in_code = false;
    let finish = |paragraph: &mut String, hanging: usize, shown: &mut String| {
        if !paragraph.is_empty() {
            let inner = indent + hanging;
            let text = wrapped(paragraph, indent, inner, width);
            shown.push_str(&format!("{:indent$}{text}\n", ""));
            paragraph.clear();
        }
    };
    for line in text.trim_end().lines() {
        let fence = line.trim_start().starts_with("```");
        let item = ["- ", "* ", "1. "]
            .iter()
            .find(|mark| line.starts_with(**mark));
        let apart = fence || in_code || line.trim().is_empty() || line.starts_with(['|', '#', ' ']);
        let continues = line.starts_with(' ') && hanging > 0 && !paragraph.is_empty() && !in_code;
        if (apart && !continues) || item.is_some() {
            finish(&mut paragraph, hanging, &mut shown);
            hanging = item.map_or(0, |mark| mark.len());
        }
        match apart && !continues {
            true => {
                let line = format!("{:indent$}{line}", "");
                shown.push_str(line.trim_end());
                shown.push('\n');
            }
            false => {
                if !paragraph.is_empty() {
                    paragraph.push(' ');
                }
                paragraph.push_str(line.trim());
            }
        }
        in_code ^= fence;
    }
    finish(&mut paragraph, hanging, &mut shown);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 0, 2, 7), "one two\n  three");
        assert_eq!(wrapped("one two", 5, 5, 9), "one\n     two");
        assert_eq!(wrapped("longerthanaline x", 0, 0, 5), "longerthanaline\nx");
    }

    #[test]
    fn paragraphs_flow_and_code_stays() {
        let text =
            "One two\nthree.\n\n- a b\n  c\n- d\n\n```toml\na = 1   # kept as it is\n```\nend";
        let want = "  One two\n  three.\n\n  - a b c\n  - d\n\n  ```toml\n  a = 1   # kept as it is\n  ```\n  end\n";
        assert_eq!(reflowed(text, 2, 10), want);
        assert_eq!(reflowed("One two\nthree.", 0, 80), "One two three.\n");
    }
}
