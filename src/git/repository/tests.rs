use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::git::error::GitErrorClass;
use crate::git::reference::Reference;
use crate::git::remote::{Remote, RemoteUrl};
use crate::git::testing::{Server, choose_cryptography, git_in, limits};
use crate::git::tree::{EntryKind, Files as _, OddityReason, TreeLimits};

fn main() -> Reference {
    Reference::branch("main").unwrap()
}

fn open(server: &Server) -> Repository {
    Repository::open_or_create(&server.beside("ours.git")).unwrap()
}

fn fetch(server: &Server, reference: &Reference) -> Result<CommitId, GitError> {
    open(server).fetch(&server.remote(), reference, &AtomicBool::new(false))
}

fn signature() -> Signature {
    Signature { name: "Kelos".to_owned(), email: "kelos@example.com".to_owned() }
}

#[test]
fn what_was_half_made_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.git");
    for half_made in [&path, &path.with_extension("making")] {
        std::fs::create_dir_all(half_made.join("objects")).unwrap();
        std::fs::write(half_made.join("config"), "[core]\n").unwrap();
    }
    Repository::open_or_create(&path).unwrap();
    Repository::open_or_create(&path).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["ours.git"]);
}

#[test]
fn a_branch_is_resolved_fetched_and_read() {
    let server = Server::with_files(&[("kelos.yaml", "a: 1\n"), ("tasks/b/c.yaml", "c: 1\n")]);
    let tip = server.tip("main").unwrap();
    let repository = open(&server);
    assert_eq!(repository.resolve(&server.remote(), &main()), Ok(tip));
    assert!(!repository.has_commit(tip), "resolving fetches nothing");
    assert_eq!(fetch(&server, &main()), Ok(tip));
    let repository = open(&server);
    let revision = repository.revision(tip, "", &TreeLimits::default()).unwrap().unwrap();
    let paths: Vec<_> = revision.tree().entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["kelos.yaml", "tasks/b/c.yaml"]);
    let entry = revision.tree().entry("tasks/b/c.yaml").unwrap();
    assert_eq!((entry.kind, entry.size), (EntryKind::File, 5));
    assert_eq!(revision.read(entry, 5).unwrap(), "c: 1\n");
    assert!(matches!(revision.read(entry, 4), Err(GitError::TooLarge { limit: 4, .. })));
    assert_eq!(repository.read_path(tip, "tasks/b/c.yaml", 100).unwrap().unwrap(), "c: 1\n");
    assert_eq!(repository.read_path(tip, "tasks/b", 100).unwrap(), None);
    assert_eq!(repository.read_path(tip, "tasks/../kelos.yaml", 100).unwrap(), None);
    let info = repository.commit_info(tip).unwrap();
    assert_eq!((info.author.as_str(), info.time.to_string().as_str()), ("Tester", "2026-03-01T09:00:00Z"));
}

#[test]
fn a_folder_is_recognised_by_its_id_across_commits() {
    let server = Server::with_files(&[("a/x.yaml", "x\n"), ("b/y.yaml", "y\n")]);
    let first = fetch(&server, &main()).unwrap();
    server.push("main", &[("b/y.yaml", "z\n")]);
    let second = fetch(&server, &main()).unwrap();
    assert_ne!(first, second);
    let repository = open(&server);
    let id = |commit, path| repository.tree_id(commit, path).unwrap();
    assert_eq!(id(first, "a"), id(second, "a"));
    assert_ne!(id(first, "b"), id(second, "b"));
    assert_ne!(id(first, ""), id(second, ""));
    assert_eq!(id(second, "c"), None);
    assert_eq!(id(second, "a/x.yaml"), None, "a file is no folder");
    let tree = repository.tree(second, "b", &TreeLimits::default()).unwrap().unwrap();
    assert_eq!(tree.entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["y.yaml"]);
}

