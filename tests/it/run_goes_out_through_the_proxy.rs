//! Where this machine reaches others only through a proxy, runs do so as well, with the rules of the daemon in force before it
//! is asked for anything, and without learning its password.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use kelos::api::run::{Exit, Network, SandboxLevel, Secrets, SshKey, Workspace};
use kelos::executor::Executor as _;
use kelos::secret::Secret;
use serde_json::json;

use crate::run_bench::{Bench, SEARCH_PATH, none_left, shell};
use crate::support::api::condition;
use crate::support::env::TestEnv;
use crate::support::no_sandbox;
use crate::support::ssh::write_script;

/// A proxy that lets one user in, greets in the name of whomever it is asked for, and notes what it was asked.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        // It ends with the test.
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                    head.extend(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let first = head.lines().next().unwrap_or_default().to_owned();
                // `user:p@ss-canary`.
                let is_known = head.contains("\r\nProxy-Authorization: Basic dXNlcjpwQHNzLWNhbmFyeQ==\r\n");
                let answer = if is_known {
                    format!("HTTP/1.1 200 OK\r\n\r\ngreetings from {first}\n")
                } else {
                    "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_owned()
                };
                noted.lock().unwrap().push(first);
                drop(client.write_all(answer.as_bytes()));
            }
        });
        Self { port, asked }
    }
}

