//! What a run can reach over the network is what its daemon lets it reach.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kelos::api::run::{Exit, Network, NetworkHold, Plan, SandboxLevel};
use serde_json::{Value, json};

use crate::run_bench::{Bench, SEARCH_PATH, shell};
use crate::support::api::condition;
use crate::support::env::TestEnv;
use crate::support::{no_sandbox, say};

/// A server of this machine's loopback that greets and counts.
struct Server {
    port: u16,
    greeted: Arc<AtomicUsize>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let greeted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&greeted);
        // It ends with the test.
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::Relaxed);
                drop(client.write_all(b"greetings\n"));
            }
        });
        Self { port, greeted }
    }

    fn greeted(&self) -> usize {
        self.greeted.load(Ordering::Relaxed)
    }
}

/// Returns a plan that runs `script` with bash, which can open connections.
fn bash(run: &str, script: &str, network: Network) -> Plan {
    let mut plan = shell(run, "bash -c \"$SCRIPT\"");
    plan.environment.insert("SCRIPT".to_owned(), script.to_owned());
    plan.sandbox.network = network;
    plan
}

/// Runs the plan in an enclosure and returns its log; `None`, with a note, when this host has none.
async fn enclosed(bench: &Bench, mut plan: Plan, hold: NetworkHold) -> Option<String> {
    plan.sandbox.minimum = SandboxLevel::Enclosed;
    let run = plan.run.clone();
    let outcome = bench.outcome(plan).await;
    let log = bench.log(&run).await;
    if outcome.exit == Exit::SandboxUnavailable {
        no_sandbox(SandboxLevel::Enclosed, &log);
        return None;
    }
    assert_eq!((outcome.exit, outcome.network), (Exit::Succeeded, Some(hold)), "{}: {log}", outcome.message);
    Some(log)
}

#[tokio::test]
async fn the_loopback_and_the_metadata_are_closed_by_every_name() {
    let bench = Bench::new();
    let server = Server::new();
    let script = format!(
        "ask() {{ exec 3<>/dev/tcp/127.0.0.1/${{HTTPS_PROXY##*:}} || return; printf \"$1\" >&3; head -1 <&3; exec 3>&-; }}\n\
         (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo BROKEN directly\n\
         for host in 127.0.0.1 127.1.2.3 localhost a.localhost '[::1]' 0.0.0.0 '[::]' '[::ffff:127.0.0.1]' '[64:ff9b::7f00:1]' \
           127.1 2130706433 0x7f000001 $(hostname) $(hostname -I 2>/dev/null); do\n\
           echo \"$host $(ask \"CONNECT $host:{port} HTTP/1.1\\r\\n\\r\\n\")\"\n\
           echo \"$host $(ask \"GET http://$host:{port}/ HTTP/1.1\\r\\n\\r\\n\")\"\n\
         done\n\
         for host in 169.254.169.254 '[fd00:ec2::254]' metadata.google.internal 100.100.100.200 169.254.170.2; do\n\
           echo \"metadata $(ask \"CONNECT $host:80 HTTP/1.1\\r\\n\\r\\n\")\"\n\
         done; echo done",
        port = server.port
    );
    let Some(log) = enclosed(&bench, bash("a", &script, Network::Guarded), NetworkHold::Proxied).await else {
        return;
    };
    assert!(!log.contains("BROKEN") && !log.contains(" 200") && log.contains("done"), "{log}");
    assert_eq!(log.matches("metadata HTTP/1.1 403").count(), 5, "{log}");
    assert!(log.contains("kelos: the connection to 169.254.169.254:80 is refused"), "the log says it: {log}");
    assert_eq!(server.greeted(), 0);
}

#[tokio::test]
async fn a_run_has_a_loopback_of_its_own() {
    if kelos::process::find("python3", SEARCH_PATH.as_ref()).is_none() {
        say("SKIPPED: there is no python3, which could listen");
        return;
    }
    let bench = Bench::new();
    // The same port may be taken on this machine.
    let server = Server::new();
    let script = format!(
        "python3 -c 'import socket as s; l = s.create_server((\"localhost\", {port})); c = s.create_connection((\"localhost\", {port})); \
         a, _ = l.accept(); a.sendall(b\"own\"); print(c.recv(9))'",
        port = server.port
    );
    for (run, network, hold) in
        [("a", Network::Guarded, NetworkHold::Proxied), ("b", Network::Closed, NetworkHold::Closed)]
    {
        let Some(log) = enclosed(&bench, bash(run, &script, network), hold).await else { return };
        assert!(log.contains("b'own'"), "{log}");
    }
}

