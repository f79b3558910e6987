//! Why a run was not finished, in words: of what an agent says, only a status of HTTP and keywords are repeated.

/// Returns a status of HTTP with what it means.
pub(super) fn http_status(code: u64) -> String {
    let meaning = match code {
        401 => "the credential was refused",
        402 => "there is no credit",
        403 => "access is not allowed",
        404 => "there is no such model or address",
        408 | 504 => "the provider took too long",
        413 => "the request is too large",
        429 => "too many requests, or a limit of use is reached",
        503 | 529 => "the provider is overloaded",
        500..600 => "the provider has a fault",
        _ => return format!("HTTP status {code}"),
    };
    format!("HTTP status {code}: {meaning}")
}

/// Returns a sentence with its details in brackets.
pub(super) fn with_details(what: &str, details: &[String]) -> String {
    if details.is_empty() { what.to_owned() } else { format!("{what} ({})", details.join(", ")) }
}

/// What messages are known by, and what they say.
const KNOWN: &[(&str, &str)] = &[
    // Claude Code.
    ("output token maximum", "the answer reached its limit"),
    ("Connection to the API was lost", "the answer was cut off"),
    // Codex.
    ("stream disconnected", "the answer was cut off"),
    // OpenCode.
    ("Connection reset by server", "the answer was cut off"),
    ("connection was closed", "the answer was cut off"),
    ("Cannot connect to API", "the provider cannot be reached"),
    // Gemini CLI.
    ("API Error: terminated", "the answer was cut off"),
    ("fetch failed", "the provider cannot be reached"),
    ("ended without a finish reason", "the answer was cut off"),
    ("Loop detected", "the agent went in circles"),
    ("aximum session turns", "the greatest number of turns was reached"),
    ("max session turns", "the greatest number of turns was reached"),
    ("exceeded the token limit", "the answer reached its limit"),
    ("blocked due to", "the answer was held back"),
    ("execution blocked", "a hook held the agent back"),
    ("an empty response", "the answer was empty"),
    ("but no final response", "the answer was empty"),
];

/// Returns what a message of an agent's says that can be repeated: a status of HTTP, the keyword behind `reason: `, or what
/// the message is known to mean.
pub(super) fn detail(message: &str) -> Option<String> {
    let after = |mark: &str| message.find(mark).and_then(|at| message.get(at + mark.len()..));
    let status = ["status ", "status: ", "\"code\":"].into_iter().filter_map(after).find_map(|rest| {
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|code| (100..600).contains(code))
    });
    let known = || {
        let (_, words) = KNOWN.iter().find(|(mark, _)| message.contains(mark))?;
        Some((*words).to_owned())
    };
    status.map(http_status).or_else(|| after("reason: ").map(word)).or_else(known)
}

/// Returns a keyword of the agent's, made harmless: it ends in a status.
pub(super) fn word(text: &str) -> String {
    let word: String = text
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'))
        .take(40)
        .collect();
    if word.is_empty() { "none".to_owned() } else { word }
}
