//! Values that a schema cannot judge: schedules, durations, patterns, branches, the choice of a source.

use jiff::Timestamp;
use serde_json::Value;

use crate::api::duration;
use crate::api::kind::Kind;
use crate::api::names::BranchName;
use crate::api::task_spawner::source::SourceKind;
use crate::lang::cron::Schedule;
use crate::validate::finding::FindingCode;
use crate::validate::suggestion::did_you_mean;
use crate::validate::{Report, pointer};
use crate::yaml::Side;

/// Words in `when.githubIssues.types`.
const ITEM_TYPES: [&str; 2] = ["issues", "pulls"];

/// Checks the values of an object.
pub(super) fn check(report: &mut Report<'_>, kind: Kind) {
    match kind {
        Kind::Task => branch(report, "/spec/branch"),
        Kind::TaskSpawner => spawner(report),
        Kind::Workspace => workspace(report),
        Kind::AgentConfig | Kind::ConfigRepository | Kind::RunRecord => {}
    }
}

/// Returns the source of a spawner: the first that is set, as the spawner itself takes it.
pub(super) fn source(report: &Report<'_>) -> Option<SourceKind> {
    let is_set = |kind: &&SourceKind| report.get(&format!("/spec/when/{kind}")).is_some();
    SourceKind::ALL.iter().find(is_set).copied()
}

fn spawner(report: &mut Report<'_>) {
    sources(report);
    branch(report, "/spec/taskTemplate/branch");
    interval(report, "/spec/pollInterval");
    for source in ["githubIssues", "githubPullRequests", "jira"] {
        interval(report, &format!("/spec/when/{source}/pollInterval"));
    }
    for source in ["githubIssues", "githubPullRequests"] {
        repository(report, &format!("/spec/when/{source}/repo"));
    }
    schedule(report);
    item_types(report);
    unheard_events(report, "/spec/when/githubWebhook", "events", "event");
    unheard_events(report, "/spec/when/linearWebhook", "types", "type");
    patterns(report, "/spec/when/githubWebhook/filters", &["bodyPattern"], &["excludeBodyPatterns"]);
    patterns(report, "/spec/when/webhook/filters", &["pattern"], &[]);
    patterns(report, "/spec/when/slack/triggers", &["pattern"], &[]);
    pattern_list(report, "/spec/when/slack/excludePatterns");
}

fn sources(report: &mut Report<'_>) {
    let Some(Value::Object(when)) = report.get("/spec/when") else { return };
    let set: Vec<&str> =
        when.iter().filter(|(_, source)| !source.is_null()).map(|(name, _)| name.as_str()).collect();
    let known: Vec<&str> = SourceKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let counted: Vec<&str> = set.iter().copied().filter(|name| known.contains(name)).collect();
    match counted.as_slice() {
        // An unknown one is reported as an unknown field.
        [] if set.is_empty() => {
            let finding =
                report.add(FindingCode::NoSource, "/spec/when", Side::Value, "the spawner has no source");
            finding.hint(format!("set one of {}", known.join(", ")));
        }
        [] | [_] => {}
        [..] => {
            let message = format!("the spawner has several sources: {}", counted.join(", "));
            let finding = report.add(FindingCode::SeveralSources, "/spec/when", Side::Value, message);
            finding.hint("make one spawner for each");
        }
    }
}

fn schedule(report: &mut Report<'_>) {
    let at = "/spec/when/cron/schedule";
    let Some(expression) = report.text(at) else { return };
    let schedule = match Schedule::parse(expression, None) {
        Ok(schedule) => schedule,
        Err(error) => {
            let finding =
                report.add(FindingCode::InvalidCron, at, Side::Value, format!("{expression:?}: {error}"));
            let fields =
                "write five fields: minute, hour, day of month, month, day of week, as in 0 9 * * 1-5";
            finding.hint(error.hint.unwrap_or_else(|| fields.to_owned()));
            return;
        }
    };
    // Any instant will do: what does not fire within five years of one never fires.
    if schedule.next_after(Timestamp::UNIX_EPOCH).is_none() {
        let message = format!("{expression:?} names no day that exists");
        report.add(FindingCode::NeverFires, at, Side::Value, message);
    }
    let at_zone = "/spec/when/cron/timeZone";
    if let Some(zone) = report.text(at_zone)
        && let Err(error) = schedule.in_zone(zone)
    {
        let finding = report.add(FindingCode::UnknownTimeZone, at_zone, Side::Value, error.message);
        finding.hint(
            error.hint.unwrap_or_else(|| "write a name of the IANA database, as in Europe/Berlin".to_owned()),
        );
    }
}

fn interval(report: &mut Report<'_>, at: &str) {
    // An empty interval counts as absent, as upstream has it.
    let Some(text) = report.text(at).filter(|text| !text.is_empty()) else { return };
    let message = match duration::parse(text) {
        Ok(interval) if interval.is_zero() => "the interval is zero".to_owned(),
        Ok(_) => return,
        Err(error) => error.to_string(),
    };
    report.add(FindingCode::InvalidDuration, at, Side::Value, message).hint("write it like 30s, 5m or 1h30m");
}

