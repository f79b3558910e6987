use std::collections::HashMap;

use super::*;
use crate::git::testing::{Server, git, git_in, limits};
use crate::ledger::report::{Status, WriterName};

const BRANCH: &str = "kelos-status";

fn writer(server: &Server, copy: &str) -> Writer {
    let author = Signature { name: "Kelos".to_owned(), email: "kelos@example.com".to_owned() };
    Writer::new(git(), server.beside(copy), server.remote(), RefName::parse(BRANCH).unwrap(), author)
}

fn input(name: &str, state: &str) -> ReportInput {
    ReportInput {
        writer: WriterName::parse(name).unwrap(),
        generation: 1,
        time: "2026-03-01T09:00:00Z".parse().unwrap(),
        status: Status { state: state.to_owned(), ..Status::default() },
        recent: Vec::new(),
        retention_days: None,
    }
}

fn line(uid: &str, time: &str) -> LedgerLine {
    LedgerLine::new(uid, "task", "shell", "Succeeded", time.parse().unwrap())
}

fn show(server: &Server, path: &str) -> String {
    server.server(&["show", &format!("{BRANCH}:{path}")])
}

fn files(server: &Server) -> Vec<String> {
    server.server(&["ls-tree", "-r", "--name-only", BRANCH]).lines().map(str::to_owned).collect()
}

/// Counts how often each uid stands in all ledgers of the branch.
fn counts(server: &Server) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for path in files(server).iter().filter(|path| path.contains("/ledger/")) {
        for line in show(server, path).lines().filter(|line| line.starts_with('{')) {
            *counts.entry(uid_of(line).unwrap()).or_insert(0) += 1;
        }
    }
    counts
}

/// Fails unless the branch is one line of commits, each with one parent but the first, and sound.
fn check_history(server: &Server, commits: usize) {
    let log = server.server(&["log", "--format=%H %P", BRANCH]);
    let links: Vec<usize> = log.lines().map(|line| line.split_whitespace().count()).collect();
    let (first, others) = links.split_last().unwrap();
    assert_eq!((links.len(), *first), (commits, 1), "{log}");
    assert!(others.iter().all(|&ids| ids == 2), "{log}");
    server.server(&["fsck", "--strict", "--full"]);
}

#[test]
fn the_first_report_begins_an_orphan_branch() {
    let server = Server::with_files(&[("config.yaml", "a: 1\n")]);
    let lines = [line("u1", "2026-03-01T08:00:00Z"), line("u2", "2026-02-28T08:00:00Z")];
    let written = writer(&server, "copy").write(&input("default.config", "Ready"), &lines, limits()).unwrap();
    assert_eq!(written.commit, server.tip(BRANCH));
    assert_eq!(written.confirmed, ["u1", "u2"]);
    let expected = [
        "README.md",
        "default.config/README.md",
        "default.config/ledger/2026/02-28.jsonl",
        "default.config/ledger/2026/03-01.jsonl",
        "default.config/status.json",
    ];
    assert_eq!(files(&server), expected);
    check_history(&server, 1);
    let message = server.server(&["log", "-1", "--format=%an%n%ae%n%aI%n%B", BRANCH]);
    insta::assert_snapshot!(message, @r"
    Kelos
    kelos@example.com
    2026-03-01T09:00:00+00:00
    default.config: report and 2 runs

    Kelos-Writer: default.config
    Kelos-Generation: 1
    ");
}

#[test]
fn nothing_new_makes_no_commit() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    let lines = [line("u1", "2026-03-01T08:00:00Z")];
    let first = writer.write(&input("a", "Ready"), &lines, limits()).unwrap();
    let later = ReportInput { time: "2026-03-02T09:00:00Z".parse().unwrap(), ..input("a", "Ready") };
    let second = writer.write(&later, &lines, limits()).unwrap();
    let known =
        Written { commit: None, head: first.head, confirmed: vec!["u1".to_owned()], added: Vec::new() };
    assert_eq!(second, known);
    let third = writer.write(&input("a", "Stalled"), &lines, limits()).unwrap();
    assert_eq!(third.commit, server.tip(BRANCH));
    check_history(&server, 2);
    assert_eq!(counts(&server), HashMap::from([("u1".to_owned(), 1)]));
}

