//! What became of each revision of a prompt: how often it ran, how often it succeeded, what it cost.
//!
//! Records of runs, or their lines in the ledger, come in; the same run may come in twice. A revision is known by the
//! digest of the prompt as it was written, so a prompt that was taken back and came again is one revision.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::run_record::{RunOutcome, RunRecordSpec};
use crate::domain::dollars::Dollars;

/// A run that ended, as far as its record or its line in the ledger tells.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedRun {
    /// The uid of the Task, by which a run is known.
    pub task_uid: String,
    /// The name of the Task.
    pub task: String,
    /// The TaskSpawner that made the Task.
    pub spawner: Option<String>,
    /// The SHA-256 of the prompt as it was written.
    pub prompt_digest: Option<String>,
    /// The commit that defines the Task or its spawner.
    pub source_revision: Option<String>,
    /// The file of that commit.
    pub source_file: Option<String>,
    /// The line of that file, from 1.
    pub source_line: Option<i64>,
    /// How the Task ended, one word.
    pub outcome: String,
    /// When the Task ended.
    pub completion_time: Timestamp,
    /// Seconds between start and end; absent when it never started.
    pub duration_seconds: Option<i64>,
    /// What the agent says that it cost.
    pub cost: Option<Dollars>,
    /// Tokens read.
    pub input_tokens: Option<i64>,
    /// Tokens written.
    pub output_tokens: Option<i64>,
}

impl EndedRun {
    /// Returns the run that a record is about.
    pub fn of_record(record: &RunRecordSpec) -> Self {
        let usage = record.usage.as_ref();
        Self {
            task_uid: record.task_uid.clone(),
            task: record.task_name.clone(),
            spawner: record.spawner.clone(),
            prompt_digest: record.prompt_digest.clone(),
            source_revision: record.source_revision.clone(),
            source_file: record.source_file.clone(),
            source_line: record.source_line,
            outcome: record.outcome.as_str().to_owned(),
            completion_time: record.completion_time.0,
            duration_seconds: record.duration_seconds,
            cost: usage.and_then(|usage| Dollars::parse(&usage.cost_usd.as_ref()?.0)),
            input_tokens: usage.and_then(|usage| usage.input_tokens),
            output_tokens: usage.and_then(|usage| usage.output_tokens),
        }
    }

    /// Returns whose history the run belongs to.
    pub fn subject(&self) -> Subject {
        match &self.spawner {
            Some(spawner) => Subject { kind: SubjectKind::TaskSpawner, name: spawner.clone() },
            None => Subject { kind: SubjectKind::Task, name: self.task.clone() },
        }
    }
}

/// What has a history: a spawner, or a Task that no spawner made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// Which of the two.
    pub kind: SubjectKind,
    /// Its name.
    pub name: String,
}

/// The kinds that have a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SubjectKind {
    /// A spawner.
    TaskSpawner,
    /// A Task that no spawner made.
    Task,
}

/// All revisions of the prompt of one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Whose.
    #[serde(flatten)]
    pub subject: Subject,
    /// The revision that ran last comes first.
    pub revisions: Vec<PromptRevision>,
}

/// What became of one revision of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptRevision {
    /// The SHA-256 of the prompt as it was written; absent for runs that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_digest: Option<String>,
    /// The commit under which it ran first, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_source_revision: Option<String>,
    /// The commit under which it ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_revision: Option<String>,
    /// The file of that commit that defines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_file: Option<String>,
    /// The line of that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_line: Option<i64>,
    /// How many runs ended.
    pub runs: u64,
    /// How many of them say something about the prompt: the agent ran and came to an end of its own, or to its deadline.
    pub judged: u64,
    /// How many succeeded.
    pub succeeded: u64,
    /// How often each outcome came.
    pub outcomes: BTreeMap<String, u64>,
    /// What all runs cost that say what they cost.
    #[serde(rename = "costUSD", default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Dollars>,
    /// How many runs those are.
    pub priced: u64,
    /// Tokens read by all runs that say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens written by all runs that say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// The median of the seconds that the judged runs took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_seconds: Option<i64>,
    /// When the first of the runs ended.
    pub first_ended: Timestamp,
    /// When the last of the runs ended.
    pub last_ended: Timestamp,
    /// How that one ended.
    pub last_outcome: String,
    /// The Task of that run.
    pub last_task: String,
}

impl PromptRevision {
    /// Returns how many of a hundred judged runs succeeded, rounded down; nothing when none was judged.
    pub fn success_percent(&self) -> Option<u64> {
        self.succeeded.saturating_mul(100).checked_div(self.judged)
    }

