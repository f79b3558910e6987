//! What a writer reports, and its form for programs.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::domain::history::History;
use crate::ledger::line::LedgerLine;
use crate::ledger::page;

/// The version of `status.json`; a reader refuses a greater one.
pub const STATUS_VERSION: u32 = 1;

/// Most rows of each kind in `status.json`; the totals beside them are complete.
pub const STATUS_ROWS: usize = 1_000;

/// Most findings in `status.json`; the totals beside them are complete.
pub const FINDING_ROWS: usize = 200;

/// Most revisions of prompts in `status.json`; the total beside them is complete.
pub const REVISION_ROWS: usize = 500;

/// The longest text in `status.json`, in characters.
const TEXT_LIMIT: usize = 1_000;

/// Most finished runs that are repeated outside the ledger.
pub const RECENT_RUNS: usize = 20;

/// The name of a writer and of its folder on the branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct WriterName(String);

/// A text cannot name a writer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a writer is named by 1 to 200 of a-z, 0-9, `-` and `.`, with a letter or digit at both ends")]
pub struct WriterNameError;

impl WriterName {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, WriterNameError> {
        let inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        let outer =
            |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let fits = text.len() <= 200
            && text.bytes().all(inner)
            && outer(text.bytes().next())
            && outer(text.bytes().next_back());
        if fits { Ok(Self(text.to_owned())) } else { Err(WriterNameError) }
    }

    /// Names the writer for an object of one installation: `<namespace>.<name>.<8 digits>`, where the digits are
    /// the first of the installation's uid.
    ///
    /// Two installations that follow one repository write to two folders then. It is unique because no namespace
    /// holds a dot, and the digits come last.
    pub fn of_object(namespace: &str, name: &str, installation: &str) -> Result<Self, WriterNameError> {
        let digits: String = installation.chars().filter(char::is_ascii_hexdigit).take(8).collect();
        if namespace.contains('.') || digits.len() < 8 {
            return Err(WriterNameError);
        }
        // A long name is told apart by its digest.
        let name = if name.len() > 120 {
            let start = name.get(..100).unwrap_or_default().trim_end_matches(['-', '.']);
            format!("{start}-{}", digest::short_hex(name, 16))
        } else {
            name.to_owned()
        };
        Self::parse(&format!("{namespace}.{name}.{}", digits.to_ascii_lowercase()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WriterName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Everything that a report says. The same input gives the same bytes: it holds no "now" but for the time of
/// the commit.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportInput {
    /// Who reports.
    pub writer: WriterName,
    /// The generation of the lease under which is written; 0 without one. No report is built on one of a
    /// higher generation.
    pub generation: u64,
    /// The time of the commit. It is in no file, so that time alone makes no commit.
    pub time: Timestamp,
    /// What is reported.
    pub status: Status,
    /// The newest runs that ended, newest first; [`RECENT_RUNS`] of them are shown.
    pub recent: Vec<LedgerLine>,
    /// Days that a day's file of the ledger is kept; `None` keeps them all.
    pub retention_days: Option<u32>,
}

/// The state of one config repository and of what it runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The namespace of the ConfigRepository.
    pub namespace: String,
    /// The name of the ConfigRepository.
    pub name: String,
    /// Where it is, without credentials.
    pub url: String,
    /// What is followed, for people: `branch main`.
    pub reference: String,
    /// How it is, one word: `Ready`, `Reconciling`, `Stalled`, `Suspended`.
    pub state: String,
    /// Why, one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in a sentence of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The commit whose objects are all applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_revision: Option<String>,
    /// When it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_time: Option<Timestamp>,
    /// The commit that was looked at last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempted_revision: Option<String>,
    /// Objects of the applied commit, by kind.
    pub objects: BTreeMap<String, u64>,
    /// Live objects that differ from the applied commit.
    pub drifted: u64,
    /// Objects whose removal waits for a confirmation.
    pub removals_waiting: u64,
    /// What is wrong with the commit that was looked at last.
    pub findings: Findings,
    /// Spawners, all of them.
    pub spawners: Rows<SpawnerRow>,
    /// Tasks that have not ended.
    pub tasks: Rows<TaskRow>,
    /// What became of each revision of each prompt.
    pub history: HistoryRows,
    /// The branches that hold the ledger of earlier years, with `YYYY` for the year; absent when this one holds all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier_years: Option<String>,
    /// The program that writes, with its version: `kelos 0.1.0`.
    pub program: String,
}

/// Rows, of which the first [`STATUS_ROWS`] are listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows<T> {
    /// How many there are.
    pub total: u64,
    /// The listed ones.
    pub items: Vec<T>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { total: 0, items: Vec::new() }
    }
}

