//! What became of revisions of prompts, for the page of a writer.

use crate::domain::dollars::Dollars;
use crate::domain::history::{History, PromptRevision, SubjectKind};
use crate::domain::verdict::{ENOUGH_RUNS, Verdict, verdicts};
use crate::ledger::line::day_path;
use crate::ledger::markdown::{code, duration, instant, link, table};
use crate::ledger::report::Status;
use crate::ledger::source::place;

/// Most rows that are shown.
const ROWS: usize = 50;

/// Most revisions of one spawner or Task that are shown.
const REVISIONS: usize = 8;

/// Returns the section, which is empty when nothing ran twice.
pub(super) fn section(status: &Status) -> Vec<String> {
    // A Task of its own that ran once stands among the last runs already.
    let is_history = |history: &&History| {
        history.subject.kind == SubjectKind::TaskSpawner
            || history.revisions.iter().map(|revision| revision.runs).sum::<u64>() > 1
    };
    let all = &status.history.items;
    let rows: Vec<Vec<String>> = all
        .iter()
        .filter(is_history)
        .flat_map(|history| {
            let verdicts = verdicts(&history.revisions);
            let rows = history.revisions.iter().zip(verdicts).take(REVISIONS).enumerate();
            rows.map(|(index, (revision, verdict))| row(status, history, index, revision, verdict))
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let shown = rows.len().min(ROWS);
    let head = [
        "Spawner",
        "Prompt",
        "Defined at",
        "Runs",
        "Succeeded",
        "Cost",
        "Median time",
        "Last ended",
        "Remark",
    ];
    let mut lines = vec![
        "## History of prompts".to_owned(),
        String::new(),
        "What became of each revision of a prompt, as far back as runs are on record; the revision that ran last \
         comes first."
            .to_owned(),
        String::new(),
    ];
    lines.extend(table(&head, rows.into_iter().take(ROWS)));
    lines.push(String::new());
    // Those that are no history were counted with the others.
    let left_out: usize =
        all.iter().filter(|history| !is_history(history)).map(|history| history.revisions.len()).sum();
    let total = usize::try_from(status.history.total).unwrap_or(usize::MAX).saturating_sub(left_out);
    if total > shown {
        lines.push(format!("Shown are {shown} of {total} revisions; `kelos history` lists them all."));
        lines.push(String::new());
    }
    lines.push(format!(
        "*Succeeded* counts runs that say something about a prompt: those that never started, were interrupted or \
         cancelled do not. *best* and *worst* stand only where chance hardly explains the difference (95 %); below \
         {ENOUGH_RUNS} such runs nothing is said."
    ));
    lines.push(String::new());
    lines
}

fn row(
    status: &Status,
    history: &History,
    index: usize,
    revision: &PromptRevision,
    verdict: Verdict,
) -> Vec<String> {
    let subject = match history.subject.kind {
        _ if index > 0 => String::new(),
        SubjectKind::TaskSpawner => code(&history.subject.name),
        SubjectKind::Task => format!("{} (Task)", code(&history.subject.name)),
    };
    let prompt = revision.prompt_digest.as_deref().map(short_digest).unwrap_or_default();
    let defined = revision.source_file.as_deref().map(|file| {
        let line = revision.source_line.and_then(|line| u64::try_from(line).ok());
        place(&status.url, revision.source_revision.as_deref().unwrap_or_default(), file, line)
    });
    let succeeded = match revision.success_percent() {
        Some(percent) => format!("{} of {} ({percent} %)", revision.succeeded, revision.judged),
        None => "none to judge".to_owned(),
    };
    let cost = match (revision.cost_per_run(), revision.cost) {
        (Some(each), Some(_)) if revision.priced == 1 => format!("{} USD", amount(each)),
        (Some(each), Some(all)) => format!("{} USD each, {} in all", amount(each), amount(all)),
        _ => String::new(),
    };
    let remark = match verdict {
        Verdict::FewRuns => "few runs",
        Verdict::Best => "best",
        Verdict::Worst => "worst",
        Verdict::Open => "",
    };
    let last_day = revision.last_ended.to_zoned(jiff::tz::TimeZone::UTC).date();
    vec![
        subject,
        prompt,
        defined.unwrap_or_default(),
        revision.runs.to_string(),
        succeeded,
        cost,
        revision.median_seconds.map(duration).unwrap_or_default(),
        link(&instant(revision.last_ended), &day_path(last_day)),
        remark.to_owned(),
    ]
}

/// Returns an amount to the cent, and a smaller one to the hundredth of a cent.
fn amount(dollars: Dollars) -> String {
    let cents = format!("{dollars:.2}");
    if cents == "0.00" { format!("{dollars:.4}") } else { cents }
}

/// Returns the first digits of a digest, by which people tell revisions apart.
pub(super) fn short_digest(digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    code(&hex.chars().take(12).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::histories;
    use crate::ledger::line::LedgerLine;
    use crate::ledger::report::HistoryRows;

    fn line(uid: usize, spawner: Option<&str>, prompt: &str, outcome: &str) -> LedgerLine {
        let time = format!("2026-03-{:02}T09:00:00Z", 1 + uid / 20).parse().unwrap();
        let mut line =
            LedgerLine::new(format!("u{uid}"), format!("t{}", uid % 3), "claude-code", outcome, time);
        line.spawner = spawner.map(str::to_owned);
        line.prompt_digest = Some(prompt.repeat(32));
        line.source_revision = Some("1".repeat(40));
        line.source_file = Some("spawners/fix.yaml".to_owned());
        line.source_line = Some(3);
        line.duration_seconds = Some(61);
        line.cost_usd = Some("0.126".to_owned());
        line
    }

    fn status(lines: &[LedgerLine]) -> Status {
        Status {
            url: "https://github.com/acme/config".to_owned(),
            history: HistoryRows::of(histories(lines.iter().map(LedgerLine::ended_run))),
            ..Status::default()
        }
    }

    #[test]
    fn revisions_are_told_apart_with_what_they_cost_and_how_sure_that_is() {
        let mut lines: Vec<LedgerLine> = (0..40).map(|uid| line(uid, Some("fix"), "ab", "Failed")).collect();
        lines.extend((40..80).map(|uid| line(uid, Some("fix"), "cd", "Succeeded")));
        lines.push(line(80, Some("fix"), "ef", "Interrupted"));
        lines.push(line(81, None, "01", "Succeeded"));
        insta::assert_snapshot!(section(&status(&lines)).join("\n"), @r"
        ## History of prompts

        What became of each revision of a prompt, as far back as runs are on record; the revision that ran last comes first.

        | Spawner | Prompt | Defined at | Runs | Succeeded | Cost | Median time | Last ended | Remark |
        | --- | --- | --- | --- | --- | --- | --- | --- | --- |
        | `fix` | `efefefefefef` | [`spawners/fix.yaml:3`](<https://github.com/acme/config/blob/1111111111111111111111111111111111111111/spawners/fix.yaml#L3>) | 1 | none to judge | 0.13 USD |  | [`2026-03-05 09:00:00 UTC`](<ledger/2026/03-05.jsonl>) | few runs |
        |  | `cdcdcdcdcdcd` | [`spawners/fix.yaml:3`](<https://github.com/acme/config/blob/1111111111111111111111111111111111111111/spawners/fix.yaml#L3>) | 40 | 40 of 40 (100 %) | 0.13 USD each, 5.04 in all | 1 min 1 s | [`2026-03-04 09:00:00 UTC`](<ledger/2026/03-04.jsonl>) | best |
        |  | `abababababab` | [`spawners/fix.yaml:3`](<https://github.com/acme/config/blob/1111111111111111111111111111111111111111/spawners/fix.yaml#L3>) | 40 | 0 of 40 (0 %) | 0.13 USD each, 5.04 in all | 1 min 1 s | [`2026-03-02 09:00:00 UTC`](<ledger/2026/03-02.jsonl>) | worst |

        *Succeeded* counts runs that say something about a prompt: those that never started, were interrupted or cancelled do not. *best* and *worst* stand only where chance hardly explains the difference (95 %); below 5 such runs nothing is said.
        ");
    }

    #[test]
    fn what_ran_once_and_by_itself_is_no_history() {
        assert_eq!(section(&status(&[line(1, None, "ab", "Succeeded")])), Vec::<String>::new());
        assert_eq!(section(&status(&[])), Vec::<String>::new());
    }

    #[test]
    fn many_revisions_are_cut_and_say_so() {
        let mut lines: Vec<LedgerLine> =
            (0..2_000).map(|uid| line(uid % 600, Some(&format!("s{}", uid % 300)), "ab", "Failed")).collect();
        for (uid, line) in lines.iter_mut().enumerate() {
            line.task_uid = format!("u{uid}");
            line.prompt_digest = Some(format!("{uid:064x}"));
        }
        let status = status(&lines);
        assert_eq!(status.history.total, 2_000);
        let listed: usize = status.history.items.iter().map(|history| history.revisions.len()).sum();
        assert!(listed <= crate::ledger::report::REVISION_ROWS, "{listed}");
        let text = section(&status).join("\n");
        assert!(text.contains("Shown are 50 of 2000 revisions"), "{text}");
    }
}