#[test]
fn writers_do_not_touch_each_other_and_share_the_index() {
    let server = Server::new();
    writer(&server, "one")
        .write(&input("a", "Ready"), &[line("u1", "2026-03-01T08:00:00Z")], limits())
        .unwrap();
    let before = server.server(&["rev-parse", &format!("{BRANCH}:a")]);
    writer(&server, "two")
        .write(&input("b", "Stalled"), &[line("u2", "2026-03-01T08:00:00Z")], limits())
        .unwrap();
    assert_eq!(server.server(&["rev-parse", &format!("{BRANCH}:a")]), before);
    let index = show(&server, "README.md");
    assert!(index.contains("[`a`](<a/README.md>) | `Ready`"), "{index}");
    assert!(index.contains("[`b`](<b/README.md>) | `Stalled`"), "{index}");
    let again = writer(&server, "one").write(&input("a", "Ready"), &[], limits()).unwrap();
    assert_eq!(again.commit, None, "the index is the same whoever writes it");
}

#[test]
fn many_writers_at_once_lose_and_double_nothing() {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 4;
    let server = Server::new();
    let commits: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WRITERS)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    // The last two share a name, as two daemons that were given the same one.
                    let name = format!("writer-{}", number.min(WRITERS - 2));
                    let writer = writer(server, &format!("copy-{number}"));
                    let mut commits = 0;
                    for round in 0..ROUNDS {
                        let lines: Vec<_> = (0..3)
                            .map(|run| line(&format!("u-{number}-{round}-{run}"), "2026-03-01T08:00:00Z"))
                            .collect();
                        let report = input(&name, &format!("State-{number}-{round}"));
                        let written = loop {
                            match writer.write(&report, &lines, limits()) {
                                Ok(written) => break written,
                                Err(LedgerError::Contended { .. }) => {}
                                Err(error) => panic!("{error}"),
                            }
                        };
                        assert_eq!(written.confirmed.len(), 3);
                        commits += usize::from(written.commit.is_some());
                    }
                    commits
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(commits, WRITERS * ROUNDS);
    check_history(&server, commits);
    let counts = counts(&server);
    assert_eq!(counts.len(), WRITERS * ROUNDS * 3);
    assert!(counts.values().all(|&count| count == 1), "{counts:?}");
}

#[test]
fn a_refused_push_loses_nothing() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    writer.write(&input("a", "Ready"), &[line("u1", "2026-03-01T08:00:00Z")], limits()).unwrap();
    server.hook(Some("echo 'closed for the night' >&2; exit 1"));
    let waiting = [line("u2", "2026-03-01T09:00:00Z"), line("u3", "2026-03-01T10:00:00Z")];
    for count in 1..=2 {
        let error = writer.write(&input("a", "Stalled"), &waiting[..count], limits()).unwrap_err();
        let LedgerError::Refused { reason } = &error else { panic!("{error:?}") };
        assert!(reason.contains("closed for the night"), "{reason}");
    }
    server.hook(None);
    let written = writer.write(&input("a", "Stalled"), &waiting, limits()).unwrap();
    assert_eq!(written.confirmed, ["u2", "u3"]);
    assert_eq!(counts(&server).len(), 3);
    check_history(&server, 2);
}

#[test]
fn a_push_whose_answer_was_lost_is_not_repeated() {
    let server = Server::new();
    let lines = [line("u1", "2026-03-01T08:00:00Z")];
    writer(&server, "copy").write(&input("a", "Ready"), &lines, limits()).unwrap();
    // Another process that knows nothing of the first has the same records to write.
    let written = writer(&server, "other").write(&input("a", "Ready"), &lines, limits()).unwrap();
    assert_eq!(written.commit, None);
    assert_eq!(written.confirmed, ["u1"]);
}

