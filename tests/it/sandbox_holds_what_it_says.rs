//! Each row of the table in `docs/sandbox.md`, at each level.
//!
//! A hostile script tries one way out and prints `BROKEN` when it got through. A level that this host does not reach is
//! skipped with a note.

use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};

use kelos::api::run::{Exit, Network, Plan, SandboxLevel, Secrets};
use kelos::executor::Executor as _;
use kelos::process::tree;

use crate::run_bench::{Bench, SEARCH_PATH, shell};
use crate::support::env::TestEnv;
use crate::support::{no_sandbox, say};

const LEVELS: [SandboxLevel; 4] =
    [SandboxLevel::Limited, SandboxLevel::Files, SandboxLevel::Isolated, SandboxLevel::Enclosed];

/// Runs the plan at `level` and no other, and returns its log; `None`, with a note, when this host has no such level.
async fn log_at(level: SandboxLevel, bench: &Bench, mut plan: Plan) -> Option<String> {
    plan.run = format!("{}-{}", plan.run, level.as_str());
    (plan.sandbox.minimum, plan.sandbox.maximum) = (level, level);
    let run = plan.run.clone();
    let outcome = bench.outcome(plan).await;
    let log = bench.log(&run).await;
    if outcome.exit == Exit::SandboxUnavailable {
        no_sandbox(level, &log);
        return None;
    }
    assert_eq!(outcome.sandbox, Some(level), "{log}");
    assert_eq!(outcome.exit, Exit::Succeeded, "{}: {}: {log}", level.as_str(), outcome.message);
    Some(log)
}

/// Tries a way out at each level: it must be closed from `least` on, and below it open, or the table promises too little.
async fn is_closed_from(least: SandboxLevel, bench: &Bench, plan: Plan) {
    for level in LEVELS {
        if let Some(log) = log_at(level, bench, plan.clone()).await {
            assert_eq!(log.contains("BROKEN"), level < least, "{}: {log}", level.as_str());
        }
    }
    is_closed_without_landlock(bench, plan).await;
}

/// Tries a way out in an enclosure on a kernel without Landlock, which is as much of one as any other.
async fn is_closed_without_landlock(bench: &Bench, mut plan: Plan) -> Option<String> {
    let bench = bench.without_landlock()?;
    plan.run = format!("{}-bare", plan.run);
    if plan.sandbox.network == Network::Open {
        plan.sandbox.network = Network::Guarded;
    }
    let log = log_at(SandboxLevel::Enclosed, &bench, plan).await?;
    assert!(!log.contains("BROKEN"), "without Landlock: {log}");
    Some(log)
}

/// A process of the user's that is no part of any run.
struct Bystander(Child);