    /// Returns what one run cost on average, among those that say.
    pub fn cost_per_run(&self) -> Option<Dollars> {
        self.cost?.shared_by(self.priced)
    }
}

/// Returns the histories of all subjects that `runs` are about, spawners first, each by name.
///
/// A run that comes more than once, by its uid, counts once: as it came first.
pub fn histories(runs: impl IntoIterator<Item = EndedRun>) -> Vec<History> {
    let mut seen = BTreeSet::new();
    let mut subjects: BTreeMap<Subject, BTreeMap<Option<String>, Vec<EndedRun>>> = BTreeMap::new();
    for run in runs {
        if seen.insert(run.task_uid.clone()) {
            let revisions = subjects.entry(run.subject()).or_default();
            revisions.entry(run.prompt_digest.clone()).or_default().push(run);
        }
    }
    let history = |(subject, revisions): (Subject, BTreeMap<Option<String>, Vec<EndedRun>>)| {
        let mut revisions: Vec<PromptRevision> = revisions.into_values().filter_map(revision).collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.last_ended));
        History { subject, revisions }
    };
    subjects.into_iter().map(history).collect()
}

/// Returns what became of the revision that all of `runs` belong to; nothing for no runs.
fn revision(mut runs: Vec<EndedRun>) -> Option<PromptRevision> {
    runs.sort_by(|left, right| (left.completion_time, &left.task).cmp(&(right.completion_time, &right.task)));
    let first = runs.first()?;
    let last = runs.last()?;
    let defined = runs.iter().rev().find(|run| run.source_revision.is_some()).unwrap_or(last);
    let mut outcomes = BTreeMap::new();
    for run in &runs {
        *outcomes.entry(run.outcome.clone()).or_default() += 1;
    }
    let judged: Vec<&EndedRun> = runs.iter().filter(|run| judges(&run.outcome)).collect();
    let costs = runs.iter().filter_map(|run| run.cost);
    Some(PromptRevision {
        prompt_digest: first.prompt_digest.clone(),
        first_source_revision: runs.iter().find_map(|run| run.source_revision.clone()),
        source_revision: defined.source_revision.clone(),
        source_file: defined.source_file.clone(),
        source_line: defined.source_line,
        runs: count(runs.len()),
        judged: count(judged.len()),
        succeeded: outcomes.get(RunOutcome::Succeeded.as_str()).copied().unwrap_or_default(),
        priced: count(costs.clone().count()),
        cost: costs.reduce(Dollars::plus),
        input_tokens: sum(runs.iter().filter_map(|run| run.input_tokens)),
        output_tokens: sum(runs.iter().filter_map(|run| run.output_tokens)),
        median_seconds: median(judged.iter().filter_map(|run| run.duration_seconds).collect()),
        first_ended: first.completion_time,
        last_ended: last.completion_time,
        last_outcome: last.outcome.clone(),
        last_task: last.task.clone(),
        outcomes,
    })
}

