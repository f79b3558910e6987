//! The page of a writer, for people.

use crate::ledger::line::{LedgerLine, day_path};
use crate::ledger::markdown::{code, counted, duration, instant, link, table};
use crate::ledger::report::{FindingRow, SpawnerRow, Status, StatusFile, TaskRow};
use crate::ledger::{history, source};

/// Most rows of a table; the totals above them are complete.
const ROWS: usize = 50;

/// Most findings that are shown.
const FINDINGS: usize = 50;

/// Returns the page.
pub fn render(file: &StatusFile) -> String {
    let status = &file.status;
    let mut lines =
        vec![format!("# {}", code(&format!("{}/{}", status.namespace, status.name))), String::new()];
    lines.extend(summary(status));
    lines.extend(findings(status));
    lines.extend(running(status));
    lines.extend(coming(status));
    lines.extend(failed(status, &file.recent));
    lines.extend(recent(status, &file.recent));
    lines.extend(history::section(status));
    // Before the first run there is no folder to point at.
    let ledger = match file.recent.first() {
        Some(_) => ", and the [ledger](ledger), one line for each run that ended",
        None => "",
    };
    let others = format!("For programs: [status.json](status.json){ledger}.");
    lines.push(format!("Written by {}. {others}", code(&status.program)));
    if let Some(branches) = &status.earlier_years {
        lines.push(String::new());
        lines.push(format!("The ledgers of earlier years are on branches of their own: {}.", code(branches)));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn summary(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    let why = status.reason.as_deref().filter(|reason| *reason != status.state);
    let why = why.map(|reason| format!(" ({})", code(reason))).unwrap_or_default();
    let message = status.message.as_deref().map(|message| format!(": {}", code(message))).unwrap_or_default();
    // What is as it should be is said by the next sentence.
    let reason = if status.state == "Ready" { String::new() } else { format!("{why}{message}") };
    lines.push(format!("**State:** {}{reason}", code(&status.state)));
    lines.push(String::new());
    let source = format!("{} of {}", code(&status.reference), code(&status.url));
    match &status.applied_revision {
        Some(revision) => {
            let objects: Vec<String> =
                status.objects.iter().map(|(kind, count)| format!("{count} {}", code(kind))).collect();
            let objects = if objects.is_empty() { "no objects".to_owned() } else { objects.join(", ") };
            let since =
                status.applied_time.map(|time| format!(" since {}", instant(time))).unwrap_or_default();
            lines.push(format!(
                "Revision {} ({source}) is applied{since}: {objects}.",
                revision_link(status, revision)
            ));
        }
        None => lines.push(format!("No revision of {source} has been applied yet.")),
    }
    lines.push(String::new());
    if status.drifted > 0 {
        lines.push(format!("Live objects that differ from what is applied: {}.", status.drifted));
        lines.push(String::new());
    }
    if status.removals_waiting > 0 {
        lines.push(format!("Objects whose removal waits for a confirmation: {}.", status.removals_waiting));
        lines.push(String::new());
    }
    lines
}

fn findings(status: &Status) -> Vec<String> {
    let found = &status.findings;
    if found.total == 0 {
        return Vec::new();
    }
    let revision = status.attempted_revision.as_deref().unwrap_or_default();
    let head = if found.errors > 0 { "## Refused revision" } else { "## Warnings" };
    let verdict = match (found.errors, &status.applied_revision) {
        (0, _) => "It is applied all the same.".to_owned(),
        (_, Some(applied)) => format!("Revision {} keeps running.", revision_link(status, applied)),
        (_, None) => "Nothing runs until it is mended.".to_owned(),
    };
    let mut lines = vec![
        head.to_owned(),
        String::new(),
        format!(
            "Revision {} has {} and {}. {verdict}",
            revision_link(status, revision),
            counted(found.errors, "error"),
            counted(found.total.saturating_sub(found.errors), "warning")
        ),
        String::new(),
    ];
    lines.extend(found.items.iter().take(FINDINGS).map(|finding| finding_line(status, revision, finding)));
    let shown = u64::try_from(found.items.len().min(FINDINGS)).unwrap_or(u64::MAX);
    if found.total > shown {
        lines.push(format!("- and {} more: `kelos validate` lists them all", found.total - shown));
    }
    lines.push(String::new());
    lines
}

fn finding_line(status: &Status, revision: &str, finding: &FindingRow) -> String {
    let numbers = [finding.line, finding.column].into_iter().flatten();
    let place = numbers.fold(finding.file.clone(), |place, number| format!("{place}:{number}"));
    let place = match source::source_url(&status.url, revision, &finding.file, finding.line) {
        Some(target) => link(&place, &target),
        None => code(&place),
    };
    let hint = finding.hint.as_deref().map(|hint| format!(" Hint: {}", code(hint))).unwrap_or_default();
    format!("- {place} {} {}: {}{hint}", code(&finding.severity), code(&finding.code), code(&finding.message))
}

fn running(status: &Status) -> Vec<String> {
    let rows = status.tasks.items.iter().take(ROWS).map(|task: &TaskRow| {
        let reason = task.reason.as_deref().map(|reason| format!(" ({})", code(reason))).unwrap_or_default();
        vec![
            code(&task.name),
            optional(task.spawner.as_deref()),
            code(&task.agent),
            format!("{}{reason}", code(&task.phase)),
            task.since.map(instant).unwrap_or_default(),
        ]
    });
    section(
        "What runs",
        status.tasks.total,
        "No task runs or waits.",
        &["Task", "Spawner", "Agent", "State", "Since"],
        rows,
    )
}

fn coming(status: &Status) -> Vec<String> {
    let mut spawners: Vec<&SpawnerRow> = status.spawners.items.iter().collect();
    // Those that are due come first, the soonest before the others.
    spawners.sort_by(|left, right| {
        (left.next.is_none(), left.next, &left.name).cmp(&(right.next.is_none(), right.next, &right.name))
    });
    let rows = spawners.into_iter().take(ROWS).map(|spawner| {
        vec![
            code(&spawner.name),
            code(&spawner.source),
            schedule(spawner),
            spawner.next.map(instant).unwrap_or_default(),
            code(&spawner.state),
            spawner.active.to_string(),
            spawner.created.to_string(),
            spawner.skipped.to_string(),
        ]
    });
    let head = ["Spawner", "Source", "Schedule", "Next", "State", "Active", "Created", "Skipped"];
    section("What comes next", status.spawners.total, "There is no spawner.", &head, rows)
}

fn schedule(spawner: &SpawnerRow) -> String {
    let expression = optional(spawner.schedule.as_deref());
    match &spawner.time_zone {
        Some(zone) => format!("{expression} in {}", code(zone)),
        None => expression,
    }
}

fn failed(status: &Status, recent: &[LedgerLine]) -> Vec<String> {
    let failed: Vec<&LedgerLine> = recent.iter().filter(|line| !line.is_success()).collect();
    let total = u64::try_from(failed.len()).unwrap_or(u64::MAX);
    let logs = failed.first().map(|line| {
        let command = code(&format!("kelos logs {}", line.task));
        format!("What a run printed stays on the machine that ran it: {command}.")
    });
    let rows = failed.into_iter().map(|line| {
        let reason = line.reason.as_deref().map(|reason| format!(" ({})", code(reason))).unwrap_or_default();
        vec![
            code(&line.task),
            format!("{}{reason}", code(&line.outcome)),
            instant(line.completion_time),
            defined_at(status, line),
        ]
    });
    let head = ["Task", "Why", "Ended", "Defined at"];
    let mut lines = section("What failed lately", total, "None of the last runs failed.", &head, rows);
    lines.extend(logs.into_iter().flat_map(|logs| [logs, String::new()]));
    lines
}

fn recent(status: &Status, recent: &[LedgerLine]) -> Vec<String> {
    let total = u64::try_from(recent.len()).unwrap_or(u64::MAX);
    let rows = recent.iter().map(|line| {
        let prompt = line.prompt_digest.as_deref().map(history::short_digest);
        vec![
            code(&line.task),
            optional(line.spawner.as_deref()),
            code(&line.outcome),
            link(&instant(line.completion_time), &day_path(line.day())),
            line.duration_seconds.map(duration).unwrap_or_default(),
            line.cost_usd.as_deref().map(|cost| format!("{} USD", code(cost))).unwrap_or_default(),
            prompt.unwrap_or_default(),
            defined_at(status, line),
        ]
    });
    let head = ["Task", "Spawner", "Outcome", "Ended", "Took", "Cost", "Prompt", "Defined at"];
    section("Last runs", total, "No run has ended yet.", &head, rows)
}

/// A heading, and a table or a sentence that there is nothing to put into it.
fn section(
    title: &str,
    total: u64,
    nothing: &str,
    head: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> Vec<String> {
    let mut lines = vec![format!("## {title}"), String::new()];
    if total == 0 {
        lines.push(nothing.to_owned());
    } else {
        let table = table(head, rows);
        // The head and the rule below it are no rows.
        let shown = u64::try_from(table.len().saturating_sub(2)).unwrap_or(u64::MAX);
        lines.extend(table);
        if total > shown {
            lines.push(String::new());
            lines.push(format!("Shown are {shown} of {total}."));
        }
    }
    lines.push(String::new());
    lines
}

fn optional(value: Option<&str>) -> String {
    value.map(code).unwrap_or_default()
}

fn defined_at(status: &Status, line: &LedgerLine) -> String {
    let Some(file) = &line.source_file else {
        return String::new();
    };
    let number = line.source_line.and_then(|number| u64::try_from(number).ok());
    source::place(&status.url, line.source_revision.as_deref().unwrap_or_default(), file, number)
}

fn revision_link(status: &Status, revision: &str) -> String {
    source::commit(&status.url, revision)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ledger::report::{Findings, Rows};

    fn file(status: Status, recent: Vec<LedgerLine>) -> StatusFile {
        StatusFile { schema_version: 1, writer: "default.config".to_owned(), generation: 1, status, recent }
    }

    fn full() -> StatusFile {
        let time = |text: &str| Some(text.parse().unwrap());
        let spawner = |name: &str, next: Option<&str>| SpawnerRow {
            name: name.to_owned(),
            source: "cron".to_owned(),
            schedule: Some("0 9 * * 1-5".to_owned()),
            next: next.and_then(time),
            state: "Running".to_owned(),
            active: 1,
            created: 12,
            skipped: 3,
            time_zone: next.map(|_| "Europe/Berlin".to_owned()),
        };
        let mut failed =
            LedgerLine::new("u2", "fix-2", "claude-code", "Failed", "2026-03-01T09:05:00Z".parse().unwrap());
        failed.reason = Some("AgentFailed".to_owned());
        failed.source_file = Some("tasks/fix.yaml".to_owned());
        failed.source_line = Some(3);
        failed.source_revision = Some("1".repeat(40));
        let mut good =
            LedgerLine::new("u1", "fix-1", "shell", "Succeeded", "2026-03-01T09:00:00Z".parse().unwrap());
        good.spawner = Some("nightly".to_owned());
        good.duration_seconds = Some(61);
        good.cost_usd = Some("0.12".to_owned());
        good.prompt_digest = Some("ab".repeat(32));
        let finding = FindingRow {
            code: "cron-invalid".to_owned(),
            severity: "error".to_owned(),
            file: "spawners/nightly.yaml".to_owned(),
            line: Some(7),
            column: Some(15),
            message: "`0 25 * * *`: the hour 25 is not between 0 and 23".to_owned(),
            hint: Some("write the hour as 0 to 23".to_owned()),
        };
        let status = Status {
            namespace: "default".to_owned(),
            name: "config".to_owned(),
            url: "https://github.com/acme/config.git".to_owned(),
            reference: "branch main".to_owned(),
            state: "Stalled".to_owned(),
            reason: Some("FindingsPresent".to_owned()),
            message: None,
            applied_revision: Some("1".repeat(40)),
            applied_time: time("2026-03-01T08:00:00Z"),
            attempted_revision: Some("2".repeat(40)),
            objects: BTreeMap::from([("Task".to_owned(), 3), ("TaskSpawner".to_owned(), 1)]),
            drifted: 0,
            removals_waiting: 0,
            findings: Findings { total: 2, errors: 1, items: vec![finding] },
            spawners: Rows::of(vec![
                spawner("weekly", Some("2026-03-02T09:00:00Z")),
                spawner("hooks", None),
                spawner("nightly", Some("2026-03-01T23:00:00Z")),
            ]),
            tasks: Rows::of(vec![TaskRow {
                name: "fix-3".to_owned(),
                uid: "u3".to_owned(),
                spawner: None,
                agent: "shell".to_owned(),
                phase: "Waiting".to_owned(),
                reason: Some("WaitingForSlot".to_owned()),
                since: time("2026-03-01T09:10:00Z"),
            }]),
            program: "kelos 0.1.0".to_owned(),
            ..Status::default()
        };
        file(status, vec![failed, good])
    }

    #[test]
    fn the_page_says_what_runs_what_failed_and_what_is_wrong() {
        insta::assert_snapshot!(render(&full()), @r##"
        # `default/config`

        **State:** `Stalled` (`FindingsPresent`)

        Revision [`111111111111`](<https://github.com/acme/config/commit/1111111111111111111111111111111111111111>) (`branch main` of `https://github.com/acme/config.git`) is applied since 2026-03-01 08:00:00 UTC: 3 `Task`, 1 `TaskSpawner`.

        ## Refused revision

        Revision [`222222222222`](<https://github.com/acme/config/commit/2222222222222222222222222222222222222222>) has 1 error and 1 warning. Revision [`111111111111`](<https://github.com/acme/config/commit/1111111111111111111111111111111111111111>) keeps running.

        - [`spawners/nightly.yaml:7:15`](<https://github.com/acme/config/blob/2222222222222222222222222222222222222222/spawners/nightly.yaml#L7>) `error` `cron-invalid`: `` `0 25 * * *`: the hour 25 is not between 0 and 23 `` Hint: `write the hour as 0 to 23`
        - and 1 more: `kelos validate` lists them all

        ## What runs

        | Task | Spawner | Agent | State | Since |
        | --- | --- | --- | --- | --- |
        | `fix-3` |  | `shell` | `Waiting` (`WaitingForSlot`) | 2026-03-01 09:10:00 UTC |

        ## What comes next

        | Spawner | Source | Schedule | Next | State | Active | Created | Skipped |
        | --- | --- | --- | --- | --- | --- | --- | --- |
        | `nightly` | `cron` | `0 9 * * 1-5` in `Europe/Berlin` | 2026-03-01 23:00:00 UTC | `Running` | 1 | 12 | 3 |
        | `weekly` | `cron` | `0 9 * * 1-5` in `Europe/Berlin` | 2026-03-02 09:00:00 UTC | `Running` | 1 | 12 | 3 |
        | `hooks` | `cron` | `0 9 * * 1-5` |  | `Running` | 1 | 12 | 3 |

        ## What failed lately

        | Task | Why | Ended | Defined at |
        | --- | --- | --- | --- |
        | `fix-2` | `Failed` (`AgentFailed`) | 2026-03-01 09:05:00 UTC | [`tasks/fix.yaml:3`](<https://github.com/acme/config/blob/1111111111111111111111111111111111111111/tasks/fix.yaml#L3>) |

        What a run printed stays on the machine that ran it: `kelos logs fix-2`.

        ## Last runs

        | Task | Spawner | Outcome | Ended | Took | Cost | Prompt | Defined at |
        | --- | --- | --- | --- | --- | --- | --- | --- |
        | `fix-2` |  | `Failed` | [`2026-03-01 09:05:00 UTC`](<ledger/2026/03-01.jsonl>) |  |  |  | [`tasks/fix.yaml:3`](<https://github.com/acme/config/blob/1111111111111111111111111111111111111111/tasks/fix.yaml#L3>) |
        | `fix-1` | `nightly` | `Succeeded` | [`2026-03-01 09:00:00 UTC`](<ledger/2026/03-01.jsonl>) | 1 min 1 s | `0.12` USD | `abababababab` |  |

        Written by `kelos 0.1.0`. For programs: [status.json](status.json), and the [ledger](ledger), one line for each run that ended.
        "##);
    }

    #[test]
    fn an_empty_page_has_sentences_instead_of_tables() {
        let status = Status { state: "Reconciling".to_owned(), ..Status::default() };
        let page = render(&file(status, Vec::new()));
        for sentence in
            ["No revision of", "No task runs or waits.", "There is no spawner.", "No run has ended yet."]
        {
            assert!(page.contains(sentence), "{sentence}: {page}");
        }
        assert!(!page.contains("| ---"), "{page}");
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let mut file = full();
        let row = file.status.tasks.items[0].clone();
        file.status.tasks = Rows::of(vec![row; 2_000]);
        file.status.findings.total = 500;
        let page = render(&file);
        assert!(page.contains("Shown are 50 of 2000."), "{page}");
        assert!(page.contains("- and 499 more: `kelos validate` lists them all"), "{page}");
    }

    #[test]
    fn hostile_values_stay_values() {
        let evil = "</td>|`**[x](javascript:1)\n\n# @everyone ![](http://x)".to_owned();
        let mut file = full();
        file.status.message = Some(evil.clone());
        file.status.findings.items[0].message.clone_from(&evil);
        file.status.findings.items[0].file.clone_from(&evil);
        file.status.spawners.items[0].schedule = Some(evil.clone());
        file.status.spawners.items[0].time_zone = Some(evil.clone());
        file.status.tasks.items[0].name.clone_from(&evil);
        file.status.namespace = evil;
        for line in render(&file).lines() {
            assert!(!line.starts_with("# @"), "{line}");
            // Outside of code spans nothing of the value is left.
            let outside: String = outside_of_spans(line);
            for mark in ["</td>", "javascript:", "@everyone"] {
                assert!(!outside.contains(mark), "{line}");
            }
        }
    }

    /// Removes code spans as CommonMark finds them: a run of backticks up to the next run of the same length.
    fn outside_of_spans(line: &str) -> String {
        let mut outside = String::new();
        let mut rest = line;
        while let Some(start) = rest.find('`') {
            let (before, from) = rest.split_at(start);
            outside.push_str(before);
            let length = from.len() - from.trim_start_matches('`').len();
            let (fence, after) = from.split_at(length);
            let mut search = after;
            let mut consumed = None;
            while let Some(found) = search.find('`') {
                let candidate = search.split_at(found).1;
                let run = candidate.len() - candidate.trim_start_matches('`').len();
                let end = candidate.split_at(run).1;
                if run == fence.len() {
                    consumed = Some(end);
                    break;
                }
                search = end;
            }
            if let Some(end) = consumed {
                rest = end;
            } else {
                outside.push_str(fence);
                rest = after;
            }
        }
        outside.push_str(rest);
        outside
    }
}
