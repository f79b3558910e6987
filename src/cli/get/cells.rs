//! Single values of objects, as people read them. An absent value is an empty text.

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde_json::Value;

/// Returns the scalar at a JSON pointer.
pub(super) fn text(object: &DynamicObject, pointer: &str) -> String {
    match object.data.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

/// Returns the number at a JSON pointer, 0 when there is none yet.
pub(super) fn number(object: &DynamicObject, pointer: &str) -> String {
    object.data.pointer(pointer).and_then(Value::as_i64).unwrap_or_default().to_string()
}

/// Returns how many items the list at a JSON pointer has.
pub(super) fn count(object: &DynamicObject, pointer: &str) -> String {
    items(object, pointer).len().to_string()
}

/// Returns the items of the list at a JSON pointer.
pub(super) fn items<'a>(object: &'a DynamicObject, pointer: &str) -> &'a [Value] {
    object.data.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Returns the texts of the list at a JSON pointer, joined by commas.
pub(super) fn list(object: &DynamicObject, pointer: &str) -> String {
    let texts: Vec<&str> = items(object, pointer).iter().filter_map(Value::as_str).collect();
    texts.join(", ")
}

/// Returns the names of the AgentConfigs that a spec at a JSON pointer refers to.
pub(super) fn agent_configs(object: &DynamicObject, spec: &str) -> String {
    let one = text(object, &format!("{spec}/agentConfigRef/name"));
    if !one.is_empty() {
        return one;
    }
    let many = items(object, &format!("{spec}/agentConfigRefs"));
    let names: Vec<&str> = many.iter().filter_map(|reference| reference["name"].as_str()).collect();
    names.join(",")
}

/// Returns the source of a TaskSpawner: its schedule, the workspace whose items it takes, or its kind.
pub(super) fn source(object: &DynamicObject) -> String {
    let schedule = text(object, "/spec/when/cron/schedule");
    if !schedule.is_empty() {
        return format!("cron: {schedule}");
    }
    let workspace = text(object, "/spec/taskTemplate/workspaceRef/name");
    if workspace.is_empty() { source_kind(object) } else { workspace }
}

/// Returns what kind of source a TaskSpawner has, for people.
pub(super) fn source_kind(object: &DynamicObject) -> String {
    let when = object.data.pointer("/spec/when").and_then(Value::as_object);
    let field = when.and_then(|when| when.keys().next()).map(String::as_str).unwrap_or_default();
    let title = match field {
        "githubIssues" => "GitHub Issues",
        "githubPullRequests" => "GitHub Pull Requests",
        "githubWebhook" => "GitHub Webhook",
        "linearWebhook" => "Linear Webhook",
        "webhook" => "Webhook",
        "jira" => "Jira",
        "cron" => "Cron",
        "slack" => "Slack",
        other => other,
    };
    title.to_owned()
}

/// Returns a field of the condition of a type.
pub(super) fn condition(object: &DynamicObject, kind: &str, field: &str) -> String {
    let all = items(object, "/status/conditions");
    let found = all.iter().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition[field].as_str()).unwrap_or_default().to_owned()
}

/// Returns how long the run of a Task took, or has taken until now.
pub(super) fn duration(object: &DynamicObject, now: Timestamp) -> String {
    let time = |pointer: &str| text(object, pointer).parse::<Timestamp>().ok();
    match time("/status/startTime") {
        None => String::new(),
        Some(start) => rough(time("/status/completionTime").unwrap_or(now).duration_since(start).as_secs()),
    }
}

/// Returns how long an object has existed.
pub(super) fn age(object: &DynamicObject, now: Timestamp) -> String {
    object.creation_timestamp().map(|time| rough(now.duration_since(time.0).as_secs())).unwrap_or_default()
}

/// Returns a time span in its largest units, as kubectl does.
pub(in crate::cli) fn rough(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let seconds = seconds.max(0);
    let two = |large: i64, large_unit: char, small: i64, small_unit: char| {
        let rest = seconds % large / small;
        let whole = seconds / large;
        if rest == 0 {
            format!("{whole}{large_unit}")
        } else {
            format!("{whole}{large_unit}{rest}{small_unit}")
        }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, 'm', 1, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, 'h', MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, 'd', HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, 'y', DAY, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rough() {
        let spans = [
            (5, "5s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (11_100, "3h5m"),
            (90_000, "25h"),
            (200_000, "2d7h"),
            (700_000, "8d"),
            (63_072_000, "2y"),
            (64_000_000, "2y10d"),
            (300_000_000, "9y"),
        ];
        for (seconds, shown) in spans {
            assert_eq!(rough(seconds), shown);
        }
    }
}