/// Returns whether an outcome says something about the prompt; a word of a later version does not.
fn judges(outcome: &str) -> bool {
    match outcome.parse() {
        Ok(RunOutcome::Succeeded | RunOutcome::Failed | RunOutcome::DeadlineExceeded) => true,
        Ok(
            RunOutcome::NeverStarted
            | RunOutcome::Interrupted
            | RunOutcome::DependencyFailed
            | RunOutcome::Cancelled,
        )
        | Err(_) => false,
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn sum(tokens: impl Iterator<Item = i64>) -> Option<u64> {
    tokens.map(|tokens| u64::try_from(tokens).unwrap_or_default()).reduce(u64::saturating_add)
}

/// Returns the middle value, or of two middle values the lower.
fn median(mut seconds: Vec<i64>) -> Option<i64> {
    seconds.sort_unstable();
    seconds.get(seconds.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u64, prompt: &str, outcome: RunOutcome) -> EndedRun {
        EndedRun {
            task_uid: format!("uid-{number}"),
            task: format!("nightly-{number}"),
            spawner: Some("nightly".to_owned()),
            prompt_digest: Some(prompt.to_owned()),
            source_revision: Some(format!("commit-{number}")),
            source_file: Some("spawners/nightly.yaml".to_owned()),
            source_line: Some(3),
            outcome: outcome.as_str().to_owned(),
            completion_time: Timestamp::from_second(i64::try_from(number).unwrap()).unwrap(),
            duration_seconds: Some(i64::try_from(number).unwrap()),
            cost: Dollars::parse("0.10"),
            input_tokens: Some(10),
            output_tokens: None,
        }
    }

    /// Describes the revisions of the one history that `runs` give.
    fn check(runs: Vec<EndedRun>, wanted: &[&str]) {
        let [history] = histories(runs).try_into().unwrap();
        let line = |revision: &PromptRevision| {
            let percent = revision.success_percent().map_or("-".to_owned(), |percent| percent.to_string());
            let cost = revision.cost.map_or("-".to_owned(), |cost| cost.to_string());
            let median = revision.median_seconds.map_or("-".to_owned(), |seconds| seconds.to_string());
            let digest = revision.prompt_digest.as_deref().unwrap_or("-");
            let last = &revision.last_outcome;
            format!("{digest}: {} runs, {percent} %, {cost} USD, {median} s, {last}", revision.runs)
        };
        assert_eq!(history.revisions.iter().map(line).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn revisions_are_told_apart_and_the_one_that_ran_last_comes_first() {
        use RunOutcome::{Failed, Succeeded};
        check(
            vec![
                run(1, "a", Succeeded),
                run(2, "b", Failed),
                run(3, "b", Succeeded),
                run(4, "b", Succeeded),
                // Taken back, and so the same revision as before.
                run(5, "a", Failed),
            ],
            &["a: 2 runs, 50 %, 0.2 USD, 1 s, Failed", "b: 3 runs, 66 %, 0.3 USD, 3 s, Succeeded"],
        );
    }

    #[test]
    fn what_the_prompt_has_no_part_in_does_not_judge_it() {
        use RunOutcome::{Cancelled, DependencyFailed, Interrupted, NeverStarted, Succeeded};
        let mut strange = run(9, "a", Succeeded);
        strange.outcome = "FromTheFuture".to_owned();
        check(
            vec![
                run(1, "a", Succeeded),
                run(2, "a", NeverStarted),
                run(3, "a", Interrupted),
                run(4, "a", DependencyFailed),
                run(5, "a", Cancelled),
                strange,
            ],
            &["a: 6 runs, 100 %, 0.6 USD, 1 s, FromTheFuture"],
        );
        check(vec![run(2, "a", NeverStarted)], &["a: 1 runs, - %, 0.1 USD, - s, NeverStarted"]);
    }

    #[test]
    fn a_run_that_comes_twice_counts_once_as_it_came_first() {
        let known = run(1, "a", RunOutcome::Succeeded);
        let line = EndedRun { cost: None, ..known.clone() };
        check(vec![known, line], &["a: 1 runs, 100 %, 0.1 USD, 1 s, Succeeded"]);
    }

    #[test]
    fn what_is_not_known_is_not_counted_as_nothing() {
        let silent = EndedRun {
            cost: None,
            input_tokens: None,
            source_revision: None,
            source_file: None,
            source_line: None,
            ..run(2, "a", RunOutcome::Succeeded)
        };
        check(vec![silent.clone()], &["a: 1 runs, 100 %, - USD, 2 s, Succeeded"]);
        let [history] = histories([silent, run(1, "a", RunOutcome::Failed)]).try_into().unwrap();
        let revision = &history.revisions[0];
        assert_eq!((revision.cost_per_run(), revision.priced), (Dollars::parse("0.1"), 1));
        assert_eq!((revision.input_tokens, revision.output_tokens), (Some(10), None));
        assert_eq!(
            revision.source_revision.as_deref(),
            Some("commit-1"),
            "the last that says where it stands"
        );
    }

    #[test]
    fn tasks_of_no_spawner_have_a_history_of_their_own() {
        let task = |number, name: &str| EndedRun {
            spawner: None,
            task: name.to_owned(),
            ..run(number, "a", RunOutcome::Succeeded)
        };
        let all =
            histories([task(1, "sign"), run(2, "a", RunOutcome::Failed), task(3, "check"), task(4, "sign")]);
        let names: Vec<(SubjectKind, &str, u64)> = all
            .iter()
            .map(|history| (history.subject.kind, history.subject.name.as_str(), history.revisions[0].runs))
            .collect();
        assert_eq!(
            names,
            [
                (SubjectKind::TaskSpawner, "nightly", 1),
                (SubjectKind::Task, "check", 1),
                (SubjectKind::Task, "sign", 2)
            ]
        );
    }

    #[test]
    fn a_history_is_read_back() {
        let all = histories([run(1, "a", RunOutcome::Succeeded)]);
        let text = serde_json::to_string(&all).unwrap();
        assert!(text.contains(r#""kind":"TaskSpawner","name":"nightly""#), "{text}");
        assert_eq!(serde_json::from_str::<Vec<History>>(&text).unwrap(), all);
    }
}
