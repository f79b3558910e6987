//! Controllers on the embedded server in one process: a clock that stands where it is put, runs that end when they are
//! told to, and a server that refuses what it is told to refuse.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use kelos::api::kind::Kind;
use kelos::api::phase::TaskPhase;
use kelos::api::rule::RuleReason;
use kelos::api::run::{Exit, Outcome, Plan, RunState, Secrets};
use kelos::api::run_record::RunRecord;
use kelos::api::schema;
use kelos::api::task::Task;
use kelos::apiserver::{self, ApiServer, InProcess, Options, Resource, Violation, ViolationReason};
use kelos::clock::{Clock as _, ManualClock, SharedClock};
use kelos::controllers::context::Context;
use kelos::controllers::task;
use kelos::controllers::task::bounds::Bounds;
use kelos::controllers::task::build::Machine;
use kelos::executor::{Executor, ExecutorError, LogStream, Slots, StartError};
use kelos::metrics::Metrics;
use kelos::secret::Secret;
use kelos::store::Store;
use kelos::validate::rules;
use kube::api::{Api, DeleteParams, PostParams};
use kube::client::Body as KubeBody;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_mins(1);
/// When every cluster begins.
const BEGIN: &str = "2026-03-01T12:00:00Z";

/// A server, and the Task controller on it.
pub(crate) struct Cluster {
    pub(crate) client: kube::Client,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) runs: Scripted,
    pub(crate) faults: Faults,
    slots: usize,
    // Stopped when the cluster is dropped.
    controller: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Cluster {
    /// Returns a cluster whose controller runs, with this many slots.
    pub(crate) async fn new(slots: usize) -> Self {
        let mut cluster = Self::without_controller(slots).await;
        cluster.start();
        cluster
    }

    /// Returns a cluster whose controller does not run yet.
    pub(crate) async fn without_controller(slots: usize) -> Self {
        Self::over(Store::memory().unwrap(), slots).await
    }

    /// Returns a cluster over this store, whose controller does not run yet.
    pub(crate) async fn over(store: Store, slots: usize) -> Self {
        let clock = Arc::new(ManualClock::at(BEGIN.parse().unwrap()));
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let server = server(store, shared);
        server.prepare().await.unwrap_or_else(|error| panic!("{}", error.message));
        let faults = Faults::default();
        let inner = apiserver::in_process(server.router(), "tests");
        let client = kube::Client::new(Faulty { inner, faults: faults.clone() }, "default");
        Self { client, clock, runs: Scripted::default(), faults, slots, controller: None }
    }

    /// Starts the controller, as a daemon does that begins.
    pub(crate) fn start(&mut self) {
        assert!(self.controller.is_none(), "the controller runs already");
        self.runs.state().slots = self.slots;
        let machine = Machine {
            search_path: String::new(),
            mirrors: "/nonexistent".into(),
            proxies: BTreeMap::new(),
            git_environment: BTreeMap::new(),
            install_environment: BTreeMap::new(),
            private: Vec::new(),
            bounds: Bounds::default(),
            agents: BTreeMap::new(),
        };
        let settings = task::Settings { executor: Arc::new(self.runs.clone()), machine };
        let context =
            Context::new(self.client.clone(), Arc::clone(&self.clock) as SharedClock, Metrics::new("0.0.0"));
        let shutdown = CancellationToken::new();
        let run = task::run(context, settings, shutdown.clone());
        #[expect(clippy::disallowed_methods, reason = "the cluster owns its controller")]
        let controller = tokio::spawn(async move { run.await.unwrap() });
        self.controller = Some((shutdown, controller));
    }

    /// Stops the controller at once, wherever it is.
    pub(crate) async fn kill(&mut self) {
        let (_, controller) = self.controller.take().expect("the controller runs");
        controller.abort();
        assert!(controller.await.is_err_and(|end| end.is_cancelled()), "it ran until now");
    }

    pub(crate) fn tasks(&self) -> Api<Task> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) fn records(&self) -> Api<RunRecord> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an object of any kind, by its manifest.
    pub(crate) async fn create(&self, manifest: Value) -> Value {
        let (group, version) =
            manifest["apiVersion"].as_str().unwrap().rsplit_once('/').unwrap_or(("", "v1"));
        let plural = format!("{}s", manifest["kind"].as_str().unwrap().to_lowercase());
        let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or("default");
        let root = if group.is_empty() { "api".to_owned() } else { format!("apis/{group}") };
        let path = format!("/{root}/{version}/namespaces/{namespace}/{plural}");
        let request = Request::post(path).header("content-type", "application/json");
        self.client.request(request.body(manifest.to_string().into_bytes()).unwrap()).await.unwrap()
    }

    /// Creates a `shell` Task with these fields of the spec beside.
    pub(crate) async fn create_task(&self, name: &str, spec: Value) -> Task {
        serde_json::from_value(self.create(task_manifest(name, spec)).await).unwrap()
    }

    pub(crate) async fn delete_task(&self, name: &str) {
        self.tasks().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn task(&self, name: &str) -> Option<Task> {
        self.tasks().get_opt(name).await.unwrap()
    }

    /// Waits until the Task is as wanted, and returns it.
    pub(crate) async fn task_until(&self, name: &str, what: &str, wanted: impl Fn(&Task) -> bool) -> Task {
        self.until(&format!("{name} {what}"), async || self.task(name).await.filter(|task| wanted(task)))
            .await
    }

    /// Waits until the Task has this phase, and returns it.
    pub(crate) async fn phase(&self, name: &str, phase: TaskPhase) -> Task {
        self.task_until(name, &format!("is {phase:?}"), |task| phase_of(task) == Some(phase)).await
    }

    /// Waits until the Task waits for this reason, and returns what its status says about it.
    pub(crate) async fn waits(&self, name: &str, reason: &str) -> String {
        let task = self
            .task_until(name, &format!("waits with {reason}"), |task| {
                phase_of(task) == Some(TaskPhase::Waiting) && reason_of(task) == reason
            })
            .await;
        message_of(&task)
    }

    /// Waits until the Task is gone.
    pub(crate) async fn gone(&self, name: &str) {
        self.until(&format!("{name} is gone"), async || self.task(name).await.is_none().then_some(())).await;
    }

    /// Waits until the Task runs, lets its run end well with these results, and waits until its status says so.
    pub(crate) async fn succeed(&self, name: &str, results: &[(&str, &str)]) {
        self.phase(name, TaskPhase::Running).await;
        self.runs.finish(name, succeeded(self.clock.now(), results));
        self.until(&format!("{name} has succeeded"), async || {
            // It may be gone by now.
            self.task(name)
                .await
                .is_none_or(|task| phase_of(&task) == Some(TaskPhase::Succeeded))
                .then_some(())
        })
        .await;
    }

    /// Asks again and again until there is an answer, which has to come within a minute.
    pub(crate) async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            if begun.elapsed() > PATIENCE {
                let tasks = self.tasks().list(&kube::api::ListParams::default()).await.unwrap();
                let states: Vec<_> = tasks.iter().map(|task| (&task.metadata.name, &task.status)).collect();
                panic!("never: {what}; the Tasks are {states:#?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Writes the status of a Task, as somebody may do by hand.
    pub(crate) async fn put_status(&self, name: &str, change: impl FnOnce(&mut Task)) {
        let mut task = self.task(name).await.unwrap();
        change(&mut task);
        task.metadata.managed_fields = None;
        self.tasks().replace_status(name, &PostParams::default(), &task).await.unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some((_, controller)) = self.controller.take() {
            controller.abort();
        }
    }
}

/// Returns the manifest of a `shell` Task with these fields of the spec beside.
pub(crate) fn task_manifest(name: &str, spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "kelos.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "shell", "prompt": "true"},
    });
    let Value::Object(fields) = spec else { panic!("a spec is an object") };
    manifest["spec"].as_object_mut().unwrap().extend(fields);
    manifest
}