impl<T> Rows<T> {
    /// Counts and lists `items`.
    pub fn of(mut items: Vec<T>) -> Self {
        let total = u64::try_from(items.len()).unwrap_or(u64::MAX);
        items.truncate(STATUS_ROWS);
        Self { total, items }
    }
}

/// What became of revisions of prompts, as far back as records of runs are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryRows {
    /// How many revisions there are, of all spawners and Tasks.
    pub total: u64,
    /// The listed ones, by spawner or Task; of each those that ran last.
    pub items: Vec<History>,
}

impl HistoryRows {
    /// Counts and lists histories, the newest revisions of each first, so that none is left out for another's sake.
    pub fn of(mut histories: Vec<History>) -> Self {
        let total = histories.iter().map(|history| history.revisions.len()).sum::<usize>();
        // Those that ran last come first: they are what somebody who looks at the branch asks about.
        histories.sort_by_key(|history| {
            std::cmp::Reverse(history.revisions.first().map(|revision| revision.last_ended))
        });
        histories.truncate(REVISION_ROWS);
        let each = REVISION_ROWS.checked_div(histories.len()).unwrap_or_default().max(1);
        for history in &mut histories {
            history.revisions.truncate(each);
        }
        histories.sort_by(|left, right| left.subject.cmp(&right.subject));
        Self { total: u64::try_from(total).unwrap_or(u64::MAX), items: histories }
    }
}

/// What is wrong with a commit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// How many there are.
    pub total: u64,
    /// How many of them keep the commit from being applied.
    pub errors: u64,
    /// The listed ones.
    pub items: Vec<FindingRow>,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FindingRow {
    /// The stable code.
    pub code: String,
    /// `error` or `warning`.
    pub severity: String,
    /// The file, from the root of the repository.
    pub file: String,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A spawner.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpawnerRow {
    /// Its name.
    pub name: String,
    /// What it listens to, one word: `cron`, `githubIssues`.
    pub source: String,
    /// Its cron expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The time zone of the expression; absent for UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// When it is due next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// How it is, one word.
    pub state: String,
    /// Its Tasks that have not ended.
    pub active: u64,
    /// All Tasks that it ever made.
    pub created: u64,
    /// Ticks that passed without a Task.
    pub skipped: u64,
}

/// A Task that has not ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRow {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The spawner that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spawner: Option<String>,
    /// The type of its agent, one word.
    pub agent: String,
    /// Its phase, one word.
    pub phase: String,
    /// Why it is in this phase, one word: `WaitingForSlot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// `status.json` as it stands on the branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusFile {
    /// The version of the format, [`STATUS_VERSION`].
    pub schema_version: u32,
    /// Who wrote it.
    pub writer: String,
    /// The generation of the lease under which it was written.
    pub generation: u64,
    /// What is reported.
    #[serde(flatten)]
    pub status: Status,
    /// The newest runs that ended, newest first.
    #[serde(default)]
    pub recent: Vec<LedgerLine>,
}

/// A file of the report: its path on the branch and its content.
pub type File = (String, Vec<u8>);

/// Returns the files of a report, without ledger and index.
pub fn render(input: &ReportInput) -> Vec<File> {
    let file = status_file(input);
    let mut json = serde_json::to_string_pretty(&file)
        .expect("because all fields are texts, numbers, times and lists of them, which JSON can hold");
    json.push('\n');
    let folder = &input.writer;
    vec![
        (format!("{folder}/README.md"), page::render(&file).into_bytes()),
        (format!("{folder}/status.json"), json.into_bytes()),
    ]
}