#[test]
fn commits_of_others_are_kept() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    writer.write(&input("a", "Ready"), &[line("u1", "2026-03-01T08:00:00Z")], limits()).unwrap();
    server.work(&["fetch", "--quiet", "origin"]);
    server.work(&["checkout", "--quiet", "-B", "edit", &format!("origin/{BRANCH}")]);
    std::fs::write(server.beside("work/README.md"), "scribbled over\n").unwrap();
    let day = server.beside("work/a/ledger/2026/03-01.jsonl");
    let mut text = std::fs::read_to_string(&day).unwrap();
    text.push_str("a remark without an end");
    std::fs::write(&day, text).unwrap();
    server.push(BRANCH, &[("notes.md", "a note\n"), ("b/file", "x\n")]);
    let written =
        writer.write(&input("a", "Ready"), &[line("u2", "2026-03-01T09:00:00Z")], limits()).unwrap();
    assert_eq!(written.commit, server.tip(BRANCH));
    assert_eq!(show(&server, "notes.md"), "a note");
    assert_eq!(show(&server, "b/file"), "x");
    assert!(show(&server, "README.md").starts_with("# What Kelos does"));
    let day = show(&server, "a/ledger/2026/03-01.jsonl");
    let lines: Vec<&str> = day.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], "a remark without an end");
    assert_eq!([uid_of(lines[0]).as_deref(), uid_of(lines[2]).as_deref()], [Some("u1"), Some("u2")]);
    check_history(&server, 3);
}

#[test]
fn a_rewritten_or_deleted_branch_is_built_upon() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    writer.write(&input("a", "Ready"), &[line("u1", "2026-03-01T08:00:00Z")], limits()).unwrap();
    server.work(&["checkout", "--quiet", "--orphan", "other"]);
    let rewritten = server.push(BRANCH, &[("other.md", "x\n")]);
    let written =
        writer.write(&input("a", "Ready"), &[line("u2", "2026-03-01T08:00:00Z")], limits()).unwrap();
    let parent = server.server(&["rev-parse", &format!("{}^", written.head)]);
    assert_eq!(parent, rewritten.to_string());
    assert_eq!(show(&server, "other.md"), "x");
    server.server(&["update-ref", "-d", &format!("refs/heads/{BRANCH}")]);
    let written =
        writer.write(&input("a", "Ready"), &[line("u3", "2026-03-01T08:00:00Z")], limits()).unwrap();
    assert_eq!(server.tip(BRANCH), written.commit);
    check_history(&server, 1);
    assert_eq!(counts(&server), HashMap::from([("u3".to_owned(), 1)]));
}

#[test]
fn a_writer_with_an_older_lease_is_fenced_off() {
    let server = Server::new();
    let of = |generation: u64, state: &str| ReportInput { generation, ..input("a", state) };
    writer(&server, "one").write(&of(5, "Ready"), &[], limits()).unwrap();
    let error = writer(&server, "two").write(&of(4, "Stalled"), &[], limits()).unwrap_err();
    assert_eq!(error, LedgerError::Fenced { writer: "a".to_owned(), theirs: 5, ours: 4 });
    let lines = [line("u1", "2026-03-01T08:00:00Z")];
    let error = writer(&server, "two").append(&of(4, "Stalled"), &lines, limits()).unwrap_err();
    assert!(matches!(error, LedgerError::Fenced { .. }), "{error}");
    let other = ReportInput { writer: WriterName::parse("b").unwrap(), ..of(1, "Ready") };
    writer(&server, "two").write(&other, &[], limits()).unwrap();
    writer(&server, "two").write(&of(6, "Stalled"), &[], limits()).unwrap();
    check_history(&server, 3);
}

#[test]
fn old_days_go_by_ordinary_commits() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    let lines = ["2025-12-31", "2026-01-29", "2026-01-30", "2026-03-01"]
        .map(|day| line(&format!("u-{day}"), &format!("{day}T08:00:00Z")));
    writer.write(&input("a", "Ready"), &lines, limits()).unwrap();
    let kept = ReportInput { retention_days: Some(30), ..input("a", "Ready") };
    writer.write(&kept, &lines[..1], limits()).unwrap();
    let days = || files(&server).into_iter().filter(|path| path.contains("ledger")).collect::<Vec<_>>();
    // The day that is being written stays, so that its record can be confirmed.
    let expected = ["a/ledger/2025/12-31.jsonl", "a/ledger/2026/01-30.jsonl", "a/ledger/2026/03-01.jsonl"];
    assert_eq!(days(), expected);
    writer.write(&kept, &[], limits()).unwrap();
    assert_eq!(days(), ["a/ledger/2026/01-30.jsonl", "a/ledger/2026/03-01.jsonl"]);
    check_history(&server, 3);
}