pub(crate) fn phase_of(task: &Task) -> Option<TaskPhase> {
    task.status.as_ref().and_then(|status| status.phase)
}

pub(crate) fn reason_of(task: &Task) -> String {
    task.status.as_ref().and_then(|status| status.reason.clone()).unwrap_or_default()
}

pub(crate) fn message_of(task: &Task) -> String {
    task.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default()
}

/// Returns the outcome of a run that ended well.
pub(crate) fn succeeded(now: Timestamp, results: &[(&str, &str)]) -> Outcome {
    let results: BTreeMap<String, String> =
        results.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Outcome {
        version: 1,
        exit: Exit::Succeeded,
        exit_code: Some(0),
        signal: None,
        started_at: now,
        finished_at: now,
        message: "the agent ended well".to_owned(),
        outputs: results.iter().map(|(key, value)| format!("{key}: {value}")).collect(),
        results,
        usage: None,
        sandbox: None,
        network: None,
        agent_version: None,
        log_bytes: 0,
    }
}

/// Returns the outcome of a run that failed.
pub(crate) fn failed(now: Timestamp) -> Outcome {
    Outcome { exit: Exit::AgentFailed, exit_code: Some(1), ..succeeded(now, &[]) }
}

/// Returns the embedded server for all our kinds, with their rules.
pub(crate) fn server(store: Store, clock: SharedClock) -> ApiServer {
    let resources = Kind::ALL.iter().map(|kind| {
        let rules = move |new: &Value, old: Option<&Value>| {
            let broken = rules::violations(kind.as_str(), new, old).into_iter();
            let violation = |broken: rules::Violation| Violation {
                path: broken.path,
                message: broken.message,
                reason: match broken.reason {
                    RuleReason::Invalid => ViolationReason::Invalid,
                    RuleReason::Required => ViolationReason::Required,
                },
            };
            broken.map(violation).collect()
        };
        Resource::from_crd(&schema::crd(*kind), Some(Arc::new(rules))).unwrap()
    });
    let options = Options::new(clock, env!("CARGO_PKG_VERSION"));
    ApiServer::new(store, resources.collect(), options)
}

