//! Tools that an agent uses, each in one line.

use serde_json::Value;

use crate::cli::logs::pretty::Piece;

/// How much of a tool's input is shown, in characters.
const LONGEST_SUMMARY: usize = 120;

/// Returns the message about the use of `tool` with `input`; `remark` is what else there is to say.
pub(super) fn used(tool: &str, input: &Value, remark: Option<String>) -> Piece {
    let mut text = format!("[tool] {tool}");
    if let Some(summary) = summary(tool, input) {
        text.push_str(": ");
        text.push_str(&summary);
    }
    if let Some(remark) = remark {
        text.push_str(&format!(" ({remark})"));
    }
    Piece::Message(text)
}

/// Returns the one field of a tool's input that tells what it is about. Agents have names of their own for the same tools.
fn summary(tool: &str, input: &Value) -> Option<String> {
    let fields: &[&str] = match tool.to_ascii_lowercase().as_str() {
        "bash" | "shell" | "run_shell_command" => &["command"],
        "read" | "write" | "edit" | "readfile" | "writefile" | "editfile" | "read_file" | "write_file"
        | "replace" => &["file_path", "filePath", "path"],
        "glob" | "grep" | "search_file_content" => &["pattern"],
        "list" | "list_directory" => &["path", "dir_path"],
        "webfetch" | "web_fetch" => &["url", "prompt"],
        "websearch" | "google_web_search" => &["query"],
        "task" => &["description"],
        _ => return None,
    };
    let text = fields.iter().find_map(|field| input[*field].as_str().filter(|text| !text.is_empty()))?;
    Some(shortened(text))
}

/// Returns the beginning of `text`, in one line.
pub(super) fn shortened(text: &str) -> String {
    let text = text.replace('\n', "\\n");
    let shown: String = text.chars().take(LONGEST_SUMMARY).collect();
    if shown.len() < text.len() { format!("{shown}...") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_cut() {
        let text = summary("Bash", &serde_json::json!({"command": "ä".repeat(130)})).unwrap();
        assert_eq!(text, format!("{}...", "ä".repeat(LONGEST_SUMMARY)));
    }
}
