use std::num::NonZeroU32;

use super::*;
use crate::git::error::GitErrorClass;
use crate::git::id::CommitId;
use crate::git::reference::RefName;
use crate::git::remote::{Credential, RemoteUrl};
use crate::git::repository::{Change, Signature};
use crate::git::testing::{Server, git, git_in, limits, write_script};
use crate::secret::Secret;

fn name(text: &str) -> RefName {
    RefName::parse(text).unwrap()
}

fn repository(server: &Server) -> Repository {
    Repository::open_or_create(&server.beside("ours.git")).unwrap()
}

fn build(server: &Server, parent: Option<CommitId>, text: &str) -> CommitId {
    let signature = Signature { name: "Kelos".to_owned(), email: "kelos@example.com".to_owned() };
    let change: Change = ("report.md".to_owned(), Some(text.as_bytes().to_vec()));
    let time = "2026-03-01T09:00:00Z".parse().unwrap();
    repository(server).build_commit(parent, &[change], &signature, time, "report\n").unwrap().unwrap()
}

fn push(server: &Server, commit: CommitId, expected: Option<CommitId>) -> Result<(), PushError> {
    git().push(&repository(server), &server.remote(), commit, &name("kelos-status"), expected, limits())
}

impl Git {
    /// Asks `remote` for the commit of `branch`; `None` when there is no such branch.
    ///
    /// `folder` is a folder of ours, in which key files may lie during the call.
    fn ls_remote(
        &self,
        folder: &Path,
        remote: &Remote,
        branch: &RefName,
        limits: Limits<'_>,
    ) -> Result<Option<CommitId>, GitError> {
        let call = Call { folder: Some(folder), remote: Some(remote), ..Call::new("ls-remote", limits) };
        let full = format!("refs/heads/{branch}");
        let fixed = ["ls-remote", "--quiet", "--"].map(OsStr::new);
        let output = self.run(&call, fixed.into_iter().chain([remote.url().for_git(), full.as_ref()]))?;
        Ok(output.lines().find_map(|line| {
            let (id, name) = line.split_once('\t')?;
            (name == full).then(|| CommitId::parse(id).ok()).flatten()
        }))
    }
}

#[test]
fn a_git_that_is_missing_or_too_old_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Git::locate(folder.path().as_os_str()).unwrap_err();
    assert!(error.to_string().starts_with("git 2.32 or later is needed"), "{error}");
    let fake = folder.path().join("git");
    write_script(&fake, "#!/bin/sh\necho git version 2.17.1\n");
    let error = Git::locate(folder.path().as_os_str()).unwrap_err();
    assert!(error.to_string().ends_with("is 2.17"), "{error}");
    assert!(git().version() >= MINIMUM_VERSION);
    assert_eq!(parse_version("git version 2.39.5 (Apple Git-154)\n"), Some((2, 39)));
}

#[test]
fn a_branch_is_made_and_moved_forward() {
    let server = Server::with_files(&[("a", "1")]);
    let first = build(&server, None, "1");
    push(&server, first, None).unwrap();
    assert_eq!(server.tip("kelos-status"), Some(first));
    let second = build(&server, Some(first), "2");
    push(&server, second, Some(first)).unwrap();
    assert_eq!(server.tip("kelos-status"), Some(second));
    server.server(&["fsck", "--strict"]);
}

#[test]
fn a_branch_never_moves_by_force() {
    let server = Server::new();
    let first = build(&server, None, "1");
    push(&server, first, None).unwrap();
    let second = build(&server, Some(first), "2");
    let rival = build(&server, Some(first), "rival");
    push(&server, rival, Some(first)).unwrap();
    assert_eq!(push(&server, second, Some(first)), Err(PushError::Stale));
    assert_eq!(push(&server, second, Some(rival)), Err(PushError::NotForward));
    let orphan = build(&server, None, "orphan");
    assert_eq!(push(&server, orphan, None), Err(PushError::Stale));
    assert_eq!(push(&server, orphan, Some(rival)), Err(PushError::NotForward));
    assert_eq!(server.tip("kelos-status"), Some(rival));
}