/// Runs that end when they are told to. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    state: Arc<Mutex<Runs>>,
    ends: broadcast::Sender<String>,
}

#[derive(Debug, Default)]
struct Runs {
    slots: usize,
    states: HashMap<String, RunState>,
    /// Every run that was ever started, in order: uid and plan.
    started: Vec<(String, Plan)>,
    /// No run can be started while this is set.
    broken: bool,
    /// How much room is missing.
    missing_room: Option<u64>,
}

impl Default for Scripted {
    fn default() -> Self {
        Self { state: Arc::default(), ends: broadcast::channel(4096).0 }
    }
}

impl Scripted {
    fn state(&self) -> MutexGuard<'_, Runs> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the run of the Task that was started last under this name.
    pub(crate) fn finish(&self, task: &str, outcome: Outcome) {
        self.put(task, RunState::Finished(Box::new(outcome)));
    }

    /// Lets the run of a Task be in this state.
    pub(crate) fn put(&self, task: &str, state: RunState) {
        let mut runs = self.state();
        let found = runs.started.iter().rev().find(|(_, plan)| plan.task == task);
        let uid = found.unwrap_or_else(|| panic!("{task} was never started")).0.clone();
        runs.states.insert(uid.clone(), state);
        drop(runs);
        self.ends.send(uid).ok();
    }

    /// Lets a run without a Task be there.
    pub(crate) fn leave_over(&self, uid: &str, state: RunState) {
        self.state().states.insert(uid.to_owned(), state);
    }

    /// Returns the uids of the runs of which something is left.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = self.state().states.keys().cloned().collect();
        left.sort();
        left
    }

    /// Returns the names of the Tasks that were started, in order.
    pub(crate) fn started(&self) -> Vec<String> {
        self.state().started.iter().map(|(_, plan)| plan.task.clone()).collect()
    }

    /// Returns the last plan of a Task.
    pub(crate) fn plan(&self, task: &str) -> Plan {
        let runs = self.state();
        runs.started.iter().rev().find(|(_, plan)| plan.task == task).expect("it was started").1.clone()
    }

    /// Lets starts fail, or not any more.
    pub(crate) fn break_starts(&self, broken: bool) {
        self.state().broken = broken;
    }

    /// Lets the disk be too full for a run, or not any more.
    pub(crate) fn fill_disk(&self, missing: Option<u64>) {
        self.state().missing_room = missing;
    }

    /// Returns how many runs go on.
    pub(crate) fn running(&self) -> usize {
        self.state().running()
    }
}

impl Runs {
    fn running(&self) -> usize {
        self.states.values().filter(|state| matches!(state, RunState::Running { .. })).count()
    }
}