#[test]
fn the_default_branch_is_followed() {
    let server = Server::with_files(&[("a", "1")]);
    let tip = server.push("trunk", &[("a", "2")]);
    server.server(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    assert_eq!(open(&server).resolve(&server.remote(), &Reference::DefaultBranch), Ok(tip));
    assert_eq!(fetch(&server, &Reference::DefaultBranch), Ok(tip));
    server.server(&["symbolic-ref", "HEAD", "refs/heads/gone"]);
    let error = fetch(&server, &Reference::DefaultBranch).unwrap_err();
    assert!(error.to_string().ends_with("has no default branch"), "{error}");
}

#[test]
fn only_the_newest_commit_is_fetched() {
    let server = Server::with_files(&[("a", "1")]);
    let first = server.tip("main").unwrap();
    let second = server.push("main", &[("a", "2")]);
    assert_eq!(fetch(&server, &main()), Ok(second));
    assert!(!open(&server).has_commit(first));
}

#[test]
fn a_rewritten_history_is_followed() {
    let server = Server::with_files(&[("a", "1")]);
    fetch(&server, &main()).unwrap();
    server.work(&["checkout", "--quiet", "--orphan", "other"]);
    let rewritten = server.push("main", &[("a", "other")]);
    assert_eq!(fetch(&server, &main()), Ok(rewritten));
    assert_eq!(open(&server).read_path(rewritten, "a", 10).unwrap().unwrap(), "other");
}

#[test]
fn tags_and_commits_are_followed_to_the_commit() {
    let server = Server::with_files(&[("a", "1")]);
    let first = server.tip("main").unwrap();
    server.work(&["tag", "light"]);
    server.work(&["tag", "-a", "-m", "one", "inner"]);
    server.work(&["tag", "-a", "-m", "two", "outer", "inner"]);
    server.work(&["push", "--quiet", "--tags", "origin"]);
    server.push("main", &[("a", "2")]);
    for tag in ["light", "inner", "outer"] {
        let tag = Reference::tag(tag).unwrap();
        assert_eq!(open(&server).resolve(&server.remote(), &tag), Ok(first), "{tag}");
        assert_eq!(fetch(&server, &tag), Ok(first), "{tag}");
    }
    let other = Server::with_files(&[("a", "1")]);
    let commit = other.tip("main").unwrap();
    other.push("main", &[("a", "2")]);
    assert_eq!(fetch(&other, &Reference::Commit(commit)), Ok(commit));
    assert_eq!(open(&other).read_path(commit, "a", 10).unwrap().unwrap(), "1");
}

#[test]
fn a_tag_of_a_file_is_no_revision() {
    let server = Server::with_files(&[("a", "1")]);
    server.work(&["tag", "blob", "HEAD:a"]);
    server.work(&["push", "--quiet", "--tags", "origin"]);
    let error = fetch(&server, &Reference::tag("blob").unwrap()).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::Unsupported, "{error}");
}

#[test]
fn what_is_missing_is_named() {
    let server = Server::with_files(&[("a", "1")]);
    let missing = Reference::branch("mai").unwrap();
    let error = open(&server).resolve(&server.remote(), &missing).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::RefMissing, "{error}");
    assert!(error.to_string().ends_with("has no branch mai"), "{error}");
    assert_eq!(fetch(&server, &missing).unwrap_err().class(), GitErrorClass::RefMissing);
    let commit = Reference::commit("0123456789012345678901234567890123456789").unwrap();
    let error = fetch(&server, &commit).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::RefMissing, "{error}");
    let nowhere = |text: &str| Remote::new(RemoteUrl::parse(text).unwrap(), None).unwrap();
    for url in ["/no/such/repository", server.beside("work/a").to_str().unwrap()] {
        let error = open(&server).resolve(&nowhere(url), &main()).unwrap_err();
        assert_eq!(error.class(), GitErrorClass::NotFound, "{url}: {error}");
    }
    let empty = Server::new();
    assert_eq!(fetch(&empty, &main()).unwrap_err().class(), GitErrorClass::RefMissing);
}

#[test]
fn a_server_that_does_not_answer_is_unreachable() {
    choose_cryptography();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = RemoteUrl::parse(&format!("http://{closed}/config.git")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open_or_create(&folder.path().join("a")).unwrap();
    let error = repository.resolve(&Remote::new(url, None).unwrap(), &main()).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::Unreachable, "{error}");
}

#[test]
fn answers_of_a_web_server_are_told_apart() {
    choose_cryptography();
    let cases = [
        ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", GitErrorClass::Unauthenticated),
        ("403 Forbidden", GitErrorClass::Unauthenticated),
        ("404 Not Found", GitErrorClass::NotFound),
        ("429 Too Many Requests\r\nRetry-After: 60", GitErrorClass::Unreachable),
        ("502 Bad Gateway", GitErrorClass::Unreachable),
        ("200 OK\r\nContent-Type: text/html", GitErrorClass::Unsupported),
    ];
    for (status, class) in cases {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/config.git", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                use std::io::{BufRead as _, BufReader, Write as _};
                let mut stream = stream.unwrap();
                let reader = BufReader::new(stream.try_clone().unwrap());
                let headers =
                    reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).count();
                assert!(headers > 0);
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::open_or_create(&folder.path().join("a")).unwrap();
        let remote = Remote::new(RemoteUrl::parse(&url).unwrap(), None).unwrap();
        let error = repository.resolve(&remote, &main()).unwrap_err();
        assert_eq!(error.class(), class, "{status}: {error}");
    }
}

