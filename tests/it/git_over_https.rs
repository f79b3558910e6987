//! Config repositories, reports and runs reach a server over https: with a certificate authority of its own, tokens and
//! passwords; and what such a server does wrong is told and harms nothing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::env::TestEnv;
use crate::support::forge::task_in;
use crate::support::web::{Asked, Reply, Repositories, Web};

const TOKEN: &str = "t0ken-canary";
const CONFIG: &str =
    "apiVersion: kelos.dev/v1alpha1\nkind: AgentConfig\nmetadata:\n  name: NAME\nspec:\n  agentsMD: hello\n";

fn config(name: &str) -> String {
    CONFIG.replace("NAME", name)
}

/// Serves the repositories below `served` to whoever says this user and password.
fn guarded(env: &TestEnv, user: &'static str, password: &'static str) -> Web {
    let repositories = Repositories::below(&env.path("served"));
    Web::start(move |asked| match asked.basic() {
        Some((asked_user, asked_password))
            if (asked_user.as_str(), asked_password.as_str()) == (user, password) =>
        {
            repositories.serve(asked)
        }
        _ => Reply::unauthorized(),
    })
}

/// Serves the repositories below `served` to everybody.
fn open(env: &TestEnv) -> Web {
    let repositories = Repositories::below(&env.path("served"));
    Web::start(move |asked| repositories.serve(asked))
}

#[test]
fn pull_report_clone_and_push_go_over_https_with_a_token() {
    let mut env = TestEnv::new();
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let server = guarded(&env, "x-access-token", TOKEN);
    let script = "for file in /proc/[0-9]*/cmdline; do\n\
                  if grep -q -f \"$KELOS_GITHUB_TOKEN_FILE\" \"$file\" 2>/dev/null; then echo \"LEAK $file\"; fi\n\
                  done\n\
                  if grep -r -q -f \"$KELOS_GITHUB_TOKEN_FILE\" .git ../../home/.gitconfig; then echo LEAK in .git; fi\n\
                  env | grep -c -f \"$KELOS_GITHUB_TOKEN_FILE\"\n\
                  echo two >>readme\ngit commit -qam two\ngit push -q origin HEAD\ntest \"$GH_HOST\" && echo host $GH_HOST";
    let manifest = task_in(&server.url("/acme/code.git"), Some("code"), script);
    env.serve("acme/config.git", "config", &[("task.yaml", &manifest)]);
    env.start(&[]);
    env.secret("config", &[("token", TOKEN), ("ca.crt", server.authority())]);
    env.secret("code", &[("GITHUB_TOKEN", TOKEN), ("ca.crt", server.authority())]);
    let report = json!({"secretRef": {"name": "config"}, "report": {"interval": "1s"}});
    env.follow(&server.url("/acme/config.git"), report);
    let task = env.task_ended("change");
    assert_eq!(task["status"]["phase"], "Succeeded", "{task:#} {}", env.kelos(&["logs", "change"]));
    let log = env.kelos(&["logs", "change"]).success().stdout;
    assert!(!log.contains("LEAK"), "{log}");
    assert!(log.contains("host localhost:"), "{log}");
    assert_eq!(env.git("served/acme/code.git", &["show", "work:readme"]), "one\ntwo");
    let reported = env.until("the report is on the server", |env| {
        let branches = env.git("served/acme/config.git", &["branch", "--list", "kelos-status"]);
        (!branches.is_empty()).then(|| env.git("served/acme/config.git", &["log", "-p", "kelos-status"]))
    });
    assert!(!reported.contains("canary"));
    env.until("the report names the Task", |env| {
        let written = env.git("served/acme/config.git", &["log", "-p", "kelos-status"]);
        written.contains("change").then_some(())
    });
    env.holds_no_canary();
    assert!(server.seen().iter().any(|asked| asked.path.ends_with("/git-receive-pack")));
}