#[test]
fn a_refusal_of_the_server_is_told_with_its_reason() {
    let server = Server::new();
    server.hook(Some("echo 'only humans may push here' >&2; exit 1"));
    let first = build(&server, None, "1");
    let error = push(&server, first, None).unwrap_err();
    let PushError::Refused { reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("pre-receive hook declined") && reason.contains("only humans"), "{reason}");
    server.hook(None);
    push(&server, first, None).unwrap();
}

#[test]
fn hooks_and_settings_of_the_repository_do_not_run() {
    let server = Server::new();
    let ours = repository(&server);
    let mark = server.beside("mark");
    let hook = ours.path().join("hooks/pre-push");
    write_script(&hook, &format!("#!/bin/sh\ntouch '{}'\n", mark.display()));
    push(&server, build(&server, None, "1"), None).unwrap();
    assert!(!mark.exists());
}

#[test]
fn failures_on_the_way_have_classes() {
    let server = Server::new();
    let commit = build(&server, None, "1");
    let class = |url: &str| {
        let remote = Remote::new(RemoteUrl::parse(url).unwrap(), None).unwrap();
        match git().push(&repository(&server), &remote, commit, &name("s"), None, limits()) {
            Err(PushError::Git(error)) => error.class(),
            other => panic!("{url}: {other:?}"),
        }
    };
    assert_eq!(class("/no/such/repository"), GitErrorClass::NotFound);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(class(&format!("http://{closed}/a")), GitErrorClass::Unreachable);
}

#[test]
fn a_silent_server_is_left_after_the_time_limit() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = RemoteUrl::parse(&format!("http://{}/a", listener.local_addr().unwrap())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let short = Limits { time: Duration::from_millis(300), ..limits() };
    let remote = Remote::new(url, None).unwrap();
    let error = git().ls_remote(folder.path(), &remote, &name("main"), short).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::Timeout, "{error}");
}