#[test]
fn a_damaged_copy_is_made_anew() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    writer.write(&input("a", "Ready"), &[line("u1", "2026-03-01T08:00:00Z")], limits()).unwrap();
    let objects = server.beside("copy/objects");
    for folder in std::fs::read_dir(&objects).unwrap().map(|entry| entry.unwrap().path()) {
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.is_file() {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
                std::fs::write(&file, "rubbish").unwrap();
            }
        }
    }
    writer.write(&input("a", "Stalled"), &[line("u2", "2026-03-01T08:00:00Z")], limits()).unwrap();
    std::fs::write(server.beside("copy/config"), "[core\n").unwrap();
    writer.write(&input("a", "Ready"), &[line("u3", "2026-03-01T08:00:00Z")], limits()).unwrap();
    check_history(&server, 3);
    assert_eq!(counts(&server).len(), 3);
}

#[test]
fn a_copy_is_tidied_and_goes_on() {
    let server = Server::new();
    let one = writer(&server, "one");
    one.write(&input("a", "Ready"), &[], limits()).unwrap();
    let copy = server.beside("one");
    // As many loose objects as months of reports leave behind.
    let folder = copy.join("objects/17");
    std::fs::create_dir_all(&folder).unwrap();
    let mut number = 0;
    while std::fs::read_dir(&folder).unwrap().count() < 30 {
        std::fs::write(server.beside("blob"), number.to_string()).unwrap();
        git_in(&copy, &["hash-object", "-w", server.beside("blob").to_str().unwrap()]);
        number += 256;
        std::fs::write(folder.join(format!("{number:038}")), "").unwrap();
    }
    one.write(&input("a", "Stalled"), &[line("u1", "2026-03-01T08:00:00Z")], limits()).unwrap();
    one.write(&input("a", "Ready"), &[line("u2", "2026-03-01T08:00:00Z")], limits()).unwrap();
    assert_eq!(counts(&server).len(), 2);
    check_history(&server, 3);
}

#[test]
fn lines_alone_touch_nothing_else() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    assert_eq!(writer.append(&input("a", "Ready"), &[], limits()).unwrap(), None);
    assert_eq!(server.tip(BRANCH), None, "nothing to say makes no branch");
    let lines = [line("u1", "2025-12-31T23:59:59Z"), line("u2", "2025-12-31T08:00:00Z")];
    let written = writer.append(&input("a", "Ready"), &lines, limits()).unwrap().unwrap();
    assert_eq!((written.confirmed.len(), written.added.len()), (2, 2));
    assert_eq!(files(&server), ["a/ledger/2025/12-31.jsonl"]);
    let again = writer.append(&input("a", "Ready"), &lines, limits()).unwrap().unwrap();
    assert_eq!((again.commit, again.confirmed.len(), again.added.len()), (None, 2, 0));
    assert!(server.server(&["log", "-1", "--format=%s", BRANCH]).contains("a: 2 runs"));
    check_history(&server, 1);
}

#[test]
fn a_writer_of_another_name_does_not_repeat_what_stands_in_its_old_folder() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    let lines = [line("u1", "2026-03-01T08:00:00Z"), line("u2", "2026-03-01T09:00:00Z")];
    writer.write(&input("default.default", "Ready"), &lines[..1], limits()).unwrap();
    let written = writer.write(&input("laptop", "Ready"), &lines, limits()).unwrap();
    assert_eq!((written.confirmed.len(), written.added), (2, vec!["u2".to_owned()]));
    assert_eq!(counts(&server), HashMap::from([("u1".to_owned(), 1), ("u2".to_owned(), 1)]));
}