#[test]
fn a_run_reaches_through_the_proxy_whom_it_may_and_knows_no_password() {
    let mut env = TestEnv::new();
    let proxy = Proxy::new();
    let url = |password: &str| format!("http://user:{password}@127.0.0.1:{}", proxy.port);
    env.set_variable("HTTPS_PROXY", &url("p%40ss-canary"));
    env.set_variable("HTTP_PROXY", &url("wrong-canary"));
    env.set_variable("http_proxy", &url("p%40ss-canary"));
    env.set_variable("NO_PROXY", "direct.kelos.invalid, 127.0.0.1");
    env.start(&["--egress", "public", "--egress", "forge.kelos.invalid", "--egress", "direct.kelos.invalid"]);
    let prompt = r#"bash -c '
ask() { exec 3<>/dev/tcp/127.0.0.1/${HTTPS_PROXY##*:} || return; printf "$1\r\n\r\n" >&3; cat <&3; echo; exec 3>&-; }
ask "CONNECT forge.kelos.invalid:443 HTTP/1.1"
ask "GET http://forge.kelos.invalid/page HTTP/1.1\r\nHost: elsewhere.invalid"
ask "CONNECT other.kelos.invalid:443 HTTP/1.1"
ask "CONNECT 10.0.0.1:443 HTTP/1.1"
ask "CONNECT 169.254.169.254:80 HTTP/1.1"
ask "CONNECT 127.0.0.1:443 HTTP/1.1"
ask "CONNECT direct.kelos.invalid:443 HTTP/1.1"
'
env; for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do tr '\0' '\n' <$file || :; done 2>/dev/null
cat "$HOME"/.gitconfig "$HOME"/.kelos/* 2>/dev/null || :
echo done"#;
    let task = |name: &str| {
        json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": {"name": name},
            "spec": {"type": "shell", "prompt": prompt},
        })
    };
    env.create("tasks", &task("asks"));
    let ended = env.task_ended("asks");
    let log = env.kelos(&["logs", "asks"]).success().stdout;
    if condition(&ended, "Sandboxed")["reason"] != "Enclosed" {
        no_sandbox(SandboxLevel::Enclosed, &log);
        return;
    }
    assert!(log.contains("done") && !log.contains("canary"), "{log}");
    assert!(log.contains("greetings from CONNECT forge.kelos.invalid:443 HTTP/1.1"), "{log}");
    assert!(log.contains("greetings from GET http://forge.kelos.invalid/page HTTP/1.1"), "{log}");
    for (target, expected) in [
        ("other.kelos.invalid:443 is refused", "its address is not known here, and no rule"),
        ("10.0.0.1:443 is refused", "it has a private address"),
        ("169.254.169.254:80 is refused", "the metadata of the cloud is closed"),
        ("127.0.0.1:443 is refused", "the loopback"),
        ("direct.kelos.invalid:443 cannot be reached", "lookup"),
    ] {
        let has = |line: &str| line.contains(target) && line.contains(expected);
        assert!(log.lines().any(has), "{target}: {log}");
    }
    let expected =
        ["CONNECT forge.kelos.invalid:443 HTTP/1.1", "GET http://forge.kelos.invalid/page HTTP/1.1"];
    assert_eq!(*proxy.asked.lock().unwrap(), expected, "nobody else was asked for");
    env.holds_no_canary();

    // The proxy is told from whoever is asked for.
    env.stop();
    env.set_variable("HTTPS_PROXY", &url("wrong-canary"));
    env.start(&["--egress", "forge.kelos.invalid"]);
    env.create("tasks", &task("again"));
    env.task_ended("again");
    let log = env.kelos(&["logs", "again"]).success().stdout;
    let told = "the proxy that HTTPS_PROXY of the daemon's environment names wants a user and a password";
    assert!(log.contains(told) && !log.contains("canary"), "{log}");
    env.holds_no_canary();
}

#[tokio::test]
async fn the_ssh_server_of_a_workspace_is_led_to_from_an_address_of_the_runs_own() {
    if kelos::process::find("ssh", SEARCH_PATH.as_ref()).is_none() {
        return crate::support::say("SKIPPED: there is no ssh");
    }
    let bench = Bench::new();
    let git = |folder: &str, arguments: &[&str]| {
        let mut command = kelos::process::command("git");
        command.current_dir(bench.data.join(folder)).env("PATH", SEARCH_PATH).env("HOME", &bench.data);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    std::fs::create_dir(bench.data.join("served")).unwrap();
    git("served", &["init", "--quiet", "--initial-branch=main"]);
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
    git("served", &[&identity[..], &["commit", "--quiet", "--allow-empty", "-m", "one"]].concat());
    // Outside, where the folder is seen, an ssh that asks no server; inside, the real one.
    let served = bench.data.join("served");
    write_script(
        &bench.data.join("programs/ssh"),
        &format!(
            "#!/bin/sh\nif test -d {0}; then exec git-upload-pack {0}; fi\nexec /usr/bin/ssh \"$@\"\n",
            served.display()
        ),
    );
    let mut plan = shell("a", "git ls-remote origin || echo ended; git config core.sshCommand");
    plan.search_path = format!("{}:{SEARCH_PATH}", bench.data.join("programs").display());
    plan.sandbox.network = Network::Guarded;
    plan.sandbox.minimum = SandboxLevel::Enclosed;
    plan.workspace = Some(Workspace {
        repo: "git@forge.kelos.invalid:acme/code.git".to_owned(),
        reference: None,
        mirror: bench.data.join("mirrors/code.git"),
        remotes: Vec::new(),
        files: Vec::new(),
        authority: None,
        git_environment: std::collections::BTreeMap::new(),
        setup_command: Vec::new(),
    });
    let key = SshKey {
        identity: Secret::new("none that could be used"),
        known_hosts: "forge.kelos.invalid ssh-ed25519 AAAA".to_owned(),
    };
    let secrets = Secrets { ssh: Some(key), ..Secrets::default() };
    bench.executor.start(plan, secrets).await.unwrap();
    let outcome = bench.end("a").await;
    let log = bench.log("a").await;
    if outcome.exit == Exit::SandboxUnavailable {
        no_sandbox(SandboxLevel::Enclosed, &log);
        return;
    }
    assert_eq!(outcome.exit, Exit::Succeeded, "{}: {log}", outcome.message);
    // By its name, which nobody knows: the connection got as far as to the look-up outside.
    assert!(log.contains("kelos: forge.kelos.invalid:22 cannot be reached: "), "{log}");
    assert!(log.contains("ended") && log.contains("/home/.kelos/ssh/config"), "{log}");
    // The key goes with the run, a moment after its result is there.
    none_left(&bench.data.join("runs/a").display().to_string()).await;
    assert!(!bench.file("a", "home").exists());
}