#[test]
fn a_token_travels_in_the_environment_bound_to_its_host() {
    let folder = tempfile::tempdir().unwrap();
    // A git that shows what it is given.
    let fake = folder.path().join("git");
    let script = "#!/bin/sh\ncase $1 in version) echo git version 2.40.0;; *) echo \"$@\"; env; echo fatal: t0ken >&2; exit 1;; esac\n";
    write_script(&fake, script);
    let search_path =
        std::env::join_paths([folder.path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let git = Git::locate(&search_path).unwrap();
    let url = RemoteUrl::parse("https://git.example.com:8443/a.git").unwrap();
    let remote = Remote::new(url, Some(Credential::Token(Secret::new("t0ken")))).unwrap();
    let call = Call { folder: Some(folder.path()), remote: Some(&remote), ..Call::new("fetch", limits()) };
    let finished = git.call(&call, ["fetch", "--", "https://git.example.com:8443/a.git"]).unwrap();
    let shown = String::from_utf8(finished.stdout.clone()).unwrap();
    let (arguments, environment) = shown.split_once('\n').unwrap();
    assert!(!arguments.contains("t0ken"));
    assert!(environment.contains("=credential.https://git.example.com:8443.helper\n"), "{environment}");
    assert!(environment.contains("\nKELOS_GIT_PASSWORD=t0ken\n"));
    let settings = environment.lines().filter(|line| line.starts_with("GIT_CONFIG_"));
    assert!(!settings.into_iter().any(|line| line.contains("t0ken")), "{environment}");
    assert!(environment.contains("GIT_TERMINAL_PROMPT=0\n"));
    assert!(!environment.contains("HOME="), "nothing is inherited unless stated");
    let error = call.explain(&finished);
    assert!(!error.to_string().contains("t0ken") && error.to_string().contains("<secret>"), "{error}");
}

/// Returns what git is answered when it asks for a credential of `host`.
fn answered(remote: &Remote, host: &str) -> String {
    let git = git();
    let folder = tempfile::tempdir().unwrap();
    let question = folder.path().join("question");
    std::fs::write(&question, format!("protocol=https\nhost={host}\n\n")).unwrap();
    let file = std::fs::File::open(question).unwrap();
    let call = Call { remote: Some(remote), lock: Some(&file), ..Call::new("credential", limits()) };
    String::from_utf8(git.call(&call, ["credential", "fill"]).unwrap().stdout).unwrap()
}

#[test]
fn git_is_answered_for_the_host_of_the_credential_alone() {
    let url = RemoteUrl::parse("https://git.example.com:8443/a.git").unwrap();
    let password = "t0 $(x) \\n\"'%s";
    let credential = Credential::Basic { user: "me".to_owned(), password: Secret::new(password) };
    let remote = Remote::new(url, Some(credential)).unwrap();
    let answer = answered(&remote, "git.example.com:8443");
    assert!(answer.contains(&format!("username=me\npassword={password}\n")), "{answer}");
    for other in ["git.example.com", "example.com:8443", "git.example.com:8443.evil.example", "evil.example"]
    {
        assert!(!answered(&remote, other).contains("password="), "{other}");
    }
}

fn clone<'a>(remote: &'a Remote, destination: &'a Path) -> CloneRequest<'a> {
    CloneRequest {
        remote,
        mirror: None,
        destination,
        checkout: None,
        depth: Some(NonZeroU32::MIN),
        remotes: &[],
        branch: None,
    }
}

#[test]
fn a_run_gets_a_shallow_copy_of_the_default_branch_by_way_of_the_mirror() {
    let server = Server::with_files(&[("a", "1")]);
    let tip = server.push("main", &[("a", "2")]);
    server.push("other", &[("b", "1")]);
    server.server(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    let remote = server.remote();
    let mirror = server.beside("mirrors/one.git");
    git().update_mirror(&mirror, &remote, limits()).unwrap();
    for mirror in [Some(mirror.as_path()), None] {
        let destination = server.beside(if mirror.is_some() { "run one" } else { "run two" });
        let request = CloneRequest { mirror, ..clone(&remote, &destination) };
        let head = git().clone_for_run(&request, limits()).unwrap();
        assert_eq!(head, Head { branch: Some("main".to_owned()), commit: tip });
        assert_eq!(std::fs::read_to_string(destination.join("a")).unwrap(), "2");
        assert_eq!(git_in(&destination, &["rev-list", "--count", "HEAD"]), "1");
        assert_eq!(git_in(&destination, &["remote", "get-url", "origin"]), server.path().to_str().unwrap());
        assert_eq!(git_in(&destination, &["rev-parse", "--abbrev-ref", "HEAD@{upstream}"]), "origin/main");
        assert!(git_in(&destination, &["branch", "-r"]).contains("origin/other"));
        // What the run does reaches the server and never the mirror.
        git_in(&destination, &["commit", "--quiet", "--allow-empty", "-m", "work"]);
        git_in(
            &destination,
            &["push", "--quiet", "origin", &format!("HEAD:refs/heads/from-{}", mirror.is_some())],
        );
    }
    assert!(server.tip("from-true").is_some() && server.tip("from-false").is_some());
}

#[test]
fn branches_tags_and_commits_are_checked_out() {
    let server = Server::with_files(&[("a", "1")]);
    let first = server.tip("main").unwrap();
    server.work(&["tag", "-a", "-m", "one", "v1"]);
    server.work(&["push", "--quiet", "--tags", "origin"]);
    let second = server.push("feature/x", &[("a", "2")]);
    server.push("main", &[("a", "3")]);
    let remote = server.remote();
    let check = |folder: &str, checkout: &str, branch: Option<&str>, commit: CommitId| {
        let checkout = Checkout::parse(checkout).unwrap();
        let destination = server.beside(folder);
        let request = CloneRequest { checkout: Some(&checkout), ..clone(&remote, &destination) };
        let head = git().clone_for_run(&request, limits()).unwrap();
        assert_eq!(head, Head { branch: branch.map(str::to_owned), commit });
    };
    check("run-1", "feature/x", Some("feature/x"), second);
    check("run-2", "v1", None, first);
    check("run-3", &first.to_string(), None, first);
    let missing = Checkout::parse("nope").unwrap();
    let destination = server.beside("run-4");
    let request = CloneRequest { checkout: Some(&missing), ..clone(&remote, &destination) };
    let error = git().clone_for_run(&request, limits()).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::RefMissing, "{error}");
}

#[test]
fn a_branch_of_the_remote_is_continued_and_another_begun() {
    let server = Server::with_files(&[("a", "1")]);
    let main = server.tip("main").unwrap();
    let work = server.push("task/1", &[("a", "2")]);
    server.server(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    let remote = server.remote();
    let upstream =
        NamedRemote { name: name("upstream"), url: RemoteUrl::parse("https://example.com/a.git").unwrap() };
    let check = |folder: &str, branch: &str, commit: CommitId| {
        let destination = server.beside(folder);
        let branch = name(branch);
        let remotes = [upstream.clone()];
        let request =
            CloneRequest { branch: Some(&branch), remotes: &remotes, ..clone(&remote, &destination) };
        let head = git().clone_for_run(&request, limits()).unwrap();
        assert_eq!(head, Head { branch: Some(branch.to_string()), commit });
        assert_eq!(git_in(&destination, &["remote", "get-url", "upstream"]), "https://example.com/a.git");
        git().set_remote(&destination, &upstream, limits()).unwrap();
    };
    check("run-1", "task/1", work);
    check("run-2", "task/2", main);
    let asked =
        |branch: &str| git().ls_remote(&server.beside("work"), &remote, &name(branch), limits()).unwrap();
    assert_eq!(asked("task/1"), Some(work));
    assert_eq!(asked("task/2"), None);
}

#[test]
fn a_server_is_reached_by_ssh_with_the_given_key_and_hosts() {
    let server = Server::new();
    let programs = server.beside("programs");
    std::fs::create_dir(&programs).unwrap();
    // An ssh that checks what it is given and runs the far command here.
    let script = "#!/bin/sh\n\
        for argument in \"$@\"; do\n\
        case $argument in\n\
        IdentityFile=*) path=${argument#*=\\\"}; grep -q '^KEY$' \"${path%\\\"}\" || exit 9;;\n\
        UserKnownHostsFile=*) path=${argument#*=\\\"}; grep -q ssh-ed25519 \"${path%\\\"}\" || exit 9;;\n\
        esac\n\
        last=$argument\n\
        done\n\
        case \"$*\" in *StrictHostKeyChecking=yes*git@example.com*) eval \"$last\";; *) exit 9;; esac\n";
    let fake = programs.join("ssh");
    write_script(&fake, script);
    let search_path = std::env::join_paths([
        programs.as_path(),
        Path::new("/usr/local/bin"),
        Path::new("/usr/bin"),
        Path::new("/bin"),
    ])
    .unwrap();
    let git = Git::locate(&search_path).unwrap();
    let url = RemoteUrl::parse(&format!("ssh://git@example.com{}", server.path().display())).unwrap();
    let credential = Credential::Ssh {
        identity: Secret::new("KEY"),
        known_hosts: "example.com ssh-ed25519 AAAA".to_owned(),
    };
    let remote = Remote::new(url, Some(credential)).unwrap();
    let commit = build(&server, None, "1");
    git.push(&repository(&server), &remote, commit, &name("kelos-status"), None, limits()).unwrap();
    assert_eq!(server.tip("kelos-status"), Some(commit));
    let listed = git.ls_remote(&server.beside("ours.git"), &remote, &name("kelos-status"), limits()).unwrap();
    assert_eq!(listed, Some(commit));
    let left: Vec<_> = std::fs::read_dir(server.beside("ours.git"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("private-"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