#[test]
fn a_user_and_a_password_open_a_repository_and_a_wrong_one_is_told_at_leisure() {
    let mut env = TestEnv::new();
    env.serve("acme/config.git", "config", &[("a.yaml", &config("a"))]);
    let server = guarded(&env, "somebody", "pass canary: ü%");
    env.start(&[]);
    env.secret(
        "right",
        &[("username", "somebody"), ("password", "pass canary: ü%"), ("ca.crt", server.authority())],
    );
    env.secret(
        "wrong",
        &[("username", "somebody"), ("password", "wrong-canary"), ("ca.crt", server.authority())],
    );
    let url = server.url("/acme/config.git");
    env.follow_as("wrong", &url, json!({"secretRef": {"name": "wrong"}}));
    let message = env.refused("wrong", "AuthenticationFailed");
    assert!(message.contains("refused our credentials"), "{message}");
    // Asked again and again, each time later than the last.
    let asked = |_: &TestEnv| {
        let seen = server.seen();
        let with: Vec<Instant> =
            seen.iter().filter(|asked| asked.basic().is_some()).map(|asked| asked.at).collect();
        (with.len() >= 3).then_some(with)
    };
    let times = env.until("it is tried three times", asked);
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_secs(1), "{:?} after the one before", pair[1] - pair[0]);
    }
    env.delete("configrepositories", "wrong");
    env.follow(&url, json!({"secretRef": {"name": "right"}}));
    env.until("it is applied", |env| env.names("agentconfigs").contains(&"a".to_owned()).then_some(()));
    env.holds_no_canary();
}

#[test]
fn a_server_whose_authority_is_unknown_is_told_nothing() {
    let mut env = TestEnv::new();
    env.serve("acme/config.git", "config", &[("a.yaml", &config("a"))]);
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let server = guarded(&env, "x-access-token", TOKEN);
    let manifest = task_in(&server.url("/acme/code.git"), Some("git"), "echo REACHED");
    env.start(&[]);
    env.secret("git", &[("token", TOKEN), ("GITHUB_TOKEN", TOKEN)]);
    env.follow(&server.url("/acme/config.git"), json!({"secretRef": {"name": "git"}}));
    let message = env.refused("default", "AuthenticationFailed");
    assert!(message.contains("cannot be verified") && message.contains("certificate"), "{message}");
    apply(&env, &manifest);
    let task = env.task_ended("change");
    let message = task["status"]["message"].as_str().unwrap();
    assert!(message.contains("cannot be verified") && message.contains("certificate"), "{message}");
    assert!(
        server.seen().is_empty(),
        "nothing is said to a server that is not believed: {:?}",
        server.seen()
    );
    assert!(!env.kelos(&["logs", "change"]).stdout.contains("REACHED"));
}

#[test]
fn a_credential_follows_no_redirect_to_another_host() {
    let mut env = TestEnv::new();
    env.serve("acme/config.git", "config", &[("a.yaml", &config("a"))]);
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let elsewhere = Arc::new(open(&env));
    // Asks for the credential first, and then sends whoever has it elsewhere.
    let to = Arc::clone(&elsewhere);
    let server = Web::start(move |asked: &Asked| match asked.basic() {
        Some(_) => Reply::redirect(302, &to.url(&format!("{}?{}", asked.path, asked.query))),
        None => Reply::unauthorized(),
    });
    let both = format!("{}{}", server.authority(), elsewhere.authority());
    env.start(&[]);
    env.secret("git", &[("token", TOKEN), ("GITHUB_TOKEN", TOKEN), ("ca.crt", &both)]);
    let spec = json!({"secretRef": {"name": "git"}, "report": {"interval": "1s"}});
    env.follow(&server.url("/acme/config.git"), spec);
    let ready = |env: &TestEnv| {
        let repository = env.object("configrepository", "default")?;
        repository["status"]["conditions"].as_array().map(|_| ())
    };
    env.until("it was tried", ready);
    apply(&env, &task_in(&server.url("/acme/code.git"), Some("git"), "git push -q origin HEAD"));
    env.task_ended("change");
    env.until("the server sent somebody elsewhere", |_| {
        server.seen().iter().any(|asked| asked.basic().is_some()).then_some(())
    });
    for asked in elsewhere.seen() {
        assert_eq!(asked.headers.get("authorization"), None, "{} {}", asked.method, asked.path);
    }
    env.holds_no_canary();
}

