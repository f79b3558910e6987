//! Puts reports and ledger lines on the branch.
//!
//! One attempt: ask where the branch is, fetch that commit if it is new, build ours on it, push it with a
//! lease on it. If somebody else was faster, the attempt is repeated on what they wrote. What was written
//! before is recognised by the uid of the Task, so a push whose answer was lost, a crash, or a second writer
//! of the same name never doubles a line.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Span};

use crate::digest;
use crate::git::error::{GitError, GitErrorClass};
use crate::git::id::CommitId;
use crate::git::program::{Git, Limits, PushError};
use crate::git::reference::{RefName, Reference};
use crate::git::remote::Remote;
use crate::git::repository::{Change, Repository, Signature};
use crate::ledger::index;
use crate::ledger::line::{LedgerLine, day_of, part_path, uid_of};
use crate::ledger::report::{ReportInput, StatusFile, render};

/// The trailer that names the writer of a commit.
pub const WRITER_TRAILER: &str = "Kelos-Writer";

/// The trailer with the generation of the lease under which a commit was made.
pub const GENERATION_TRAILER: &str = "Kelos-Generation";

/// A part of a day that has this many bytes is followed by another one: some 2,000 runs. Each report writes the last
/// part anew.
const PART_SIZE: usize = 1 << 20;

/// The largest part of a day that is read, in bytes; a larger one is not ours, and the next part is used.
pub(super) const PART_LIMIT: u64 = 4 << 20;

/// Most parts of a day: some two million runs.
const PARTS: u32 = 1_000;

/// How much of the ledgers of other folders is read for one day, in bytes.
const OTHERS_LIMIT: u64 = 64 << 20;

/// Most names that are looked at in one folder of the branch.
pub(super) const NAMES_LIMIT: usize = 10_000;

/// Writes to one branch of one remote.
#[derive(Debug, Clone)]
pub struct Writer {
    git: Git,
    folder: PathBuf,
    remote: Remote,
    branch: RefName,
    author: Signature,
    attempts: u32,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The commit that was pushed; `None` when the branch said all of it already.
    pub commit: Option<CommitId>,
    /// Where the branch is: `commit`, or the commit that said it.
    pub head: CommitId,
    /// The uids of all records that were given: their lines are on the remote.
    pub confirmed: Vec<String>,
    /// The uids of those whose lines were not there before.
    pub added: Vec<String>,
}

/// Why nothing was written. Nothing is lost: the same call may be repeated at any time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Others were faster in every attempt: try again soon.
    #[error("the branch moved during each of {attempts} attempts")]
    Contended { attempts: u32 },
    /// The server does not want our commits: a person has to act.
    #[error("the server refuses the report: {reason}")]
    Refused { reason: String },
    /// Somebody with a later lease wrote under our name: this process must stop writing.
    #[error(
        "another daemon wrote as {writer} under a later lease ({theirs}, ours is {ours}); give one of the two another \
         spec.report.writer, or remove the folder {writer} from the branch if nobody else writes to it"
    )]
    Fenced { writer: String, theirs: u64, ours: u64 },
    /// Somebody filled the places of our files.
    #[error(
        "all files for a day at {path} are taken by something that cannot be read; remove them from the branch"
    )]
    Obstructed { path: String },
    /// The remote or our copy of it failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// What is written.
#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    /// The report, and lines.
    Report(&'a [LedgerLine]),
    /// Lines alone.
    Lines(&'a [LedgerLine]),
}

impl<'a> Content<'a> {
    fn lines(self) -> &'a [LedgerLine] {
        match self {
            Self::Report(lines) | Self::Lines(lines) => lines,
        }
    }
}

/// What one attempt came to.
enum Attempt {
    Done(Written),
    Overtaken,
}

/// Returns the folder, below that of all copies of repositories, with the copy of the status branch of a ConfigRepository.
pub fn copy_of(repositories: &Path, uid: &str) -> PathBuf {
    repositories.join(format!("{uid}-report.git"))
}

impl Writer {
    /// Returns a writer to `branch` of `remote` that keeps its copy of the branch in `folder`, which no other
    /// writer uses.
    pub fn new(git: Git, folder: PathBuf, remote: Remote, branch: RefName, author: Signature) -> Self {
        Self { git, folder, remote, branch, author, attempts: 8 }
    }

