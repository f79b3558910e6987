use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::git::error::GitErrorClass;
use crate::git::program::CloneRequest;
use crate::git::testing::{Server, git, git_in, limits, write_script};
use crate::process;

/// Copies the default branch out of the mirror.
fn copy(server: &Server, mirror: &Mirror, name: &str) -> Result<(), GitError> {
    let destination = server.beside(name);
    let request = CloneRequest {
        remote: &server.remote(),
        mirror: Some(mirror.path()),
        destination: &destination,
        checkout: None,
        depth: None,
        remotes: &[],
        branch: None,
    };
    git().clone_for_run(&request, limits()).map(drop)
}

fn update(server: &Server) -> Result<Mirror, GitError> {
    git().update_mirror(&server.beside("mirrors/one.git"), &server.remote(), limits())
}

#[test]
fn a_mirror_follows_forced_and_deleted_branches() {
    let server = Server::with_files(&[("a", "1")]);
    server.push("gone", &[("a", "2")]);
    let mirror = server.beside("mirror.git");
    drop(git().update_mirror(&mirror, &server.remote(), limits()).unwrap());
    server.server(&["update-ref", "-d", "refs/heads/gone"]);
    server.work(&["checkout", "--quiet", "--orphan", "new"]);
    let rewritten = server.push("main", &[("a", "3")]);
    drop(git().update_mirror(&mirror, &server.remote(), limits()).unwrap());
    assert_eq!(git_in(&mirror, &["rev-parse", "main"]), rewritten.to_string());
    assert_eq!(git_in(&mirror, &["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
}

#[test]
fn many_runs_update_one_mirror_at_once() {
    let server = Server::with_files(&[("a", "1")]);
    let mirror = server.beside("mirror.git");
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| git().update_mirror(&mirror, &server.remote(), limits()).map(drop)))
            .collect();
        for run in runs {
            run.join().unwrap().unwrap();
        }
    });
    assert_eq!(git_in(&mirror, &["rev-parse", "main"]), server.tip("main").unwrap().to_string());
}

#[test]
fn what_a_killed_fetch_left_is_cleared() {
    let server = Server::with_files(&[("a", "1")]);
    let mirror = update(&server).unwrap().path().to_path_buf();
    for left in ["packed-refs.lock", "refs/heads/main.lock", "HEAD.lock", "config.lock", "shallow.lock"] {
        fs::write(mirror.join(left), "").unwrap();
    }
    fs::write(mirror.join("objects/pack/tmp_pack_1"), "cut off").unwrap();
    let tip = server.push("main", &[("a", "2")]);
    let updated = update(&server).unwrap();
    assert_eq!(git_in(updated.path(), &["rev-parse", "main"]), tip.to_string());
    assert!(!mirror.join("objects/pack/tmp_pack_1").exists());
    copy(&server, &updated, "run").unwrap();
}

#[test]
fn a_git_that_outlives_its_killed_runner_keeps_the_lock() {
    let server = Server::with_files(&[("a", "1")]);
    let mirror = update(&server).unwrap();
    let path = mirror.path().to_path_buf();
    drop(mirror);
    // A stand-in for git that was started with the lock, and whose runner is gone.
    let held = lock(&lock_path(&path), "r", limits()).unwrap();
    let start = |held| {
        process::command("/bin/sh").args(["-c", "exec sleep 600"]).stdin(Stdio::from(held)).spawn().unwrap()
    };
    let mut sleeper = start(held);
    let short = Limits { time: Duration::from_millis(200), ..limits() };
    let error = git().update_mirror(&path, &server.remote(), short).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::Timeout, "{error}");
    let stopped = Limits { interrupt: &AtomicBool::new(true), ..limits() };
    let error = git().update_mirror(&path, &server.remote(), stopped).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::Interrupted, "{error}");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    update(&server).unwrap();
}

#[test]
fn a_damaged_mirror_is_made_anew() {
    type Damage = fn(&Path);
    let all_objects: Damage = |mirror| {
        fs::remove_dir_all(mirror.join("objects")).unwrap();
        fs::create_dir(mirror.join("objects")).unwrap();
    };
    let overwritten: Damage = |mirror| {
        for folder in fs::read_dir(mirror.join("objects")).unwrap().flatten() {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(file.path(), "no object").unwrap();
            }
        }
    };
    let damages: [(&str, Damage); 5] = [
        ("objects", all_objects),
        ("overwritten", overwritten),
        ("head", |mirror| fs::write(mirror.join("HEAD"), "garbage").unwrap()),
        ("config", |mirror| fs::write(mirror.join("config"), "[core").unwrap()),
        ("ref", |mirror| fs::write(mirror.join("refs/heads/main"), "garbage").unwrap()),
    ];
    for (name, damage) in damages {
        for tip_moved in [false, true] {
            let server = Server::with_files(&[("a", "1")]);
            let path = update(&server).unwrap().path().to_path_buf();
            damage(&path);
            if tip_moved {
                server.push("main", &[("a", "2")]);
            }
            let mirror = update(&server).unwrap_or_else(|error| panic!("{name} {tip_moved}: {error}"));
            let copied = copy(&server, &mirror, "run one");
            if copied.is_err() {
                let mirror = git().rebuild_mirror(mirror, &server.remote(), limits()).unwrap();
                copy(&server, &mirror, "run two")
                    .unwrap_or_else(|error| panic!("{name} {tip_moved}: {error}"));
            }
            git_in(&path, &["fsck", "--strict"]);
        }
    }
}

#[test]
fn a_remote_that_is_at_fault_costs_no_mirror() {
    let server = Server::with_files(&[("a", "1")]);
    let path = update(&server).unwrap().path().to_path_buf();
    let away = server.beside("away.git");
    fs::rename(server.path(), &away).unwrap();
    let error = update(&server).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::NotFound, "{error}");
    assert!(path.join("refs/heads/main").exists() || path.join("packed-refs").exists());
    // A server that speaks no git.
    let programs = server.beside("programs");
    write_script(&programs.join("ssh"), "#!/bin/sh\necho welcome to this server\n");
    let search_path =
        std::env::join_paths([programs.as_path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let url = crate::git::remote::RemoteUrl::parse("git@example.com:a").unwrap();
    let garbled = Remote::new(url, None).unwrap();
    let error = Git::locate(&search_path).unwrap().update_mirror(&path, &garbled, limits()).unwrap_err();
    assert_eq!(error.class(), GitErrorClass::Unsupported, "{error}");
    fs::rename(away, server.path()).unwrap();
    git_in(&path, &["rev-parse", "main"]);
}

#[test]
fn mirrors_that_nobody_uses_are_removed() {
    let server = Server::with_files(&[("a", "1")]);
    let mirrors = server.beside("mirrors");
    let used = update(&server).unwrap();
    let other = mirrors.join("other.git");
    drop(git().update_mirror(&other, &server.remote(), limits()).unwrap());
    let age = Duration::from_hours(24 * 30);
    let marked = fs::metadata(lock_path(&other)).unwrap().modified().unwrap();
    let now = jiff::Timestamp::try_from(marked).unwrap();
    remove_unused(&mirrors, age, now + SignedDuration::from_hours(24 * 29)).unwrap();
    assert!(other.exists());
    remove_unused(&mirrors, age, now + SignedDuration::from_hours(24 * 31)).unwrap();
    assert!(!other.exists() && !lock_path(&other).exists());
    assert!(used.path().exists(), "a mirror in use stays");
    drop(git().update_mirror(&other, &server.remote(), limits()).unwrap());
    assert!(other.exists());
}
