//! The index of the branch: one row for each writer, made from what the writers' own files say.
//!
//! It is a function of the `status.json` files on the branch alone, so whoever writes last writes the same.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::ledger::markdown::{code, encode_path, instant, link, table};
use crate::ledger::report::{STATUS_VERSION, StatusFile};

/// Most writers that are listed.
pub const WRITERS: usize = 200;

/// The largest `status.json` of another writer that is read, in bytes.
pub const STATUS_LIMIT: u64 = 4 << 20;

/// How much of other writers is read at once, in bytes: many large files would take time and memory from everything else.
pub const STATUS_BUDGET: u64 = 32 << 20;

/// What the `status.json` of a writer says, as far as it can be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// It can be read.
    Known(Box<StatusFile>),
    /// It is of a version after ours.
    Newer,
    /// It is damaged or too large.
    Unreadable,
}

/// Reads the `status.json` of a writer.
pub fn read(bytes: &[u8]) -> Reading {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        schema_version: u32,
    }
    match serde_json::from_slice::<Version>(bytes) {
        Ok(version) if version.schema_version > STATUS_VERSION => Reading::Newer,
        Ok(_) => {
            serde_json::from_slice(bytes).map_or(Reading::Unreadable, |file| Reading::Known(Box::new(file)))
        }
        Err(_) => Reading::Unreadable,
    }
}

/// Returns the index for the writers of a branch, by the names of their folders.
pub fn render(writers: &BTreeMap<String, Reading>) -> String {
    let rows = writers.iter().take(WRITERS).map(|(folder, reading)| {
        let name = link(folder, &format!("{}/README.md", encode_path(folder)));
        match reading {
            Reading::Known(file) => {
                let status = &file.status;
                let revision = status.applied_revision.as_deref().unwrap_or_default();
                let last = file.recent.first();
                let last =
                    last.map(|line| format!("{} {}", code(&line.outcome), instant(line.completion_time)));
                vec![
                    name,
                    code(&status.state),
                    if revision.is_empty() {
                        String::new()
                    } else {
                        code(&revision.chars().take(12).collect::<String>())
                    },
                    status.findings.errors.to_string(),
                    status.spawners.total.to_string(),
                    status.tasks.total.to_string(),
                    last.unwrap_or_default(),
                ]
            }
            Reading::Newer => blank(name, "written by a later version"),
            Reading::Unreadable => blank(name, "cannot be read"),
        }
    });
    let mut lines = vec![
        "# What Kelos does".to_owned(),
        String::new(),
        "This branch is written by Kelos, a folder for each writer. Changes by hand are overwritten."
            .to_owned(),
        String::new(),
    ];
    lines
        .extend(table(&["Writer", "State", "Applied", "Errors", "Spawners", "Unfinished", "Last run"], rows));
    if writers.len() > WRITERS {
        lines.push(String::new());
        lines.push(format!("Shown are {WRITERS} of {}.", writers.len()));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn blank(name: String, why: &str) -> Vec<String> {
    let mut cells = vec![name, why.to_owned()];
    cells.resize(7, String::new());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::line::LedgerLine;
    use crate::ledger::report::Status;

    #[test]
    fn every_writer_has_a_row_whatever_its_file_holds() {
        let time = "2026-03-01T09:00:00Z".parse().unwrap();
        let known = StatusFile {
            schema_version: 1,
            writer: "default.config".to_owned(),
            generation: 3,
            status: Status {
                state: "Ready".to_owned(),
                applied_revision: Some("1".repeat(40)),
                ..Status::default()
            },
            recent: vec![LedgerLine::new("u1", "a", "shell", "Succeeded", time)],
        };
        let bytes = serde_json::to_vec(&known).unwrap();
        assert_eq!(read(&bytes), Reading::Known(Box::new(known)));
        let writers = BTreeMap::from([
            ("default.config".to_owned(), read(&bytes)),
            ("later".to_owned(), read(br#"{"schemaVersion":2,"writer":7}"#)),
            ("odd |`x".to_owned(), read(b"\xff{")),
        ]);
        insta::assert_snapshot!(render(&writers), @r"
        # What Kelos does

        This branch is written by Kelos, a folder for each writer. Changes by hand are overwritten.

        | Writer | State | Applied | Errors | Spawners | Unfinished | Last run |
        | --- | --- | --- | --- | --- | --- | --- |
        | [`default.config`](<default.config/README.md>) | `Ready` | `111111111111` | 0 | 0 | 0 | `Succeeded` 2026-03-01 09:00:00 UTC |
        | [`later`](<later/README.md>) | written by a later version |  |  |  |  |  |
        | [``odd ¦`x``](<odd%20%7C%60x/README.md>) | cannot be read |  |  |  |  |  |
        ");
    }
}