#[test]
fn a_remote_that_does_not_answer_holds_up_nobody() {
    let mut env = TestEnv::new();
    env.commit("local", &[("a.yaml", &config("a"))]);
    let server = Web::start(|_| Reply::silence());
    env.start(&[]);
    env.secret("git", &[("ca.crt", server.authority())]);
    // More of them than are judged, and than are gathered for reports, at once.
    let names: Vec<String> = (0..5).map(|number| format!("never-{number}")).collect();
    for (name, timeout) in names.iter().map(|name| (name.as_str(), "1h")).chain([("soon", "1s")]) {
        let spec = json!({"secretRef": {"name": "git"}, "timeout": timeout, "report": {"enabled": false}});
        env.follow_as(name, &server.url("/acme/config.git"), spec);
    }
    let local = env.path("local").display().to_string();
    for name in &names {
        let place = json!({"url": server.url("/acme/report.git"), "secretRef": {"name": "git"}});
        env.follow_as(&format!("reports-{name}"), &local, json!({"path": "elsewhere", "report": place}));
    }
    let message = env.refused("soon", "FetchFailed");
    assert!(message.contains("did not answer within 1 s"), "{message}");
    env.until("all were asked", |_| {
        let seen = server.seen();
        let asked = |path: &str| seen.iter().filter(|asked| asked.path.starts_with(path)).count();
        (asked("/acme/config.git") >= 6 && asked("/acme/report.git") >= 5).then_some(())
    });
    env.follow(&local, json!({"report": {"interval": "1s"}}));
    env.until("another repository is applied", |env| {
        env.names("agentconfigs").contains(&"a".to_owned()).then_some(())
    });
    env.until("another repository is reported", |env| {
        let branch = env.git("local", &["branch", "--list", "kelos-status"]);
        (!branch.is_empty()).then_some(())
    });
    let begun = Instant::now();
    assert_eq!(env.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(45), "the daemon ended after {:?}", begun.elapsed());
}

#[test]
fn what_is_no_repository_is_told() {
    let mut env = TestEnv::new();
    type Case = (&'static str, fn() -> Reply, &'static str);
    let cases: [Case; 5] = [
        ("page", || Reply::text(200, "<html>welcome</html>"), "FetchFailed"),
        ("bytes", || Reply { body: vec![0xff; 100_000], ..garbled() }, "FetchFailed"),
        (
            "cut",
            || Reply { body: b"001e# service=git-upload-pack\n0000ffff".to_vec(), ..garbled() },
            "FetchFailed",
        ),
        ("away", || Reply::text(404, "nothing here"), "FetchFailed"),
        ("broken", || Reply::text(503, "later"), "FetchFailed"),
    ];
    let servers: Vec<Web> = cases
        .iter()
        .map(|(_, reply, _)| {
            let reply = *reply;
            Web::start(move |_| reply())
        })
        .collect();
    env.start(&[]);
    for (server, (name, _, _)) in servers.iter().zip(&cases) {
        env.secret(name, &[("ca.crt", server.authority())]);
        env.follow_as(
            name,
            &server.url("/acme/config.git"),
            json!({"secretRef": {"name": name}, "report": {"enabled": false}}),
        );
    }
    for (name, _, reason) in cases {
        let message = env.refused(name, reason);
        assert!(message.contains("localhost"), "{name}: {message}");
        println!("{name}: {message}");
    }
    env.kelos(&["get", "tasks"]).success();
}

fn garbled() -> Reply {
    let kind = "application/x-git-upload-pack-advertisement";
    Reply { status: 200, headers: vec![("content-type".to_owned(), kind.to_owned())], ..Reply::default() }
}