fn repository(report: &mut Report<'_>, at: &str) {
    let Some(repository) = report.text(at).filter(|text| !text.is_empty()) else { return };
    let is_url =
        ["https://", "http://", "git@", "ssh://"].iter().any(|scheme| repository.starts_with(scheme));
    let parts: Vec<&str> = repository.split('/').collect();
    let is_short =
        parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && !part.contains(char::is_whitespace));
    if !is_url && !is_short {
        let message = format!("{repository:?} is not a repository");
        report
            .add(FindingCode::MalformedValue, at, Side::Value, message)
            .hint("write OWNER/REPOSITORY, or a URL");
    }
}

fn item_types(report: &mut Report<'_>) {
    let at = "/spec/when/githubIssues/types";
    let Some(Value::Array(types)) = report.get(at) else { return };
    if types.is_empty() {
        let finding =
            report.add(FindingCode::OutOfRange, at, Side::Value, "with no type nothing is ever found");
        finding.hint("write issues, pulls or both");
    }
    for (index, word) in types.iter().enumerate() {
        let Some(word) = word.as_str().filter(|word| !ITEM_TYPES.contains(word)) else { continue };
        let message = format!("{word:?} is not a type of item");
        let finding = report.add(FindingCode::UnknownValue, pointer::item(at, index), Side::Value, message);
        finding
            .hint(did_you_mean(word, ITEM_TYPES).unwrap_or_else(|| "write issues, pulls or both".to_owned()));
    }
}

/// Reports filters for events that the source does not listen to.
fn unheard_events(report: &mut Report<'_>, at: &str, events: &str, event: &str) {
    let Some(Value::Array(heard)) = report.get(&pointer::join(at, events)) else { return };
    let heard: Vec<String> = heard.iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
    let filters = pointer::join(at, "filters");
    let Some(Value::Array(list)) = report.get(&filters) else { return };
    for (index, filter) in list.iter().enumerate() {
        let Some(wanted) = filter[event].as_str().filter(|wanted| !wanted.is_empty()) else { continue };
        if !heard.contains(&wanted.to_lowercase()) {
            let message = format!("the filter is for {wanted:?}, which is not among {events}");
            let here = pointer::join(&pointer::item(&filters, index), event);
            let finding = report.add(FindingCode::UnheardEvent, here, Side::Value, message);
            finding.hint(format!("add it to {events}, or remove the filter"));
        }
    }
}

fn patterns(report: &mut Report<'_>, list: &str, single: &[&str], many: &[&str]) {
    let Some(Value::Array(items)) = report.get(list) else { return };
    for index in 0..items.len() {
        let base = pointer::item(list, index);
        for field in single {
            pattern(report, &pointer::join(&base, field));
        }
        for field in many {
            pattern_list(report, &pointer::join(&base, field));
        }
    }
}

fn pattern_list(report: &mut Report<'_>, at: &str) {
    let length = report.get(at).and_then(Value::as_array).map_or(0, Vec::len);
    for index in 0..length {
        pattern(report, &pointer::item(at, index));
    }
}

fn pattern(report: &mut Report<'_>, at: &str) {
    let Some(text) = report.text(at) else { return };
    // Longer ones are refused by the schema, or would only cost time here.
    if text.len() > 4096 {
        return;
    }
    if let Err(error) = regex::RegexBuilder::new(text).size_limit(1 << 20).build() {
        let reason = match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last line of the text says what is wrong, the others point at where.
            other => {
                other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
        };
        let message = format!("the regular expression cannot be read: {reason}");
        report.add(FindingCode::InvalidPattern, at, Side::Value, message);
    }
}

/// Checks a branch that is written out. One with a template in it is known only once there is an item.
fn branch(report: &mut Report<'_>, at: &str) {
    let Some(name) = report.text(at).filter(|name| !name.is_empty() && !name.contains("{{")) else { return };
    if let Err(error) = BranchName::parse(name) {
        report.add(FindingCode::InvalidBranch, at, Side::Value, error.to_string());
    }
}

fn workspace(report: &mut Report<'_>) {
    let at = "/spec/files";
    let Some(Value::Array(files)) = report.get(at) else { return };
    for (index, file) in files.iter().enumerate() {
        let Some(path) = file["path"].as_str().filter(|path| !path.is_empty()) else { continue };
        let leaves = path.starts_with('/') || path.contains('\\') || path.split('/').any(|part| part == "..");
        let inside_git = path.split('/').any(|part| part.eq_ignore_ascii_case(".git"));
        if leaves || inside_git {
            let message = format!("{path:?} is not a path inside the repository");
            let here = pointer::join(&pointer::item(at, index), "path");
            let finding = report.add(FindingCode::MalformedValue, here, Side::Value, message);
            finding.hint("write a relative path with forward slashes, without .. and .git");
        }
    }
}