#[test]
fn a_fetch_is_stopped_by_the_flag() {
    let server = Server::with_files(&[("a", "1")]);
    let result = open(&server).fetch(&server.remote(), &main(), &AtomicBool::new(true));
    assert_eq!(result.unwrap_err().class(), GitErrorClass::Interrupted);
}

#[test]
fn a_fetch_that_brings_too_much_is_stopped() {
    let server = Server::new();
    // What cannot be compressed: 32 MiB take many looks to arrive.
    let mut random = fastrand::Rng::with_seed(7);
    let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(32 << 20).collect();
    server.push("main", &[("noise", &noise)]);
    let remote = server.remote().with_fetch_limit(100_000);
    let error = open(&server).fetch(&remote, &main(), &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::TooLarge, "{error}");
    let packs = server.beside("ours.git/objects/pack");
    let left = std::fs::read_dir(packs).map_or(0, Iterator::count);
    assert_eq!(left, 0, "what was cut off is removed");
}

#[test]
fn many_fetches_through_fresh_handles_work_and_packs_are_joined() {
    let server = Server::with_files(&[("a", "0")]);
    let mut tips = Vec::new();
    for number in 1..=41 {
        let tip = server.push("main", &[("a", &number.to_string())]);
        assert_eq!(fetch(&server, &main()), Ok(tip));
        tips.push(tip);
    }
    let repository = open(&server);
    assert_eq!(repository.kept("here"), Ok(None));
    repository.keep("here", tips[10]).unwrap();
    repository.keep("here", tips[20]).unwrap();
    assert!(repository.is_untidy());
    let tip = server.tip("main").unwrap();
    let git = crate::git::testing::git();
    git.collect_garbage(&repository, limits()).unwrap();
    assert!(!repository.is_untidy());
    let repository = open(&server);
    assert_eq!(repository.read_path(tip, "a", 10).unwrap().unwrap(), "41");
    assert_eq!(repository.read_path(tips[20], "a", 10).unwrap().unwrap(), "21", "it is kept");
    assert_eq!(repository.kept("here"), Ok(Some(tips[20])));
    assert!(!repository.has_commit(tips[10]) && !repository.has_commit(tips[30]));
    assert_eq!(fetch(&server, &main()), Ok(tip));
}

#[test]
fn odd_names_are_set_apart_and_never_entries() {
    let server = Server::with_files(&[("good.yaml", "1\n")]);
    let blob = server.work(&["rev-parse", "HEAD:good.yaml"]);
    let tree_of = |listing: &[u8]| {
        std::fs::write(server.beside("listing"), listing).unwrap();
        let script = format!(
            "git -C '{}' mktree < '{}'",
            server.beside("work").display(),
            server.beside("listing").display()
        );
        let output = crate::process::command("/bin/sh")
            .env("PATH", crate::git::testing::SEARCH_PATH)
            .args(["-c", &script])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let inner = tree_of(format!("100644 blob {blob}\tinner.yaml\n").as_bytes());
    let mut listing = Vec::new();
    let names: [&[u8]; 8] = [b"..", b".git", b".GIT ", b"git~1", b"a\\\\b", b"\\377", b"cr\\r", b"ok.yaml"];
    for name in names {
        let quoted = [b"\"".as_slice(), name, b"\""].concat();
        listing.extend(format!("100644 blob {blob}\t").into_bytes());
        listing.extend(quoted);
        listing.push(b'\n');
    }
    listing.extend(format!("040000 tree {inner}\tdir\n").into_bytes());
    listing.extend(format!("040000 tree {inner}\t.git.\n").into_bytes());
    listing.extend(format!("120000 blob {blob}\tlink\n").into_bytes());
    listing.extend(format!("100755 blob {blob}\tscript\n").into_bytes());
    listing.extend(format!("160000 commit {}\tsub\n", "1".repeat(40)).into_bytes());
    let tree = tree_of(&listing);
    let commit = server.work(&["commit-tree", "-m", "odd", &tree]);
    server.work(&["push", "--quiet", "--force", "origin", &format!("{commit}:refs/heads/main")]);
    let commit = fetch(&server, &main()).unwrap();
    let tree = open(&server).tree(commit, "", &TreeLimits::default()).unwrap().unwrap();
    let entries: Vec<_> = tree.entries.iter().map(|entry| (entry.path.as_str(), entry.kind)).collect();
    let expected = [
        ("dir/inner.yaml", EntryKind::File),
        ("link", EntryKind::Link),
        ("ok.yaml", EntryKind::File),
        ("script", EntryKind::Executable),
        ("sub", EntryKind::Submodule),
    ];
    assert_eq!(entries, expected);
    let oddities: Vec<_> = tree.oddities.iter().map(|oddity| (oddity.path.as_str(), oddity.reason)).collect();
    let expected = [
        ("..", OddityReason::NotAName),
        (".GIT ", OddityReason::GitFolder),
        (".git", OddityReason::GitFolder),
        (".git.", OddityReason::GitFolder),
        ("a\\b", OddityReason::Backslash),
        ("cr\\u{d}", OddityReason::ControlCharacter),
        ("git~1", OddityReason::GitFolder),
        ("\u{fffd}", OddityReason::NotUtf8),
    ];
    assert_eq!(oddities, expected);
}

#[test]
fn a_tree_that_multiplies_itself_stops_at_the_limits() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open_or_create(&folder.path().join("a")).unwrap();
    let local = repository.local();
    let blob = local.write_blob(b"x").unwrap().detach();
    let mut id = blob;
    let mut mode = gix::objs::tree::EntryKind::Blob;
    for _ in 0..12 {
        let entries = (0..10)
            .map(|number| gix::objs::tree::Entry {
                mode: mode.into(),
                filename: format!("n{number}").into(),
                oid: id,
            })
            .collect();
        id = local.write_object(gix::objs::Tree { entries }).unwrap().detach();
        mode = gix::objs::tree::EntryKind::Tree;
    }
    let name = gix::actor::SignatureRef { name: "a".into(), email: "b".into(), time: "1 +0000" };
    let commit = local.new_commit_as(name, name, "bomb", id, None::<gix::ObjectId>).unwrap().id;
    let limits = TreeLimits { entries: 1_000, ..TreeLimits::default() };
    let error = repository.tree(commit_id(commit), "", &limits).unwrap_err();
    assert!(matches!(error, GitError::TooLarge { limit: 1_000, .. }), "{error}");
    let shallow = TreeLimits { depth: 3, ..TreeLimits::default() };
    let error = repository.tree(commit_id(commit), "", &shallow).unwrap_err();
    assert!(matches!(error, GitError::TooLarge { limit: 3, .. }), "{error}");
}