    /// Sets how often one call tries again when others are faster; 8 unless told otherwise.
    #[must_use]
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    /// Brings the branch to say what `input` and `records` say, and returns when the remote has it.
    ///
    /// Blocks, at most for the time of `limits` in each exchange with the remote. A record whose line is on
    /// the branch already is not written again and counts as confirmed.
    pub fn write(
        &self,
        input: &ReportInput,
        records: &[LedgerLine],
        limits: Limits<'_>,
    ) -> Result<Written, LedgerError> {
        self.repeat(input, Content::Report(records), limits)
    }

    /// Brings the branch to hold the lines of `records` and changes nothing else on it, as [`Writer::write`] does.
    ///
    /// For a branch that is kept for an earlier year. Does nothing when there are no records.
    pub fn append(
        &self,
        input: &ReportInput,
        records: &[LedgerLine],
        limits: Limits<'_>,
    ) -> Result<Option<Written>, LedgerError> {
        if records.is_empty() {
            return Ok(None);
        }
        self.repeat(input, Content::Lines(records), limits).map(Some)
    }

    fn repeat(
        &self,
        input: &ReportInput,
        content: Content<'_>,
        limits: Limits<'_>,
    ) -> Result<Written, LedgerError> {
        let mut mended = false;
        let mut attempt = 0;
        while attempt < self.attempts {
            match self.attempt(input, content, limits) {
                Ok(Attempt::Done(written)) => return Ok(written),
                Ok(Attempt::Overtaken) => {
                    attempt += 1;
                    std::thread::sleep(pause(attempt, input.writer.as_str()));
                }
                // Our copy holds nothing that is not on the remote, so a damaged one is made anew, once.
                Err(LedgerError::Git(error)) if error.class() == GitErrorClass::Corrupt && !mended => {
                    mended = true;
                    Repository::recreate(&self.folder)?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::Contended { attempts: self.attempts })
    }

    fn attempt(
        &self,
        input: &ReportInput,
        content: Content<'_>,
        limits: Limits<'_>,
    ) -> Result<Attempt, LedgerError> {
        let records = content.lines();
        let repository = Repository::open_or_create(&self.folder)?;
        if repository.is_untidy() {
            self.git.collect_garbage(&repository, limits)?;
        }
        let head = self.head(&repository, limits)?;
        // What was just fetched lies in a pack that an older handle does not know.
        let repository = Repository::open_or_create(&self.folder)?;
        let branch = Branch { repository: &repository, head };
        branch.check_generation(input)?;
        let (changes, added) = branch.changes(input, content)?;
        let written = |commit: Option<CommitId>, head: CommitId, added: Vec<String>| {
            let confirmed = records.iter().map(|line| line.task_uid.clone()).collect();
            Attempt::Done(Written { commit, head, confirmed, added })
        };
        let message = message(input, content, added.len());
        let built = repository.build_commit(head, &changes, &self.author, input.time, &message)?;
        let commit = match (built, head) {
            (Some(commit), _) => commit,
            (None, Some(head)) => {
                return Ok(written(None, head, Vec::new()));
            }
            (None, None) => unreachable!("because what is written has files and an empty branch has none"),
        };
        match self.git.push(&repository, &self.remote, commit, &self.branch, head, limits) {
            Ok(()) => Ok(written(Some(commit), commit, added)),
            Err(PushError::Stale) => Ok(Attempt::Overtaken),
            Err(PushError::Refused { reason }) => Err(LedgerError::Refused { reason }),
            Err(PushError::NotForward) => {
                unreachable!("because the commit was built on the head that is expected")
            }
            Err(PushError::Git(error)) => Err(LedgerError::Git(error)),
        }
    }

    /// Returns where the branch is, with that commit in our copy; `None` when there is no branch.
    fn head(&self, repository: &Repository, limits: Limits<'_>) -> Result<Option<CommitId>, LedgerError> {
        let reference = Reference::Branch(self.branch.clone());
        let head = match repository.resolve(&self.remote, &reference) {
            Ok(head) => head,
            Err(GitError::RefMissing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if repository.has_commit(head) {
            return Ok(Some(head));
        }
        match repository.fetch(&self.remote, &reference, limits.interrupt) {
            Ok(fetched) => Ok(Some(fetched)),
            // It was deleted between the two questions.
            Err(GitError::RefMissing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What the branch holds at one commit.
struct Branch<'a> {
    repository: &'a Repository,
    head: Option<CommitId>,
}

impl Branch<'_> {
    /// Invariant: no report is built on one that was made under a later lease.
    fn check_generation(&self, input: &ReportInput) -> Result<(), LedgerError> {
        let theirs = match self.reading(input.writer.as_str(), index::STATUS_LIMIT)? {
            Some((index::Reading::Known(file), _)) => file.generation,
            Some((index::Reading::Newer | index::Reading::Unreadable, _)) | None => 0,
        };
        if theirs > input.generation {
            return Err(LedgerError::Fenced {
                writer: input.writer.to_string(),
                theirs,
                ours: input.generation,
            });
        }
        Ok(())
    }

    /// Returns what changes, and the uids of the lines that are new.
    fn changes(
        &self,
        input: &ReportInput,
        content: Content<'_>,
    ) -> Result<(Vec<Change>, Vec<String>), LedgerError> {
        let mut changes: Vec<Change> = Vec::new();
        let mut added = Vec::new();
        let mut days = BTreeMap::<Date, Vec<&LedgerLine>>::new();
        for record in content.lines() {
            days.entry(record.day()).or_default().push(record);
        }
        for (day, lines) in &days {
            self.add_lines(input, *day, lines, &mut changes, &mut added)?;
        }
        if matches!(content, Content::Lines(_)) {
            return Ok((changes, added));
        }
        changes.extend(render(input).into_iter().map(|(path, content)| (path, Some(content))));
        if let Some(kept) = input.retention_days {
            let today = input.time.to_zoned(jiff::tz::TimeZone::UTC).date();
            let oldest = today.saturating_sub(Span::new().days(i64::from(kept.min(36_500))));
            let written: BTreeSet<Date> = days.keys().copied().collect();
            changes.extend(self.expired(input, oldest, &written)?);
        }
        let own = crate::ledger::report::status_file(input);
        changes.push(("README.md".to_owned(), Some(self.index(own)?.into_bytes())));
        Ok((changes, added))
    }

    /// Adds the lines of a day that none of its parts has; they go to the end of the last part.
    fn add_lines(
        &self,
        input: &ReportInput,
        day: Date,
        lines: &[&LedgerLine],
        changes: &mut Vec<Change>,
        added: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let path = |part: u32| format!("{}/{}", input.writer, part_path(day, part));
        let mut known = HashSet::new();
        let (mut part, mut content) = (1, Vec::new());
        loop {
            match self.read(&path(part), PART_LIMIT) {
                Ok(Some(bytes)) => {
                    known.extend(String::from_utf8_lossy(&bytes).lines().filter_map(uid_of));
                    content = bytes.to_vec();
                }
                Ok(None) => {
                    // What is no file gives way; behind a file that has room there is no need of another.
                    if part > 1 && !content.is_empty() && content.len() < PART_SIZE {
                        part -= 1;
                    } else {
                        content.clear();
                    }
                    break;
                }
                Err(LedgerError::Git(GitError::TooLarge { .. })) => content.clear(),
                Err(error) => return Err(error),
            }
            part += 1;
            if part > PARTS {
                return Err(LedgerError::Obstructed { path: path(1) });
            }
        }
        let mut lines: Vec<&LedgerLine> =
            lines.iter().copied().filter(|line| !known.contains(&line.closed().task_uid)).collect();
        if lines.is_empty() {
            return Ok(());
        }
        known.extend(self.lines_of_others(input, day)?);
        lines.sort_by(|left, right| {
            (left.completion_time, &left.task_uid).cmp(&(right.completion_time, &right.task_uid))
        });
        let mut is_changed = false;
        for line in lines {
            if !known.insert(line.closed().task_uid) {
                continue;
            }
            if content.len() >= PART_SIZE {
                changes.push((path(part), Some(std::mem::take(&mut content))));
                part += 1;
            }
            // Somebody may have taken the end of the last line away.
            if content.last().is_some_and(|&last| last != b'\n') {
                content.push(b'\n');
            }
            content.extend(line.to_json().into_bytes());
            added.push(line.task_uid.clone());
            is_changed = true;
        }
        if is_changed {
            changes.push((path(part), Some(content)));
        }
        Ok(())
    }

    /// Returns the uids of the lines that other folders have for a day.
    ///
    /// A writer that was given another name, or that took over from one, finds there what was written before: a run
    /// has one line on the branch, in whatever folder.
    fn lines_of_others(&self, input: &ReportInput, day: Date) -> Result<HashSet<String>, LedgerError> {
        let mut known = HashSet::new();
        let mut left = OTHERS_LIMIT;
        for folder in self.folders()?.into_iter().filter(|folder| folder != input.writer.as_str()) {
            for part in 1..=PARTS {
                match self.read(&format!("{folder}/{}", part_path(day, part)), PART_LIMIT.min(left)) {
                    Ok(Some(bytes)) => {
                        left -= left.min(bytes.len() as u64);
                        known.extend(String::from_utf8_lossy(&bytes).lines().filter_map(uid_of));
                    }
                    Ok(None) => break,
                    Err(LedgerError::Git(GitError::TooLarge { .. })) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(known)
    }

    /// Returns the folders at the root of the branch, as many as are looked at.
    fn folders(&self) -> Result<Vec<String>, LedgerError> {
        let Some(head) = self.head else { return Ok(Vec::new()) };
        let names = self.repository.names(head, "", NAMES_LIMIT)?;
        Ok(names.into_iter().filter(|name| name.is_folder).map(|name| name.name).collect())
    }

    /// Returns the removal of all files of days before `oldest`, except those that are written now.
    fn expired(
        &self,
        input: &ReportInput,
        oldest: Date,
        written: &BTreeSet<Date>,
    ) -> Result<Vec<Change>, LedgerError> {
        let Some(head) = self.head else {
            return Ok(Vec::new());
        };
        let ledger = format!("{}/ledger", input.writer);
        let mut changes = Vec::new();
        for year in self.repository.names(head, &ledger, NAMES_LIMIT)? {
            let Some(number) = year.name.parse::<i16>().ok().filter(|_| year.is_folder) else {
                continue;
            };
            let folder = format!("{ledger}/{}", year.name);
            for file in self.repository.names(head, &folder, NAMES_LIMIT)? {
                let day = day_of(number, &file.name);
                if day.is_some_and(|day| day < oldest && !written.contains(&day)) {
                    changes.push((format!("{folder}/{}", file.name), None));
                }
            }
        }
        Ok(changes)
    }

    fn index(&self, own: StatusFile) -> Result<String, LedgerError> {
        let mut writers = BTreeMap::new();
        let mut left = index::STATUS_BUDGET;
        for folder in self.folders()?.into_iter().filter(|folder| *folder != own.writer) {
            if writers.len() >= index::WRITERS {
                break;
            }
            let limit = index::STATUS_LIMIT.min(left);
            if let Some((reading, size)) = self.reading(&folder, limit)? {
                left -= size.min(left);
                writers.insert(folder, reading);
            }
        }
        writers.insert(own.writer.clone(), index::Reading::Known(Box::new(own)));
        Ok(index::render(&writers))
    }

    /// Reads the `status.json` of a writer of at most `limit` bytes, and returns its size; `None` when it has none.
    fn reading(&self, writer: &str, limit: u64) -> Result<Option<(index::Reading, u64)>, LedgerError> {
        match self.read(&format!("{writer}/status.json"), limit) {
            Ok(bytes) => Ok(bytes.map(|bytes| (index::read(&bytes), bytes.len() as u64))),
            Err(LedgerError::Git(GitError::TooLarge { .. })) => Ok(Some((index::Reading::Unreadable, 0))),
            Err(error) => Err(error),
        }
    }

    fn read(&self, path: &str, max: u64) -> Result<Option<bytes::Bytes>, LedgerError> {
        match self.head {
            Some(head) => Ok(self.repository.read_path(head, path, max)?),
            None => Ok(None),
        }
    }
}

fn message(input: &ReportInput, content: Content<'_>, runs: usize) -> String {
    let writer = &input.writer;
    let runs = match runs {
        0 => None,
        1 => Some("1 run".to_owned()),
        more => Some(format!("{more} runs")),
    };
    let subject = match (content, runs) {
        (Content::Report(_), Some(runs)) => format!("{writer}: report and {runs}"),
        (Content::Report(_), None) => format!("{writer}: report"),
        (Content::Lines(_), runs) => format!("{writer}: {}", runs.unwrap_or_default()),
    };
    format!("{subject}\n\n{WRITER_TRAILER}: {writer}\n{GENERATION_TRAILER}: {}\n", input.generation)
}

/// Returns how long to wait after losing a race, longer each time and different for each writer and call.
fn pause(attempt: u32, writer: &str) -> Duration {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let hash = digest::short_hex(format!("{writer} {call} {}", std::process::id()), 4);
    let share = u64::from_str_radix(&hash, 16).unwrap_or_default();
    // The four digits stand for a share of 65536 parts.
    let longest = SignedDuration::from_millis(40).as_millis().unsigned_abs() * u128::from(attempt.min(10));
    Duration::from_millis(u64::try_from(longest).unwrap_or(400) * share / 65_536)
}