#[tokio::test]
async fn a_port_that_was_opened_is_the_machines_and_a_closed_one_stays_closed() {
    let bench = Bench::new();
    let (open, closed) = (Server::new(), Server::new());
    let script = format!(
        "(exec 3<>/dev/tcp/127.0.0.1/{} && head -1 <&3) 2>/dev/null || :; (exec 3<>/dev/tcp/127.0.0.1/{}) 2>/dev/null && echo BROKEN; :",
        open.port, closed.port
    );
    for (run, network, hold) in
        [("a", Network::Guarded, NetworkHold::Proxied), ("b", Network::Closed, NetworkHold::Closed)]
    {
        let mut plan = bash(run, &script, network);
        plan.sandbox.loopback_ports = vec![open.port, closed.port];
        plan.sandbox.closed_ports = vec![closed.port];
        let Some(log) = enclosed(&bench, plan, hold).await else { return };
        // Whoever is to reach nobody does not reach it.
        assert_eq!(log.contains("greetings\n"), network == Network::Guarded, "{log}");
        assert!(!log.contains("BROKEN"), "{log}");
    }
    assert_eq!((open.greeted(), closed.greeted()), (1, 0));
}

#[tokio::test]
async fn without_an_enclosure_the_closed_ports_and_plain_http_are_closed() {
    let bench = Bench::new();
    let (open, closed) = (Server::new(), Server::new());
    let script = format!(
        "for port in {} {} 80; do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>&1 && echo reached $port; done; :",
        open.port, closed.port
    );
    let mut plan = bash("a", &script, Network::Guarded);
    plan.sandbox.maximum = SandboxLevel::Isolated;
    plan.sandbox.closed_ports = vec![closed.port];
    let outcome = bench.outcome(plan).await;
    let log = bench.log("a").await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{log}");
    if outcome.network < Some(NetworkHold::Ports) {
        say("SKIPPED: this kernel does not hold ports");
        return;
    }
    assert!(log.contains(&format!("reached {}", open.port)), "{log}");
    assert_eq!(closed.greeted(), 0, "{log}");
    // Refused by the kernel and not by the lack of a server.
    assert_eq!(log.matches("connect: Permission denied").count(), 2, "{log}");
}

#[tokio::test]
async fn a_closed_network_is_closed_at_every_level_that_has_it() {
    let bench = Bench::new();
    let server = Server::new();
    let script = format!("(exec 3<>/dev/tcp/127.0.0.1/{}) 2>/dev/null && echo BROKEN; :", server.port);
    for level in [SandboxLevel::Limited, SandboxLevel::Files, SandboxLevel::Isolated, SandboxLevel::Enclosed]
    {
        let mut plan = bash(&format!("a-{}", level.as_str()), &script, Network::Closed);
        plan.sandbox.maximum = level;
        let outcome = bench.outcome(plan).await;
        if outcome.exit != Exit::SandboxUnavailable {
            assert_eq!(outcome.network, Some(NetworkHold::Closed), "{}", level.as_str());
        }
    }
    assert_eq!(server.greeted(), 0);
    assert!(TcpStream::connect(("127.0.0.1", server.port)).is_ok(), "it is there");
}

#[test]
fn a_task_says_what_held_it_and_reaches_no_api() {
    let mut env = TestEnv::new();
    env.start(&[]);
    let kubeconfig = std::fs::read_to_string(env.data_dir().join("kubeconfig")).unwrap();
    let port = kubeconfig.split("https://127.0.0.1:").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let prompt = format!(
        "bash -c '(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo BROKEN api; :'\n\
         cat {}/kubeconfig {}/home/* 2>/dev/null && echo BROKEN files; echo done",
        env.data_dir().display(),
        env.data_dir().parent().unwrap().display(),
    );
    env.create("tasks", &task("hostile", &json!({}), &prompt));
    let ended = env.task_ended("hostile");
    let log = env.kelos(&["logs", "hostile"]).stdout;
    let held = condition(&ended, "Sandboxed");
    let reason = held["reason"].as_str().unwrap();
    assert!(["Limited", "Files", "Isolated", "Enclosed"].contains(&reason), "{held}");
    if reason == "Limited" {
        no_sandbox(SandboxLevel::Files, "it guards no files");
        return;
    }
    assert_eq!(held["status"], "True");
    assert!(!log.contains("BROKEN") && log.contains("done"), "{reason}: {log}");

    let asks = json!({"kelos.dev/network": "host"});
    env.create("tasks", &task("host", &asks, "echo REACHED"));
    let refused = env.task_ended("host");
    assert_eq!(refused["status"]["reason"], "NetworkNotAllowed", "{refused}");
    env.stop();
    env.start(&["--allow-host-network"]);
    env.create("tasks", &task("again", &asks, "echo REACHED"));
    assert_eq!(env.task_ended("again")["status"]["phase"], "Succeeded");
}

fn task(name: &str, annotations: &Value, prompt: &str) -> Value {
    json!({
        "apiVersion": "kelos.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"type": "shell", "prompt": prompt},
    })
}
