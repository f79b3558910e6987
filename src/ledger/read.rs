//! Reads the ledger of a writer back from a commit of the status branch.

use crate::git::error::GitError;
use crate::git::id::CommitId;
use crate::git::repository::Repository;
use crate::ledger::line::{LINE_VERSION, LedgerLine};
use crate::ledger::report::WriterName;
use crate::ledger::writer::{NAMES_LIMIT, PART_LIMIT};

/// Most lines that are kept; a person reads far fewer.
const MOST: usize = 1_000_000;

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    /// The lines that were wanted, the newest day first.
    pub lines: Vec<LedgerLine>,
    /// Lines and files that could not be read, or that a later version wrote.
    pub skipped: usize,
}

/// Returns the lines of `writer` in `commit` for which `wanted` holds.
pub fn read(
    repository: &Repository,
    commit: CommitId,
    writer: &WriterName,
    wanted: impl Fn(&LedgerLine) -> bool,
) -> Result<Read, GitError> {
    let root = format!("{writer}/ledger");
    let mut read = Read::default();
    for year in newest_first(repository, commit, &root, true)? {
        let folder = format!("{root}/{year}");
        for day in newest_first(repository, commit, &folder, false)? {
            // A part that is too large is not ours.
            let Ok(Some(bytes)) = repository.read_path(commit, &format!("{folder}/{day}"), PART_LIMIT) else {
                read.skipped += 1;
                continue;
            };
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice::<LedgerLine>(line) {
                    Ok(line) if line.version <= LINE_VERSION => {
                        if read.lines.len() < MOST && wanted(&line) {
                            read.lines.push(line);
                        }
                    }
                    Ok(_) | Err(_) => read.skipped += 1,
                }
            }
        }
    }
    Ok(read)
}

fn newest_first(
    repository: &Repository,
    commit: CommitId,
    folder: &str,
    folders: bool,
) -> Result<Vec<String>, GitError> {
    let names = repository.names(commit, folder, NAMES_LIMIT)?;
    let mut names: Vec<String> =
        names.into_iter().filter(|name| name.is_folder == folders).map(|name| name.name).collect();
    names.sort_unstable_by(|left, right| right.cmp(left));
    Ok(names)
}