#[test]
fn commits_are_built_without_moving_anything() {
    let server = Server::new();
    let repository = open(&server);
    let time = "2026-03-01T09:00:00Z".parse().unwrap();
    let change =
        |path: &str, text: Option<&str>| (path.to_owned(), text.map(|text| text.as_bytes().to_vec()));
    let build =
        |parent, changes: &[Change]| repository.build_commit(parent, changes, &signature(), time, "report\n");
    let first = build(None, &[change("a/b.md", Some("1")), change("c", Some("2"))]).unwrap().unwrap();
    assert_eq!(
        build(Some(first), &[change("a/b.md", Some("1")), change("no", None)]),
        Ok(None),
        "nothing changed"
    );
    let second = build(Some(first), &[change("a/b.md", None), change("d/e", Some("3"))]).unwrap().unwrap();
    let info = repository.commit_info(second).unwrap();
    assert_eq!(
        (info.parents, info.author.as_str(), info.message.as_str()),
        (vec![first], "Kelos", "report\n")
    );
    let tree = repository.tree(second, "", &TreeLimits::default()).unwrap().unwrap();
    assert_eq!(tree.entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["c", "d/e"]);
    let names = repository.names(second, "", 10).unwrap();
    let expected = [("c", false), ("d", true)];
    assert_eq!(names.iter().map(|name| (name.name.as_str(), name.is_folder)).collect::<Vec<_>>(), expected);
    assert_eq!(repository.names(second, "no", 10).unwrap(), []);
    for path in ["../x", "/x", "a//b", ".git/config", "a\nb", ""] {
        let error = build(Some(first), &[change(path, Some("x"))]).unwrap_err();
        assert!(matches!(error, GitError::Path { .. }), "{path:?}: {error}");
    }
    let ours = server.beside("ours.git");
    assert_eq!(git_in(&ours, &["for-each-ref"]), "");
    git_in(&ours, &["update-ref", "refs/heads/x", &second.to_string()]);
    git_in(&ours, &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_damaged_repository_is_recognised_and_made_anew() {
    let server = Server::with_files(&[("a", "1")]);
    let tip = fetch(&server, &main()).unwrap();
    let ours = server.beside("ours.git");
    assert_eq!(ours.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::write(ours.join("config"), "[core\n").unwrap();
    assert_eq!(Repository::open_or_create(&ours).unwrap_err().class(), GitErrorClass::Corrupt);
    let repository = Repository::recreate(&ours).unwrap();
    assert!(!repository.has_commit(tip));
    let error = repository.read_path(tip, "a", 10).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::Corrupt, "{error}");
    assert_eq!(fetch(&server, &main()), Ok(tip));
}
