//! Markdown in which values stay values.
//!
//! Everything that is not a sentence of ours stands in a code span: there nothing is a link, a mention,
//! markup or HTML.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The longest value that is shown, in characters.
const SHOWN: usize = 300;

/// Returns `value` as a code span that fits into a paragraph and into a cell of a table.
pub fn code(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN).map(plain).collect();
    if value.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    // A bar ends a cell even inside a span, and the escape for it is only known in tables.
    let shown = shown.replace('|', "¦");
    let fence = "`".repeat(longest_run(&shown) + 1);
    // A blank inside each end is taken away again; it keeps a backtick of the value from joining the fence.
    if shown.starts_with('`') || shown.ends_with('`') || shown.trim().is_empty() {
        format!("{fence} {shown} {fence}")
    } else {
        format!("{fence}{shown}{fence}")
    }
}

/// Returns a link whose text is `value` as a code span; `target` must be percent-encoded.
pub fn link(value: &str, target: &str) -> String {
    format!("[{}](<{target}>)", code(value))
}

/// Returns `text` percent-encoded for use as a path of a URL.
pub fn encode_path(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Returns the lines of a table.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let names: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    let mut lines = vec![line(&names), line(&rule)];
    lines.extend(rows.into_iter().map(|cells| line(&cells)));
    lines
}

/// Returns a number with what it counts: `1 error`, `2 errors`.
pub fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Returns an instant as people read it, to the second in UTC.
pub fn instant(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns a number of seconds as people read it.
pub fn duration(seconds: i64) -> String {
    match seconds {
        ..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600.. => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or_default()
}

/// Replaces what a span cannot hold, or what would mislead the eye.
fn plain(character: char) -> char {
    let turns = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if character.is_control() || turns { '\u{fffd}' } else { character }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_leaves_its_span() {
        assert_eq!(code("nightly"), "`nightly`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("``"), "``` `` ```");
        assert_eq!(code("a|b"), "`a¦b`");
        assert_eq!(code("a\n\n# b"), "`a\u{fffd}\u{fffd}# b`");
        assert_eq!(code("\u{202e}evil"), "`\u{fffd}evil`");
        assert_eq!(code(""), "`  `");
        assert_eq!(code(&"x".repeat(400)).chars().count(), SHOWN + 3);
    }

    #[test]
    fn links_are_encoded() {
        let target = encode_path("a b/ü>(x).yaml");
        assert_eq!(target, "a%20b/%C3%BC%3E%28x%29.yaml");
        assert_eq!(link("a", &target), "[`a`](<a%20b/%C3%BC%3E%28x%29.yaml>)");
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(instant("2026-03-01T09:00:00.7Z".parse().unwrap()), "2026-03-01 09:00:00 UTC");
        assert_eq!([duration(9), duration(61), duration(7_260)], ["9 s", "1 min 1 s", "2 h 1 min"]);
        assert_eq!([counted(0, "error"), counted(1, "error")], ["0 errors", "1 error"]);
    }
}