#[test]
fn a_day_of_many_runs_has_several_parts_and_no_line_twice() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    let many = |range: std::ops::Range<usize>| -> Vec<LedgerLine> {
        let long = |number: usize| {
            let mut line = line(&format!("u{number}"), "2026-03-01T08:00:00Z");
            line.source_file = Some("f".repeat(200));
            line.spawner = Some("s".repeat(250));
            line.work_item = Some("i".repeat(100));
            line
        };
        range.map(long).collect()
    };
    let written = writer.write(&input("a", "Ready"), &many(0..3_000), limits()).unwrap();
    assert_eq!(written.added.len(), 3_000);
    let days = || files(&server).into_iter().filter(|path| path.contains("ledger")).collect::<Vec<_>>();
    let parts = ["2026/03-01.2.jsonl", "2026/03-01.3.jsonl", "2026/03-01.jsonl"];
    assert_eq!(days(), parts.map(|part| format!("a/ledger/{part}")));
    let first = server.server(&["rev-parse", &format!("{BRANCH}:a/ledger/2026/03-01.jsonl")]);
    let written = writer.write(&input("a", "Ready"), &many(1_000..3_100), limits()).unwrap();
    assert_eq!((written.added.len(), written.confirmed.len()), (100, 2_100));
    assert_eq!(server.server(&["rev-parse", &format!("{BRANCH}:a/ledger/2026/03-01.jsonl")]), first);
    let counts = counts(&server);
    assert_eq!(counts.len(), 3_100);
    assert!(counts.values().all(|&count| count == 1));
}

#[test]
fn what_others_put_in_our_places_loses_no_line() {
    let server = Server::new();
    let writer = writer(&server, "copy");
    writer.write(&input("a", "Ready"), &[line("u1", "2026-03-01T08:00:00Z")], limits()).unwrap();
    server.work(&["fetch", "--quiet", "origin"]);
    server.work(&["checkout", "--quiet", "-B", "edit", &format!("origin/{BRANCH}")]);
    let work = |path: &str| server.beside(&format!("work/{path}"));
    // A file beyond all measure, a link, a folder, and a status that is none.
    std::fs::write(work("a/ledger/2026/03-02.jsonl"), vec![b'x'; 5 << 20]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", work("a/ledger/2026/03-03.jsonl")).unwrap();
    std::fs::create_dir(work("a/ledger/2026/03-04.jsonl")).unwrap();
    std::fs::write(work("a/ledger/2026/03-04.jsonl/x"), "x").unwrap();
    std::fs::write(work("a/status.json"), vec![b'['; 5 << 20]).unwrap();
    std::fs::remove_file(work("README.md")).unwrap();
    std::os::unix::fs::symlink("a/status.json", work("README.md")).unwrap();
    server.push(BRANCH, &[("b/status.json", "{}")]);
    let lines =
        ["01", "02", "03", "04"].map(|day| line(&format!("u-{day}"), &format!("2026-03-{day}T09:00:00Z")));
    let written = writer.write(&input("a", "Stalled"), &lines, limits()).unwrap();
    assert_eq!(written.added.len(), 4);
    let again = writer.write(&input("a", "Stalled"), &lines, limits()).unwrap();
    assert_eq!(again.commit, None, "it is at rest");
    for path in ["a/ledger/2026/03-02.2.jsonl", "a/ledger/2026/03-03.jsonl", "a/ledger/2026/03-04.jsonl"] {
        assert_eq!(show(&server, path).lines().count(), 1, "{path}");
    }
    assert_eq!(server.server(&["ls-tree", BRANCH, "README.md"]).get(..6), Some("100644"));
    assert!(show(&server, "README.md").contains("[`a`](<a/README.md>) | `Stalled`"));
    check_history(&server, 3);
}

#[test]
fn a_hostile_branch_does_no_harm() {
    let server = Server::new();
    server.push(
        BRANCH,
        &[
            ("a", "a file where the folder should be\n"),
            ("evil/status.json", "{\"schemaVersion\":1,\"writer\":[[[\n"),
        ],
    );
    std::fs::remove_file(server.beside("work/a")).unwrap();
    writer(&server, "copy")
        .write(&input("a", "Ready"), &[line("u1", "2026-03-01T08:00:00Z")], limits())
        .unwrap();
    assert_eq!(counts(&server).len(), 1);
    let index = show(&server, "README.md");
    assert!(index.contains("[`evil`](<evil/README.md>) | cannot be read"), "{index}");
}