impl Bystander {
    fn new(secret: &str) -> Self {
        let sleep = kelos::process::find("sleep", SEARCH_PATH.as_ref()).unwrap();
        let mut command = kelos::process::command(sleep);
        Self(command.arg("61201").env("SECRET", secret).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn is_alive(&self) -> bool {
        tree::look_at(i32::try_from(self.pid()).unwrap()).is_some_and(tree::Seen::is_alive)
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn every_run_has_an_environment_and_a_home_of_its_own_and_gains_no_rights() {
    let bench = Bench::new();
    let script = "test -z \"$CARGO_MANIFEST_DIR$SECRET\" || echo BROKEN environment\n\
                  case $HOME in */runs/*/home) ;; *) echo BROKEN home;; esac\n\
                  grep -q 'NoNewPrivs:.1' /proc/self/status || echo BROKEN rights\n\
                  grep -q 'Max core file size *0 ' /proc/self/limits || echo BROKEN limits";
    is_closed_from(SandboxLevel::Limited, &bench, shell("a", script)).await;
}

#[tokio::test]
async fn files_that_are_private_are_not_read() {
    let bench = Bench::new();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(bench.data.join("kubeconfig"), "a token").unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    std::fs::write(home.path().join(".ssh/id"), "a key").unwrap();
    // The folder of a run that goes on beside it, with its plan.
    bench.executor.start(shell("other", "sleep 61202"), Secrets::default()).await.unwrap();
    let script = format!(
        "for file in {data}/kubeconfig {home}/.ssh/id {data}/runs/other/plan.json {data}/runs/a*/plan.json; do\n\
         cat $file >/dev/null 2>&1 && echo BROKEN $file; done; :",
        data = bench.data.display(),
        home = home.path().display()
    );
    let mut plan = shell("a", &script);
    plan.sandbox.private = vec![bench.data.clone(), home.path().to_path_buf()];
    is_closed_from(SandboxLevel::Files, &bench, plan).await;
    bench.executor.stop("other", std::time::Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn only_the_own_folders_are_written() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    let mark = outside.path().join("mark");
    // Memory that processes share by name is the one thing besides.
    let shared = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    for level in LEVELS {
        let script = format!(
            "for file in {outside}/mark {data}/mark {data}/runs/mark /usr/kelos-mark /etc/kelos-mark /tmp/kelos-mark-{level}; do\n\
             echo x 2>/dev/null >$file || :; done\n\
             test ! -e {shared} || echo x >{shared}\n\
             echo x >here; echo x >$HOME/there; echo x >$TMPDIR/there; echo x >/dev/null; : >/dev/shm/kelos-mark; rm /dev/shm/kelos-mark",
            outside = outside.path().display(),
            data = bench.data.display(),
            level = level.as_str(),
            shared = shared.path().display(),
        );
        std::fs::write(shared.path(), "").unwrap();
        let Some(_) = log_at(level, &bench, shell("a", &script)).await else { continue };
        let temporary = format!("/tmp/kelos-mark-{}", level.as_str());
        let others = [bench.data.join("mark"), bench.data.join("runs/mark"), temporary.into()];
        let system = ["/usr/kelos-mark", "/etc/kelos-mark"].map(std::path::PathBuf::from);
        let written: Vec<_> =
            others.iter().chain(&system).chain([&mark]).filter(|path| path.exists()).collect();
        for path in &written {
            std::fs::remove_file(path).unwrap();
        }
        // Below that only the rights of the user hold, who may write what is his.
        assert_eq!(written.contains(&&mark), level < SandboxLevel::Files, "{}", level.as_str());
        assert!(written.is_empty() || level < SandboxLevel::Files, "{}: {written:?}", level.as_str());
        let is_shared = std::fs::read(shared.path()).is_ok_and(|text| !text.is_empty());
        assert_eq!(is_shared, level < SandboxLevel::Enclosed, "{}", level.as_str());
    }
}

#[tokio::test]
async fn what_is_closed_to_all_but_root_is_closed_to_an_agent_of_roots() {
    if !rustix::process::getuid().is_root() {
        return say("SKIPPED: this user may not read what is closed to others anyway");
    }
    let bench = Bench::new();
    let tools = tempfile::tempdir_in("/usr/local").unwrap();
    let key = tools.path().join("key");
    for (path, mode) in
        [(tools.path().to_path_buf(), 0o755), (key.clone(), 0o600), (tools.path().join("open"), 0o644)]
    {
        if !path.exists() {
            std::fs::write(&path, "text").unwrap();
        }
        let permissions = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode);
        std::fs::set_permissions(&path, permissions).unwrap();
    }
    let script = format!(
        "ls /sys/kernel/debug/* /sys/kernel/tracing/* 2>/dev/null | sed 's/^/BROKEN /'\n\
         for file in /etc/shadow {key}; do cat $file >/dev/null 2>&1 && echo BROKEN $file; done\n\
         cat {folder}/op* /etc/passwd >/dev/null && ls /etc /usr/local >/dev/null && echo OPEN",
        key = key.display(),
        folder = tools.path().display(),
    );
    let plan = shell("a", &script);
    is_closed_from(SandboxLevel::Files, &bench, plan).await;
    for level in LEVELS {
        let run = format!("a-{}", level.as_str());
        assert!(bench.log(&run).await.contains("OPEN"), "{}", bench.log(&run).await);
    }
}

#[tokio::test]
async fn settings_of_the_machine_are_not_changed() {
    let bench = Bench::new();
    // Root may write them without a capability; an enclosure of its own is no way round that.
    let writable = "find /proc/[!0-9]* -type f -writable 2>/dev/null";
    let inner = format!("{writable} | sed 's/^/BROKEN inside: /'");
    let script = format!(
        "{writable} | sed 's/^/BROKEN /'; test ! -w /dev || echo BROKEN /dev\n\
         unshare -Um --keep-caps -pf --mount-proc sh -c \"{inner}\" || :\n\
         unshare -Um --keep-caps sh -c \"umount /proc/sys; mount -o remount,bind,rw /proc/sys; {inner}; echo INSIDE\" || :"
    );
    let plan = shell("a", &script);
    if let Some(log) = log_at(SandboxLevel::Enclosed, &bench, plan.clone()).await {
        assert!(!log.contains("BROKEN"), "{log}");
    }
    let without_landlock = is_closed_without_landlock(&bench, plan).await;
    assert!(without_landlock.is_none_or(|log| log.contains("INSIDE")), "it was tried");
    // Landlock refuses what these rights would allow.
    let opened = "for file in kernel/core_pattern kernel/pid_max vm/swappiness; do\n\
                  (: >>/proc/sys/$file) 2>/dev/null && echo BROKEN $file; done; :";
    for level in [SandboxLevel::Files, SandboxLevel::Isolated] {
        let log = log_at(level, &bench, shell("opened", opened)).await;
        assert!(log.is_none_or(|log| !log.contains("BROKEN")), "{}", level.as_str());
    }
}

/// A terminal as a user has one, made by python3, which waits on it.
struct Terminal {
    _holder: Bystander,
    path: String,
}

impl Terminal {
    fn new() -> Option<Self> {
        let python = kelos::process::find("python3", SEARCH_PATH.as_ref())?;
        let mut command = kelos::process::command(python);
        let script = "import os, time; terminal = os.openpty(); print(os.ttyname(terminal[1]), flush=True); time.sleep(600)";
        let mut holder = Bystander(command.args(["-c", script]).spawn().unwrap());
        let mut path = String::new();
        let output = std::io::BufReader::new(holder.0.stdout.take()?);
        std::io::BufRead::read_line(&mut { output }, &mut path).unwrap();
        Some(Self { _holder: holder, path: path.trim().to_owned() })
    }
}

#[tokio::test]
async fn terminals_of_the_user_are_not_opened() {
    let Some(terminal) = Terminal::new() else {
        return say("SKIPPED: there is no python3, with which a test could have a terminal");
    };
    let bench = Bench::new();
    let script = format!(
        "(: <{path}) 2>/dev/null && echo BROKEN read; (echo >{path}) 2>/dev/null && echo BROKEN write; :",
        path = terminal.path
    );
    is_closed_from(SandboxLevel::Files, &bench, shell("a", &script)).await;
    let own = "python3 -c 'import os; os.write(os.openpty()[1], b\"x\")' && echo OWN";
    if let Some(log) = log_at(SandboxLevel::Enclosed, &bench, shell("own", own)).await {
        assert!(log.contains("OWN"), "an enclosure has terminals of its own: {log}");
    }
}

#[tokio::test]
async fn environments_of_other_processes_are_not_read() {
    let bench = Bench::new();
    let bystander = Bystander::new("hunter2");
    let script =
        format!("cat /proc/{}/environ 2>/dev/null | grep -q hunter2 && echo BROKEN; :", bystander.pid());
    is_closed_from(SandboxLevel::Files, &bench, shell("a", &script)).await;
}

#[tokio::test]
async fn the_runner_is_closed_to_its_own_agent_at_every_level() {
    let bench = Bench::new();
    // The step is the parent of the script, the runner the parent of that; both have known the secrets.
    let script = "step=$PPID; runner=$(sed 's/.*) . \\([0-9]*\\) .*/\\1/' /proc/$step/stat)\n\
                  for pid in $step $runner; do for file in environ mem maps fd/0 fd/3; do\n\
                  test $pid = 0 || ! head -c 1 /proc/$pid/$file 2>/dev/null | grep -q . || echo BROKEN $pid $file; done; done\n\
                  grep -q KELOS_RUN /proc/self/environ || echo BROKEN test";
    for level in LEVELS {
        let Some(log) = log_at(level, &bench, shell("a", script)).await else { continue };
        // Root may read everything that nothing but its rights guards.
        let is_root = rustix::process::getuid().is_root() && level < SandboxLevel::Files;
        assert!(!log.contains("BROKEN") || is_root, "{}: {log}", level.as_str());
    }
}

#[tokio::test]
async fn no_signal_reaches_beyond_the_run() {
    let bench = Bench::new();
    for level in LEVELS {
        let bystander = Bystander::new("");
        let script = format!("kill -KILL {} 2>/dev/null || :", bystander.pid());
        if log_at(level, &bench, shell("a", &script)).await.is_some() {
            let begun = std::time::Instant::now();
            while level < SandboxLevel::Isolated && bystander.is_alive() {
                assert!(begun.elapsed() < std::time::Duration::from_mins(1), "{}", level.as_str());
            }
            assert_eq!(bystander.is_alive(), level >= SandboxLevel::Isolated, "{}", level.as_str());
        }
    }
}

#[tokio::test]
async fn no_abstract_socket_reaches_beyond_the_run() {
    let Some(_) = kelos::process::find("python3", SEARCH_PATH.as_ref()) else {
        return say("SKIPPED: there is no python3, with which a script could try it");
    };
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("kelos-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let bench = Bench::new();
    let script = format!(
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"\\0{name}\")' 2>/dev/null && echo BROKEN; :"
    );
    let mut plan = shell("a", &script);
    // With the network of the machine, abstract sockets are held by scopes, and without it by that.
    for network in [Network::Guarded, Network::Open] {
        plan.sandbox.network = network;
        plan.run = format!("{network:?}");
        is_closed_from(SandboxLevel::Isolated, &bench, plan.clone()).await;
    }
}

#[tokio::test]
async fn other_processes_and_sockets_with_a_path_are_not_there() {
    let bench = Bench::new();
    let bystander = Bystander::new("");
    let outside = tempfile::tempdir().unwrap();
    let socket = outside.path().join("agent.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let script = format!(
        "test ! -d /proc/{} || echo BROKEN process; test ! -e {} || echo BROKEN socket",
        bystander.pid(),
        socket.display()
    );
    is_closed_from(SandboxLevel::Enclosed, &bench, shell("a", &script)).await;
    // Nor any other, such as those by which systemd looks names up.
    let any = "find / -path /proc -prune -o -type s -print 2>/dev/null | sed 's/^/BROKEN /'";
    if let Some(log) = log_at(SandboxLevel::Enclosed, &bench, shell("any", any)).await {
        assert!(!log.contains("BROKEN"), "{log}");
    }
}

#[tokio::test]
async fn links_to_programs_lead_where_they_led() {
    let bench = Bench::new();
    let tools = bench.data.join("tools");
    std::fs::create_dir_all(tools.join("versions/1/bin")).unwrap();
    std::fs::write(tools.join("versions/1/bin/greet"), "#!/bin/sh\necho greetings\n").unwrap();
    let executable = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(tools.join("versions/1/bin/greet"), executable).unwrap();
    std::os::unix::fs::symlink("versions/1", tools.join("current")).unwrap();
    let mut plan = shell("a", "greet; ls -l /bin/sh >/dev/null; git --version");
    plan.search_path = format!("{}:{SEARCH_PATH}", tools.join("current/bin").display());
    plan.sandbox.private = vec![bench.data.clone()];
    for level in LEVELS {
        if let Some(log) = log_at(level, &bench, plan.clone()).await {
            assert!(log.contains("greetings\n") && log.contains("git version"), "{}: {log}", level.as_str());
        }
    }
}

#[tokio::test]
async fn a_level_that_cannot_be_had_starts_nothing() {
    let bench = Bench::new();
    let mut plan = shell("a", "echo REACHED");
    (plan.sandbox.minimum, plan.sandbox.maximum) = (SandboxLevel::Files, SandboxLevel::Limited);
    let outcome = bench.outcome(plan).await;
    assert_eq!(outcome.exit, Exit::SandboxUnavailable);
    assert_eq!(outcome.sandbox, Some(SandboxLevel::Limited));
    assert!(
        outcome.message.contains("needs the sandbox Files and this host reaches Limited"),
        "{}",
        outcome.message
    );
    assert!(!bench.log("a").await.contains("REACHED"));
}

#[test]
fn the_table_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/sandbox.md")).unwrap();
    let mut sources = String::new();
    for folder in [
        "tests/it",
        "src/runner",
        "src/runner/egress",
        "src/runner/enclosure",
        "src/controllers/task",
        "src/executor",
    ] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                std::fs::File::open(entry.path()).unwrap().read_to_string(&mut sources).unwrap();
            }
        }
    }
    let names: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| {
            name.matches('_').count() >= 3
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
        .collect();
    assert!(names.len() > 10, "{names:?}");
    let gone: Vec<&&str> = names.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn no_descriptor_of_whoever_started_kelos_reaches_an_agent() {
    let mut env = TestEnv::new();
    env.write("read", "not yours");
    for level in LEVELS.map(|level| level.as_str().to_lowercase()) {
        // A shell has two files open, one to be read and one to be written, and becomes the daemon.
        let mut shell = env.program(Path::new("/bin/sh"), None);
        shell.args(["-c", "exec \"$0\" \"$@\" 7<read 9>>written", env!("CARGO_BIN_EXE_kelos")]);
        env.try_start_as(shell, &["--maximum-sandbox", &level]).unwrap();
        let note = std::fs::read_to_string(env.data_dir().join("process")).unwrap();
        let daemon = note.split_once(' ').unwrap().0;
        for number in [7, 9] {
            // The daemon is closed to whoever is not root, this test among them.
            let found = Path::new(&format!("/proc/{daemon}/fd/{number}")).symlink_metadata();
            let is_closed = found.as_ref().is_err_and(|fault| fault.kind() == ErrorKind::PermissionDenied);
            assert!(is_closed || found.is_ok(), "the daemon has {number}: {found:?}");
        }
        env.kelos(&["run", "--type", "shell", "--name", &level, "--prompt", "exec ls /proc/self/fd"])
            .success();
        assert_eq!(env.task_ended(&level)["status"]["phase"], "Succeeded");
        let log = env.kelos(&["logs", &level]).success().stdout;
        // The last one is the folder that is listed.
        let open = log.lines().filter_map(|line| line.parse::<u32>().ok());
        assert_eq!(open.collect::<Vec<_>>(), [0, 1, 2, 3], "{level}: {log}");
        assert_eq!(env.stop(), Some(0));
    }
}