impl Executor for Scripted {
    fn start(&self, plan: Plan, _: Secrets) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move {
            let mut runs = self.state();
            let run = plan.run.clone();
            match runs.states.get(&run) {
                None | Some(RunState::Prepared) => {}
                Some(state) => return Err(StartError::Begun { run, state: Box::new(state.clone()) }),
            }
            if runs.running() >= runs.slots {
                return Err(StartError::NoSlot { total: runs.slots });
            }
            if runs.broken {
                runs.states.insert(run.clone(), RunState::Prepared);
                return Err(StartError::Executor(ExecutorError::Absent { run }));
            }
            runs.states.insert(run.clone(), RunState::Running { since: None });
            runs.started.push((run, plan));
            Ok(())
        })
    }

    fn observe<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<RunState, ExecutorError>> {
        Box::pin(async move { Ok(self.state().states.get(run).cloned().unwrap_or(RunState::Absent)) })
    }

    fn stop<'a>(&'a self, run: &'a str, _: Duration) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            let mut runs = self.state();
            if let Some(state) = runs.states.get_mut(run)
                && matches!(state, RunState::Running { .. })
            {
                let now = BEGIN.parse().unwrap();
                let outcome = Outcome { exit: Exit::Cancelled, ..succeeded(now, &[]) };
                *state = RunState::Finished(Box::new(outcome));
            }
            Ok(())
        })
    }

    fn renew_token<'a>(&'a self, _: &'a str, _: Secret) -> BoxFuture<'a, Result<(), ExecutorError>> {
        // Its runs have none.
        Box::pin(async { Ok(()) })
    }

    fn remove<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<(), ExecutorError>> {
        Box::pin(async move {
            let mut runs = self.state();
            if matches!(runs.states.get(run), Some(RunState::Running { .. })) {
                return Err(ExecutorError::StillRunning { run: run.to_owned() });
            }
            runs.states.remove(run);
            Ok(())
        })
    }

    fn runs(&self) -> BoxFuture<'_, Result<Vec<String>, ExecutorError>> {
        Box::pin(async move { Ok(self.left()) })
    }

    fn log<'a>(&'a self, run: &'a str, _: bool) -> BoxFuture<'a, Result<LogStream, ExecutorError>> {
        Box::pin(async move { Err(ExecutorError::Absent { run: run.to_owned() }) })
    }

    fn ends(&self) -> BoxStream<'static, String> {
        let ends = self.ends.subscribe();
        let next = |mut ends: broadcast::Receiver<String>| async move {
            let end = ends.recv().await.ok()?;
            Some((end, ends))
        };
        futures::stream::unfold(ends, next).boxed()
    }

    fn slots(&self) -> Slots {
        let runs = self.state();
        Slots { total: runs.slots, used: runs.running() }
    }

    fn close(&self) {
        self.state().slots = 0;
    }

    fn missing_room(&self) -> Option<u64> {
        self.state().missing_room
    }
}

/// Which requests of our client are refused. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    refused: Arc<Mutex<Vec<(Method, &'static str)>>>,
    count: Arc<std::sync::atomic::AtomicUsize>,
}

impl Faults {
    /// Refuses requests by this method whose path holds `part`, as a server does that cannot write.
    pub(crate) fn refuse(&self, method: Method, part: &'static str) {
        self.refused.lock().unwrap().push((method, part));
    }

    /// Refuses nothing any more.
    pub(crate) fn mend(&self) {
        self.refused.lock().unwrap().clear();
    }

    /// Returns how many requests were refused.
    pub(crate) fn count(&self) -> usize {
        self.count.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn is_refused(&self, method: &Method, path: &str) -> bool {
        let refused = self.refused.lock().unwrap();
        let is_refused = refused.iter().any(|(refused, part)| refused == method && path.contains(part));
        if is_refused {
            self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        is_refused
    }
}

/// The server as our client reaches it.
#[derive(Clone)]
struct Faulty {
    inner: InProcess,
    faults: Faults,
}

impl Service<Request<KubeBody>> for Faulty {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<KubeBody>>::poll_ready(&mut self.inner, context)
    }

    fn call(&mut self, request: Request<KubeBody>) -> Self::Future {
        if self.faults.is_refused(request.method(), request.uri().path()) {
            let status = json!({
                "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 500,
                "reason": "InternalError", "message": "the disk is full",
            });
            let answer = Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR);
            let answer = answer.header("content-type", "application/json");
            let answer = answer.body(Body::from(status.to_string())).unwrap();
            return Box::pin(async move { Ok(answer) });
        }
        self.inner.call(request)
    }
}