#[test]
fn rewritten_histories_moved_tags_and_pinned_commits_are_followed() {
    let mut env = TestEnv::new();
    env.serve("acme/config.git", "config", &[("a.yaml", &config("a"))]);
    let first = env.git("config", &["rev-parse", "HEAD"]);
    env.git("config", &["tag", "live"]);
    env.git("config", &["push", "--quiet", "--tags", "origin"]);
    let server = open(&env);
    env.start(&[]);
    env.secret("git", &[("ca.crt", server.authority())]);
    let url = server.url("/acme/config.git");
    let reads = |what: &str, reference: serde_json::Value| {
        let spec = json!({"secretRef": {"name": "git"}, "ref": reference, "report": {"enabled": false}});
        env.follow_as(what, &url, spec);
    };
    let applied = |name: &str, commit: &str| {
        env.until(&format!("{name} is at {commit}"), |env| {
            let repository = env.object("configrepository", name)?;
            (repository["status"]["lastAttemptedRevision"] == commit).then_some(())
        });
    };
    reads("branch", json!({"branch": "main"}));
    applied("branch", &first);
    // A new history that has nothing in common with the old one.
    env.git("config", &["checkout", "--quiet", "--orphan", "other"]);
    let second = env.publish("config", &[("b.yaml", &config("b"))]);
    applied("branch", &second);
    env.git("served/acme/config.git", &["update-ref", "-d", "refs/heads/main"]);
    let message = env.refused("branch", "RevisionNotFound");
    assert!(message.contains("main"), "{message}");
    assert!(env.names("agentconfigs").contains(&"b".to_owned()), "what was good runs on");
    env.delete("configrepositories", "branch");
    reads("tag", json!({"tag": "live"}));
    applied("tag", &first);
    env.git("config", &["tag", "--force", "live", &second]);
    env.git("config", &["push", "--quiet", "--force", "--tags", "origin"]);
    applied("tag", &second);
    env.delete("configrepositories", "tag");
    reads("pinned", json!({"commit": first}));
    applied("pinned", &first);
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let mut env = TestEnv::new();
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let server = open(&env);
    let manifest = task_in(&server.url("/acme/code.git"), Some("git"), "cat readme");
    env.serve("acme/config.git", "config", &[("task.yaml", &manifest)]);
    let proxy = Proxy::start();
    env.set_variable("HTTPS_PROXY", &proxy.url);
    env.start(&[]);
    env.secret("git", &[("ca.crt", server.authority())]);
    let spec = json!({"secretRef": {"name": "git"}, "report": {"interval": "1s"}});
    env.follow(&server.url("/acme/config.git"), spec);
    let task = env.task_ended("change");
    assert_eq!(task["status"]["phase"], "Succeeded", "{task:#}");
    env.until("the report is on the server", |env| {
        let branches = env.git("served/acme/config.git", &["branch", "--list", "kelos-status"]);
        (!branches.is_empty()).then_some(())
    });
    // The pull, the clone of the run and the push each opened tunnels; nothing else reached the server.
    assert!(proxy.tunnels.load(Ordering::Relaxed) >= 3);
}

/// A proxy that opens tunnels and counts them.
struct Proxy {
    url: String,
    tunnels: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tunnels, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let proxy = Self { url, tunnels: Arc::clone(&tunnels), stop: Arc::clone(&stop) };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let tunnels = Arc::clone(&tunnels);
                std::thread::spawn(move || tunnel(client.unwrap(), &tunnels));
            }
        });
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that listens.
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
    }
}

fn tunnel(mut client: TcpStream, tunnels: &AtomicUsize) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let Some(target) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else { return };
    let Ok(server) = TcpStream::connect(target) else { return };
    tunnels.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from_client, &mut to_server));
        drop(to_server.shutdown(std::net::Shutdown::Write));
    });
    let (mut from_server, mut to_client) = (server, client);
    drop(std::io::copy(&mut from_server, &mut to_client));
    drop(to_client.shutdown(std::net::Shutdown::Write));
}

/// Creates the objects of a manifest.
pub(crate) fn apply(env: &TestEnv, manifest: &str) {
    for text in manifest.split("---\n") {
        let object: serde_json::Value = serde_yaml::from_str(text).unwrap();
        let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
        env.create(&plural, &object);
    }
}
