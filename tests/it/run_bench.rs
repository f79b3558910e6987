//! What the tests of runs share: a data folder, an executor on the real program, plans.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kelos::api::run::{Agent, FORMAT_VERSION, Limits, Outcome, Plan, RunState, Sandbox, Secrets};
use kelos::executor::Executor as _;
use kelos::executor::local::Local;
use kelos::process::tree;

use crate::support::say;
use crate::support::ssh::write_script;

/// The search path of runs.
pub(crate) const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Longer than any run of a test.
const PATIENCE: Duration = Duration::from_mins(1);

/// Becomes our program, for which the three calls of Landlock, from number 444 on, are unknown to the kernel (seccomp(2)).
const WITHOUT_LANDLOCK: &str = r#"
import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x35, 0, 2, 444), (0x35, 1, 0, 447), (0x06, 0, 0, 0x50000 | 38), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 5, ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
os.execv("PROGRAM", ["kelos"] + sys.argv[1:])
"#;

/// A data folder with an executor on it.
pub(crate) struct Bench {
    pub(crate) executor: Local,
    pub(crate) data: PathBuf,
    // Removed when the bench is dropped.
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().canonicalize().unwrap();
        Self { executor: executor(&data), data, _folder: Some(folder) }
    }

    /// Returns a bench on a folder of somebody else's.
    pub(crate) fn on(data: PathBuf) -> Self {
        Self { executor: executor(&data), data, _folder: None }
    }

    /// Returns the same bench on a kernel that seems to have no Landlock; `None`, with a note, without python3.
    pub(crate) fn without_landlock(&self) -> Option<Self> {
        let Some(python) = kelos::process::find("python3", SEARCH_PATH.as_ref()) else {
            say("SKIPPED: there is no python3, with which a test could take Landlock away");
            return None;
        };
        let program = self.data.join("kelos-without-landlock");
        let script = format!("#!{}\n{WITHOUT_LANDLOCK}", python.display());
        let script = script.replace("PROGRAM", env!("CARGO_BIN_EXE_kelos"));
        write_script(&program, &script);
        let executor = Local::new(&self.data, program, 4).unwrap();
        Some(Self { executor, data: self.data.clone(), _folder: None })
    }

    /// Starts `plan` and waits for its end.
    pub(crate) async fn outcome(&self, plan: Plan) -> Outcome {
        let run = plan.run.clone();
        self.executor.start(plan, Secrets::default()).await.unwrap();
        self.end(&run).await
    }

    /// Waits for the end of `run`.
    pub(crate) async fn end(&self, run: &str) -> Outcome {
        match self.until(run, |state| !matches!(state, RunState::Running { .. })).await {
            RunState::Finished(outcome) => *outcome,
            other => panic!("{run} is {other:?}: {}", self.log(run).await),
        }
    }

    /// Waits until what is known about `run` is what `wanted` says.
    pub(crate) async fn until(&self, run: &str, wanted: impl Fn(&RunState) -> bool) -> RunState {
        let begun = Instant::now();
        loop {
            let state = self.executor.observe(run).await.unwrap();
            if wanted(&state) {
                return state;
            }
            assert!(begun.elapsed() < PATIENCE, "{run} is {state:?}: {}", self.log(run).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the log of `run` so far.
    pub(crate) async fn log(&self, run: &str) -> String {
        let mut stream = self.executor.log(run, false).await.unwrap();
        let mut text = Vec::new();
        while let Some(bytes) = stream.next().await {
            text.extend_from_slice(&bytes.unwrap());
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until the log of `run` holds `text`.
    pub(crate) async fn says(&self, run: &str, text: &str) {
        let begun = Instant::now();
        while !self.log(run).await.contains(text) {
            assert!(begun.elapsed() < PATIENCE, "{run} never says {text}: {}", self.log(run).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn file(&self, run: &str, name: &str) -> PathBuf {
        self.data.join("runs").join(run).join(name)
    }
}

/// Returns an executor on `data`, as a daemon makes one when it starts.
pub(crate) fn executor(data: &Path) -> Local {
    Local::new(data, PathBuf::from(env!("CARGO_BIN_EXE_kelos")), 4).unwrap()
}

/// A plan that runs `script`.
pub(crate) fn shell(run: &str, script: &str) -> Plan {
    Plan {
        version: FORMAT_VERSION,
        run: run.to_owned(),
        namespace: "default".to_owned(),
        task: format!("task-{run}"),
        spawner: None,
        agent: Agent {
            kind: "shell".to_owned(),
            program: None,
            image: None,
            prompt: script.to_owned(),
            model: None,
            effort: None,
        },
        search_path: SEARCH_PATH.to_owned(),
        environment: BTreeMap::new(),
        workspace: None,
        branch: None,
        upstream_repo: None,
        agents_md: None,
        plugins: Vec::new(),
        skills: None,
        mcp_servers: Vec::new(),
        item: None,
        limits: Limits { grace_seconds: 1, ..Limits::default() },
        sandbox: Sandbox::default(),
    }
}

/// Returns the processes whose command line holds `mark`.
pub(crate) fn marked(mark: &str) -> Vec<i32> {
    let is_marked = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(mark))
    };
    tree::all().into_iter().filter(|seen| seen.is_alive()).map(|seen| seen.pid).filter(is_marked).collect()
}

/// Waits until no process is left whose command line holds `mark`.
pub(crate) async fn none_left(mark: &str) {
    let begun = Instant::now();
    while !marked(mark).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "left: {:?}", marked(mark));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