/// Returns what `status.json` says for `input`.
pub fn status_file(input: &ReportInput) -> StatusFile {
    let mut status = input.status.clone();
    status.spawners.items.truncate(STATUS_ROWS);
    status.tasks.items.truncate(STATUS_ROWS);
    status.findings.items.truncate(FINDING_ROWS);
    let sentences = status.findings.items.iter_mut().flat_map(|finding| {
        [Some(&mut finding.file), Some(&mut finding.message), finding.hint.as_mut()].into_iter().flatten()
    });
    sentences.chain([&mut status.url, &mut status.reference]).chain(&mut status.message).for_each(shorten);
    StatusFile {
        schema_version: STATUS_VERSION,
        writer: input.writer.to_string(),
        generation: input.generation,
        status,
        recent: input.recent.iter().take(RECENT_RUNS).map(LedgerLine::closed).collect(),
    }
}

/// Cuts a text that nobody would read to its end.
fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_LIMIT) {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_have_safe_names() {
        for name in ["default.config", "a", "team-1.repo.x"] {
            assert_eq!(WriterName::parse(name).map(|name| name.to_string()), Ok(name.to_owned()));
        }
        for name in ["", ".", "..", "a/b", "A", "-a", "a-", ".git", "a.", "a b", "ä", &"a".repeat(201)] {
            assert_eq!(WriterName::parse(name), Err(WriterNameError), "{name:?}");
        }
        let uid = "7F0c6f0e-9d6d-4bb4-8a4e-000000000001";
        assert_eq!(WriterName::of_object("team-a", "b.c", uid).unwrap().as_str(), "team-a.b.c.7f0c6f0e");
        assert_eq!(WriterName::of_object("a.b", "c", uid), Err(WriterNameError));
        assert_eq!(WriterName::of_object("a", "c", ""), Err(WriterNameError));
        let long = |end: &str| WriterName::of_object("a", &format!("{}{end}", "n".repeat(240)), uid).unwrap();
        assert_ne!(long("x"), long("y"));
    }

    #[test]
    fn rows_are_counted_and_bounded() {
        let rows = Rows::of((0..STATUS_ROWS + 5).collect());
        assert_eq!((rows.total, rows.items.len()), (1_005, STATUS_ROWS));
    }

    #[test]
    fn the_largest_status_file_can_be_read_by_others() {
        let long = || "ü".repeat(100_000);
        let finding =
            FindingRow { message: long(), hint: Some(long()), file: long(), ..FindingRow::default() };
        let name = "n".repeat(253);
        let task = TaskRow { name: name.clone(), spawner: Some(name.clone()), ..TaskRow::default() };
        let spawner = SpawnerRow { name, schedule: Some("* * * * *".to_owned()), ..SpawnerRow::default() };
        let status = Status {
            message: Some(long()),
            findings: Findings { total: 5_000, errors: 5_000, items: vec![finding; 5_000] },
            tasks: Rows::of(vec![task; 5_000]),
            spawners: Rows::of(vec![spawner; 5_000]),
            ..Status::default()
        };
        let input = ReportInput {
            writer: WriterName::parse("a").unwrap(),
            generation: 0,
            time: Timestamp::UNIX_EPOCH,
            status,
            recent: Vec::new(),
            retention_days: None,
        };
        let (_, bytes) = render(&input).pop().unwrap();
        assert!(u64::try_from(bytes.len()).unwrap() < crate::ledger::index::STATUS_LIMIT, "{}", bytes.len());
        let file: StatusFile = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((file.status.findings.items.len(), file.status.findings.total), (FINDING_ROWS, 5_000));
        assert_eq!(file.status.message.unwrap().chars().count(), TEXT_LIMIT + 1);
    }

    #[test]
    fn a_status_file_is_read_back_also_when_fields_are_missing() {
        let input = ReportInput {
            writer: WriterName::parse("default.config").unwrap(),
            generation: 7,
            time: Timestamp::UNIX_EPOCH,
            status: Status { state: "Ready".to_owned(), ..Status::default() },
            recent: Vec::new(),
            retention_days: None,
        };
        let files = render(&input);
        let (path, bytes) = &files[1];
        assert_eq!(path, "default.config/status.json");
        assert_eq!(serde_json::from_slice::<StatusFile>(bytes).unwrap(), status_file(&input));
        let later = ReportInput { time: "2026-03-01T00:00:00Z".parse().unwrap(), ..input };
        assert_eq!(render(&later), files, "time alone changes nothing");
        let short: StatusFile =
            serde_json::from_str(r#"{"schemaVersion":1,"writer":"a","generation":2,"x":1}"#).unwrap();
        assert_eq!((short.generation, short.status.state.as_str()), (2, ""));
    }
}
